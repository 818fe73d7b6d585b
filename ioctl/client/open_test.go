package client

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"scstuser/ioctl/abi"
	"scstuser/ucmd"
)

// What REGISTER_DEVICE carries (R7 to R13).
func TestR7Register(t *testing.T) {
	n := newFakeNode(t)
	desc := ucmd.Desc{
		Name: "disk1", Type: ucmd.TypeDisk, BlockSize: 4096, SGVName: "pool", SGVShared: true,
		SGVNoClustered: true, SGVSinglePages: 4, SGVPurgeInterval: -1, NonBlocking: true,
		Opt: ucmd.Opt{Parse: 1, OnFree: 1, Reuse: 3, TST: 1},
	}
	d := n.register(desc, Options{Version: "3.12.0", License: "Dual MIT/GPL"})
	if got := n.reg.Desc(true); got != desc {
		t.Errorf("registered %+v, want %+v", got, desc)
	}
	if want := [2]string{"3.12.0", "Dual MIT/GPL"}; n.idents != want {
		t.Errorf("as %q, want %q", n.idents, want)
	}
	if n.opened != "/run/node" || !n.nonBlk {
		t.Errorf("opened %s, non-blocking %v", n.opened, n.nonBlk)
	}
	if d.Desc() != desc || d.GetOptions() != desc.Opt {
		t.Errorf("Desc %+v", d.Desc())
	}
}

func TestR7DefaultIdentity(t *testing.T) {
	n := newFakeNode(t)
	n.register(ucmd.Desc{}, Options{})
	if _, err := abi.CheckIdentity([]byte(n.idents[1]), []byte(n.idents[0]), &abi.Versions{}); err != nil {
		t.Error(err)
	}
}

// What goes wrong is said with what to do, and nothing is left.
func TestOpenErrors(t *testing.T) {
	for _, tc := range []struct {
		errno syscall.Errno
		want  string
	}{
		{syscall.EPERM, "license"}, {syscall.EINVAL, "versions"}, {syscall.EEXIST, "of that name"},
		{syscall.ENOMEM, "of that name"}, {syscall.ENOTTY, "no scst_user node"}, {syscall.EFAULT, "bad address"},
	} {
		n := newFakeNode(t)
		n.fail[abi.IoctlRegisterDevice] = []syscall.Errno{tc.errno}
		_, err := open(n, "/run/node", ucmd.Desc{Name: "disk1"}, Options{})
		if !errors.Is(err, tc.errno) || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "/run/node") {
			t.Errorf("%v: %v", tc.errno, err)
		}
		if n.closed != 1 {
			t.Errorf("%v: the node was closed %d times", tc.errno, n.closed)
		}
	}
	n := newFakeNode(t)
	long := strings.Repeat("x", 1000)
	if _, err := open(n, "/run/node", ucmd.Desc{}, Options{Version: long}); err == nil || n.closed != 1 {
		t.Errorf("a long version: %v", err)
	}
}

