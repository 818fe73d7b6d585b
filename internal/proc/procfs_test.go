package proc

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseCPU(t *testing.T) {
	const fields = " S 1 5 5 0 -1 4194560 100 0 0 0 250 75 9 9 20 0 4 0 1000 1 1"
	tests := []struct {
		name, stat string
		want       time.Duration
		fails      bool
	}{
		{"plain name", "5 (server)" + fields, 3250 * time.Millisecond, false},
		{"name with spaces and parentheses", "5 (a) R 1 (b)" + fields, 3250 * time.Millisecond, false},
		{"no name", "5 S 1", 0, true},
		{"cut short", "5 (server) S 1 5", 0, true},
		{"not a number", "5 (server)" + strings.Replace(fields, "250", "x", 1), 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseCPU(tt.stat)
			if got != tt.want || (err != nil) != tt.fails {
				t.Errorf("got %v, %v; want %v, error %v", got, err, tt.want, tt.fails)
			}
		})
	}
}

func TestParseMemory(t *testing.T) {
	const status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nVmBad:\t 5 MB\nVmWorse:\t x kB\n"
	tests := []struct {
		key   string
		want  int64
		fails bool
	}{
		{"VmHWM", 2 << 20, false},
		{"VmRSS", 1 << 20, false},
		{"VmBad", 0, true},
		{"VmWorse", 0, true},
		{"VmNone", 0, true},
	}
	for _, tt := range tests {
		got, err := parseMemory(status, tt.key)
		if got != tt.want || (err != nil) != tt.fails {
			t.Errorf("%s: got %d, %v; want %d, error %v", tt.key, got, err, tt.want, tt.fails)
		}
	}
}

func TestReadUsageOfThisProcessGrows(t *testing.T) {
	before, err := ReadUsage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if now, err := ReadUsage(os.Getpid()); err != nil {
			t.Fatal(err)
		} else if now.CPU > before.CPU {
			return
		}
	}
	t.Errorf("CPU time stayed at %v", before.CPU)
}

func TestParseListening(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:2A39 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1
   1: 0100007F:2A40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 22 1
   2: 0100007F:2A41 0100007F:1000 01 00000000:00000000 00:00000000 00000000     0        0 33 1
   3: 00000000000000000000000001000000:2A42 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 44 1
`
	got, err := parseListening(strings.NewReader(table), map[string]bool{"11": true, "33": true, "44": true})
	want := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:10809"), netip.MustParseAddrPort("[::1]:10818")}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}

func TestParseHexAddrRefuses(t *testing.T) {
	for _, s := range []string{"", "0100007F", "xx:2A39", "010000:2A39", "0100007F:zz", "0100007F:12345"} {
		if got, err := parseHexAddr(s); err == nil {
			t.Errorf("%q: got %v, want an error", s, got)
		}
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var out tail
	line := strings.Repeat("x", 1000) + "\n"
	for range 100 {
		if n, err := out.Write([]byte(line)); n != len(line) || err != nil {
			t.Fatalf("write: %d, %v", n, err)
		}
	}
	_, _ = out.Write([]byte("the end"))
	if got := out.String(); len(got) != tailSize || !strings.HasSuffix(got, "x\nthe end") {
		t.Errorf("kept %d bytes, ending %q", len(got), got[max(0, len(got)-20):])
	}
}
