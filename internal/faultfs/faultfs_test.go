package faultfs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const size = 4 << 20

// mount mounts a file of size bytes, each of them 'x'.
func mount(t *testing.T, cached bool) *FS {
	t.Helper()
	backing, err := os.Create(filepath.Join(t.TempDir(), "backing"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { backing.Close() })
	if _, err := backing.Write(bytes.Repeat([]byte("x"), size)); err != nil {
		t.Fatal(err)
	}
	s, err := Mount(Options{Dir: t.TempDir(), Backing: backing, Cached: cached})
	if errors.Is(err, ErrNoFUSE) {
		t.Skipf("SKIPPED: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// try runs a program on the file, in a process of its own, and returns what it
// complains of.
func try(t *testing.T, s *FS, script string) string {
	t.Helper()
	var errs strings.Builder
	cmd := exec.Command("sh", "-ec", script)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "F="+s.Path())
	cmd.Stderr = &errs
	if err := cmd.Run(); err != nil && errs.Len() == 0 {
		return err.Error()
	}
	return errs.String()
}

// read and write are 4 KiB at the block n.
func read(n int) string {
	return fmt.Sprintf(`dd if="$F" of=/dev/null bs=4096 count=1 skip=%d status=none iflag=fullblock`, n)
}

func write(n int, more string) string {
	return fmt.Sprintf(`dd if=/dev/zero of="$F" bs=4096 count=1 seek=%d status=none conv=notrunc%s`, n, more)
}

const (
	punch = `fallocate --punch-hole --offset 0 --length 65536 "$F"`
	zero  = `fallocate --zero-range --offset 0 --length 65536 "$F"`
	flush = `sync --data "$F"`
	eio   = "Input/output error"
)

// What fails is what the fault names, and nothing after it was cleared.
func TestFaults(t *testing.T) {
	for _, tc := range []struct {
		name     string
		f        Fault
		bad, say string
		good     string // goes on meanwhile
	}{
		{"read", Fault{Ops: Read, Err: syscall.EIO}, read(0), eio, write(0, "")},
		{"read of a range", Fault{Ops: Read, Off: 8192, Len: 1, Err: syscall.EIO}, read(2), eio, read(1) + "\n" + read(3)},
		{"write", Fault{Ops: Write, Err: syscall.ENOSPC}, write(1, ""), "No space left", read(1)},
		{"write to a range", Fault{Ops: Write, Off: 4096, Len: 4096, Err: syscall.EROFS}, write(1, ""), "Read-only file", write(2, "")},
		{"sync", Fault{Ops: Sync, Err: syscall.EIO}, flush, eio, write(0, "")},
		{"punch", Fault{Ops: Punch, Err: syscall.EOPNOTSUPP}, punch, "unsupported", zero},
		{"zero", Fault{Ops: Zero, Err: syscall.ENOSPC}, zero, "No space left", punch},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := mount(t, false)
			f := s.Inject(tc.f)
			for range 2 {
				if got := try(t, s, tc.bad); !strings.Contains(got, tc.say) {
					t.Errorf("%s: %q, want %q", tc.bad, got, tc.say)
				}
			}
			if got := try(t, s, tc.good); got != "" {
				t.Errorf("%s: %s", tc.good, got)
			}
			if f.Hits() < 2 {
				t.Errorf("%d hits, want 2 or more", f.Hits())
			}
			f.Clear()
			if got := try(t, s, tc.bad); got != "" {
				t.Errorf("after Clear: %s: %s", tc.bad, got)
			}
		})
	}
}

// Times is a number of requests.
func TestTimes(t *testing.T) {
	s := mount(t, false)
	s.Inject(Fault{Ops: Sync, Times: 1, Err: syscall.EIO})
	for i, want := range []string{eio, "", ""} {
		if got := try(t, s, flush); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("sync %d: %q, want %q", i, got, want)
		}
	}
	if got := s.Requests(Sync); got != 3 {
		t.Errorf("%d syncs counted", got)
	}
}

// PerOpen tells each open file.
func TestPerOpen(t *testing.T) {
	s := mount(t, false)
	s.Inject(Fault{Ops: Sync, Times: 1, PerOpen: true, Err: syscall.EIO})
	for range 2 {
		if got := try(t, s, flush); !strings.Contains(got, eio) {
			t.Errorf("a new open file is not told: %q", got)
		}
	}
}

// What the kernel makes of a writeback that fails: the write succeeds, a sync
// fails, and only once.
func TestCachedWriteFailsAtSync(t *testing.T) {
	s := mount(t, true)
	f := s.Inject(Fault{Ops: Write, Err: syscall.EIO})
	if got := try(t, s, write(0, ",fdatasync")); !strings.Contains(got, eio) {
		t.Errorf("write and fdatasync: %q", got)
	}
	f.Clear()
	if got := try(t, s, flush); got != "" {
		t.Errorf("the next sync: %q", got)
	}
	b := make([]byte, 4096)
	if _, err := s.o.Backing.ReadAt(b, 0); err != nil || b[0] != 'x' {
		t.Errorf("the backing has %q, %v: a lost write must stay lost", b[0], err)
	}
}

// A write that is lost is answered.
func TestLose(t *testing.T) {
	s := mount(t, false)
	s.Inject(Fault{Ops: Write, Lose: true})
	if got := try(t, s, write(0, "")); got != "" {
		t.Errorf("write: %s", got)
	}
	b := make([]byte, 1)
	if _, err := s.o.Backing.ReadAt(b, 0); err != nil || b[0] != 'x' {
		t.Errorf("the backing has %q, %v", b, err)
	}
}

// Short answers move what they say.
func TestShort(t *testing.T) {
	s := mount(t, false)
	f := s.Inject(Fault{Ops: Read | Write, Short: 512})
	if got := try(t, s, read(0)+"\n"+write(0, "")); got != "" {
		t.Error(got)
	}
	if f.Hits() < 16 {
		t.Errorf("%d pieces, want 8 for each of two times 4096 bytes", f.Hits())
	}
}

// A hang lasts until Clear, and holds up nothing else.
func TestHang(t *testing.T) {
	s := mount(t, false)
	f := s.Inject(Fault{Ops: Read, Len: 4096, Hang: true})
	done := make(chan string, 1)
	go func() { done <- try(t, s, read(0)) }()
	for f.Waiting() == 0 {
		time.Sleep(time.Millisecond)
	}
	if got := try(t, s, read(5)); got != "" {
		t.Error(got)
	}
	select {
	case got := <-done:
		t.Fatalf("it didn't hang: %q", got)
	default:
	}
	f.Clear()
	if got := <-done; got != "" {
		t.Error(got)
	}
}

// Close ends what hangs.
func TestCloseReleases(t *testing.T) {
	s := mount(t, false)
	f := s.Inject(Fault{Ops: Sync, Hang: true})
	done := make(chan string, 1)
	go func() { done <- try(t, s, flush) }()
	for f.Waiting() == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	<-done // its outcome depends on who was first
}

// A slow disk is slow.
func TestDelay(t *testing.T) {
	s := mount(t, false)
	s.Inject(Fault{Ops: Read, Delay: 200 * time.Millisecond, Times: 1})
	begin := time.Now()
	if got := try(t, s, read(0)); got != "" {
		t.Error(got)
	}
	if took := time.Since(begin); took < 200*time.Millisecond {
		t.Errorf("it took %v", took)
	}
}