// The real system calls, on files that are no node.
func TestOpenRealFiles(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := descriptors(t)
	for path, want := range map[string]string{
		filepath.Join(dir, "none"): "start its host", dir: "is it an scst_user node", file: "no scst_user node",
	} {
		if _, err := Open(path, ucmd.Desc{Name: "disk1"}, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want ...%s...", path, err, want)
		}
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func descriptors(t *testing.T) int {
	l, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(l)
}

func TestR16Options(t *testing.T) {
	n := newFakeNode(t)
	d := n.register(ucmd.Desc{}, Options{})
	o := ucmd.Opt{Parse: 2, OnFree: 0, Reuse: 1, PartialLen: -1, TST: 1, DSense: 1, QErr: 3}
	if err := d.SetOptions(o); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Options(); got != o || err != nil {
		t.Errorf("the node says %+v, %v", got, err)
	}
	if d.GetOptions() != o {
		t.Errorf("GetOptions %+v", d.GetOptions())
	}
	n.fail[abi.IoctlSetOptions] = []syscall.Errno{syscall.EBUSY}
	if err := d.SetOptions(ucmd.Opt{}); !errors.Is(err, syscall.EBUSY) || d.GetOptions() != o {
		t.Errorf("refused: %v, %+v", err, d.GetOptions())
	}
}

func TestR35R36FlushAndCapacity(t *testing.T) {
	n := newFakeNode(t)
	d := n.register(ucmd.Desc{}, Options{})
	if err := errors.Join(d.FlushCache(), d.CapacityChanged()); err != nil {
		t.Fatal(err)
	}
	if len(n.calls) != 2 || n.calls[0].nr != abi.IoctlFlushCache || n.calls[1].nr != abi.IoctlCapacityChanged {
		t.Errorf("ioctls %v", n.calls)
	}
}

func TestR38Prealloc(t *testing.T) {
	n := newFakeNode(t)
	d := n.register(ucmd.Desc{}, Options{})
	for clust, want := range map[bool]uint32{false: 77, true: 78} {
		if h, err := d.Prealloc(1<<20, 4096, clust); h != want || err != nil {
			t.Errorf("handle %d, %v; want %d", h, err, want)
		}
	}
	if _, err := d.Prealloc(100, 4096, false); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("unaligned: %v", err)
	}
	if _, err := d.Prealloc(0, 1<<33, false); err == nil {
		t.Error("a length of 33 bits was cut")
	}
}

// The rest of a long CDB, also one that is longer than a frame (R37).
func TestR37ExtendedCDB(t *testing.T) {
	for _, length := range []int{17, 32, 300, 65535} {
		n := newFakeNode(t)
		n.extCDB = bytes.Repeat([]byte{0xab, 0xcd, 0xef}, 30000)[:length-16]
		s := exec(3)
		s.CDBLen = uint16(length)
		n.add(s, exec(4))
		d := n.register(ucmd.Desc{}, Options{})
		fetch(t, d, 2)
		if got, err := d.ExtendedCDB(3); !bytes.Equal(got, n.extCDB) || err != nil {
			t.Errorf("%d: got %d bytes, %v", length, len(got), err)
		}
		if got, err := d.ExtendedCDB(4); len(got) != 0 || err != nil {
			t.Errorf("a short one: got %d bytes, %v", len(got), err)
		}
		if done, _, err := d.ReplyAndGet(t.Context(), []ucmd.Reply{good(3), good(4)}, nil); done != 2 || err != nil {
			t.Fatal(done, err)
		}
		if len(d.long) != 0 {
			t.Errorf("%d lengths are kept", len(d.long))
		}
	}
}

// Close wakes those who wait and lets them out before the descriptor goes.
func TestCloseWhileOthersWait(t *testing.T) {
	n := newFakeNode(t)
	d, err := open(n, "/run/node", ucmd.Desc{Name: "disk1"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 4)
	for range 4 {
		go func() {
			_, _, err := d.ReplyAndGet(context.Background(), nil, make([]ucmd.Subcommand, 1))
			errs <- err
		}()
	}
	n.until("all to wait", func() bool { return n.blocked == 4 })
	for range 2 {
		if err := d.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for range 4 {
		if err := <-errs; !errors.Is(err, ErrGone) {
			t.Errorf("%v, want ErrGone", err)
		}
	}
	if n.closed != 1 {
		t.Errorf("the node was closed %d times", n.closed)
	}
	if _, _, err := d.ReplyAndGet(t.Context(), nil, nil); !errors.Is(err, ErrGone) {
		t.Errorf("after Close: %v", err)
	}
	if err := d.SetOptions(ucmd.Opt{}); !errors.Is(err, ErrGone) {
		t.Errorf("after Close: %v", err)
	}
}

// A host that hangs can't hang Close; the node is closed when it answers.
func TestCloseOfAHangingNode(t *testing.T) {
	n := newFakeNode(t)
	d, err := open(hangs{n}, "/run/node", ucmd.Desc{Name: "disk1"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	n.mu.Lock() // no ioctl returns
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err = d.Close(ctx)
	n.mu.Unlock()
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 ioctls") {
		t.Errorf("%v", err)
	}
	if err := d.Close(t.Context()); err != nil || n.closed != 1 {
		t.Errorf("%v, closed %d times", err, n.closed)
	}
}

// hangs is a node whose wake does not hang, unlike its ioctls.
type hangs struct{ *fakeNode }

func (h hangs) wake() { go h.fakeNode.wake() }

// Signals that have a handler don't reach the thread that is in an ioctl; its
// own faults do.
func TestSignalsAreBlocked(t *testing.T) {
	var before, during, after unix.Sigset_t
	get := func(set *unix.Sigset_t) {
		if err := unix.PthreadSigmask(unix.SIG_BLOCK, nil, set); err != nil {
			t.Fatal(err)
		}
	}
	has := func(set unix.Sigset_t, sig syscall.Signal) bool { return set.Val[0]&(1<<(sig-1)) != 0 }
	m := blockSignals()
	before = m.old
	get(&during)
	m.restore()
	get(&after)
	if before != m.old || after != before {
		// The goroutine may have moved: all threads have the same mask.
		t.Errorf("masks %v and %v", before, after)
	}
	for _, sig := range []syscall.Signal{syscall.SIGURG, syscall.SIGTERM, syscall.SIGCHLD, syscall.SIGPROF, syscall.SIGWINCH, 64} {
		if !has(during, sig) {
			t.Errorf("%v is not blocked", sig)
		}
	}
	for _, sig := range []syscall.Signal{syscall.SIGSEGV, syscall.SIGBUS, 33} {
		if has(during, sig) {
			t.Errorf("%v is blocked", sig)
		}
	}
}
