package status

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"scstuser/target"

	"pgregory.net/rapid"
)

// fixLatency gives the snapshot latencies that do not depend on the machine.
func fixLatency(s *Snapshot) *Snapshot {
	fix := func(c *Counters) {
		for kind, n := range map[string]uint64{"read": 1, "write": 3, "flush": 1, "other": 0} {
			h := target.Histogram{}
			h.Buckets[5], h.Sum, h.Max = n, time.Duration(n)*20*time.Microsecond, 21*time.Microsecond
			if kind == "write" {
				h.Buckets[12], h.Sum, h.Max = 1, 3*time.Millisecond, 2900*time.Microsecond
			}
			c.Latency[kind] = latencyOf(&h)
		}
	}
	for i := range s.Devices {
		fix(&s.Devices[i].Counters)
		for j := range s.Devices[i].Sessions {
			fix(&s.Devices[i].Sessions[j].Counters)
		}
	}
	return s
}

func TestText(t *testing.T) {
	r := newRig(t, "disk.img")
	r.script()
	r.hold = true
	r.do(scsiRead)
	text := fixLatency(r.Snapshot(true)).Text()
	golden(t, "testdata/status.golden", text)
	if strings.Contains(text, "\x1b") {
		t.Error("a client's name reaches the terminal as it is")
	}
	for line := range strings.Lines(text) {
		if strings.HasSuffix(line, " \n") {
			t.Errorf("spaces at the end of %q", line)
		}
	}
}

func TestJSON(t *testing.T) {
	r := newRig(t, "disk.img")
	r.script()
	r.hold = true
	r.do(scsiRead)
	s := fixLatency(r.Snapshot(true))
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, text, "", "  "); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/status.json.golden", indented.String()+"\n")
	back := new(Snapshot)
	if err := json.Unmarshal(text, back); err != nil {
		t.Fatal(err)
	}
	if back.Text() != s.Text() {
		t.Error("what was read back is not what was written")
	}
	if strings.Contains(string(text), "null") {
		t.Errorf("an empty list is null, which programs stumble over: %s", text)
	}
}

// A device that has never been used has something to say too.
func TestTextOfAnIdleDevice(t *testing.T) {
	r := newRig(t, "disk.img")
	text := r.Snapshot(true).Text()
	for _, bad := range []string{"\n  latency", "\n  commands", "\n  pool", "\n  ucmds"} {
		if strings.Contains(text, bad) {
			t.Errorf("has %q:\n%s", bad, text)
		}
	}
}

func TestUnits(t *testing.T) {
	tests := []struct{ got, want string }{
		{text64(0), "0"}, {text64(1023), "1023"}, {text64(1024), "1 KiB"}, {text64(1536), "1.5 KiB"},
		{text64(1 << 62), "4 EiB"}, {duration(0), "0 us"}, {duration(999), "999 us"}, {duration(4096), "4.1 ms"},
		{duration(90_000_000), "90 s"}, {seconds(-1), "0s"}, {seconds(59.9), "59s"}, {seconds(61), "1m1s"},
		{seconds(7380), "2h3m"}, {seconds(90000), "1d1h"}, {clean("a\x1b\n\u202eb"), `a\x1b\n\u202eb`}, {clean("Größe"), "Größe"},
	}
	for _, test := range tests {
		if test.got != test.want {
			t.Errorf("got %q, want %q", test.got, test.want)
		}
	}
}

func text64(n uint64) string { return size(n) }

// A percentile is never below the true one, and at most twice as much.
func TestPercentiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		times := rapid.SliceOfN(rapid.Uint64Range(0, 1<<24), 1, 200).Draw(t, "us")
		var h target.Histogram
		for _, us := range times {
			h.Observe(time.Duration(us) * time.Microsecond)
		}
		l := latencyOf(&h)
		for _, p := range []struct{ percent, got uint64 }{{50, l.P50}, {90, l.P90}, {99, l.P99}} {
			within, far := 0, 0
			for _, us := range times {
				if us <= p.got {
					within++
				}
				if 2*us < p.got {
					far++
				}
			}
			if uint64(within)*100 < p.percent*uint64(len(times)) {
				t.Fatalf("%d%%: only %d of %d took at most %d us", p.percent, within, len(times), p.got)
			}
			if p.got > 1 && uint64(far)*100 >= p.percent*uint64(len(times)) {
				t.Fatalf("%d%%: %d of %d took less than half of %d us", p.percent, far, len(times), p.got)
			}
		}
	})
}
