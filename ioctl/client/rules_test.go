package client

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"scstuser/handlers/arena"
	"scstuser/internal/nodehost"
	"scstuser/ioctl/abi"
	"scstuser/ucmd"
)

// plain is a registration that every node accepts.
func plain(change func(*ucmd.Desc)) ucmd.Desc {
	d := ucmd.Desc{
		Name: "disk1", BlockSize: 512,
		Opt: ucmd.Opt{OnFree: uint8(ucmd.OnFreeIgnore), Reuse: uint8(ucmd.ReuseAll), TST: 1, QueueAlg: 1},
	}
	if change != nil {
		change(&d)
	}
	return d
}

// registerAt opens a device at a real node, to be closed with the test.
func registerAt(t *testing.T, h *nodehost.Host, desc ucmd.Desc) *Device {
	t.Helper()
	d, err := Open(h.Node, desc, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, d) })
	return d
}

func shut(t *testing.T, d *Device) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := d.Close(ctx); err != nil {
		t.Error(err)
	}
}

// What can't be registered says so, and leaves no residue (R7 to R9, R12, R13).
func TestR7R8R9R12R13R70R72RegisterAtANode(t *testing.T) {
	h := nodehost.Start(t)
	for _, tc := range []struct {
		name string
		desc func(*ucmd.Desc)
		o    Options
		want syscall.Errno
	}{
		{"R7 license", nil, Options{License: "proprietary"}, syscall.EPERM},
		{"R7 version", nil, Options{Version: "9.9.9"}, syscall.EINVAL},
		{"R7 the license comes first", nil, Options{License: "x", Version: "9"}, syscall.EPERM},
		{"R8 no blocks", func(d *ucmd.Desc) { d.BlockSize = 0 }, Options{}, syscall.EINVAL},
		{"R8 small blocks", func(d *ucmd.Desc) { d.BlockSize = 256 }, Options{}, syscall.EINVAL},
		{"R8 odd blocks", func(d *ucmd.Desc) { d.BlockSize = 1000 }, Options{}, syscall.EINVAL},
		{"R12 parse", func(d *ucmd.Desc) { d.Opt.Parse = 3 }, Options{}, syscall.EINVAL},
		{"R12 reuse", func(d *ucmd.Desc) { d.Opt.Reuse = 4 }, Options{}, syscall.EINVAL},
		{"R12 qerr", func(d *ucmd.Desc) { d.Opt.QErr = 2 }, Options{}, syscall.EINVAL},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := Open(h.Node, plain(tc.desc), tc.o); !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
		})
	}
	first := registerAt(t, h, plain(nil)) // R13
	if _, err := Open(h.Node, plain(nil), Options{}); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("R9: %v, want EEXIST", err)
	}
	shut(t, first)
	h.WaitGone("disk1")          // the kernel tells of the close when it likes
	registerAt(t, h, plain(nil)) // R70, R72
}

func TestR16R20R21OptionsAtANode(t *testing.T) {
	d := registerAt(t, nodehost.Start(t), plain(nil))
	o := d.GetOptions()
	if got, err := d.Options(); got != o || err != nil {
		t.Errorf("R16: %+v, %v, want %+v", got, err, o)
	}
	o.Parse, o.PartialType, o.PartialLen, o.DSense = 1, 2, -1, 1 // R21
	if err := d.SetOptions(o); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Options(); got != o || err != nil {
		t.Errorf("R16: %+v, %v, want %+v", got, err, o)
	}
	bad := o
	bad.TAS = 2
	if err := d.SetOptions(bad); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("R20: %v", err)
	}
	if got, _ := d.Options(); got != o {
		t.Errorf("R20: now %+v", got)
	}
}

// A handler that does everything by itself: replies that are refused, and what
// UNREGISTER_DEVICE changes.
func TestR15R25R28R39RepliesAtANode(t *testing.T) {
	d := registerAt(t, nodehost.Start(t), plain(nil))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	subs := make([]ucmd.Subcommand, 4)
	_, n, err := d.ReplyAndGet(ctx, nil, subs)
	if err != nil || n != 1 || subs[0].Code != ucmd.SubAttachSess || subs[0].Sess == nil || subs[0].SessH == 0 {
		t.Fatalf("R39: %d %+v, %v", n, subs[0], err)
	}
	h := subs[0].Handle
	wrong := good(h + 1000)
	done, _, err := d.ReplyAndGet(ctx, []ucmd.Reply{wrong}, nil)
	if done != 0 || !errors.Is(err, syscall.ESRCH) {
		t.Errorf("R25 an unknown handle: done %d, %v", done, err)
	}
	// One good reply in front of a bad one, of which it tells (R28).
	attach := ucmd.Reply{Handle: h, Code: ucmd.SubAttachSess}
	done, n, err = d.ReplyAndGet(ctx, []ucmd.Reply{attach, wrong, wrong}, subs)
	if done != 1 || n != 0 || !errors.Is(err, syscall.ESRCH) {
		t.Errorf("R28: done %d, n %d, %v", done, n, err)
	}
	// The session's first command: answered with another subcode, it is over.
	_, n, err = d.ReplyAndGet(ctx, nil, subs)
	if err != nil || n < 1 || subs[0].Code != ucmd.SubExec {
		t.Fatalf("%d %+v, %v", n, subs[0], err)
	}
	h = subs[0].Handle
	done, _, err = d.ReplyAndGet(ctx, []ucmd.Reply{{Handle: h, Code: ucmd.SubTMDone}}, nil)
	if done != 0 || !errors.Is(err, syscall.EINVAL) {
		t.Errorf("R25 a wrong subcode: done %d, %v", done, err)
	}
	if done, _, err = d.ReplyAndGet(ctx, []ucmd.Reply{good(h)}, nil); done != 0 || !errors.Is(err, syscall.ESRCH) {
		t.Errorf("fact 27 then the right one: done %d, %v", done, err)
	}
	if err := d.do(abi.IoctlUnregisterDevice, nil, nil); err != nil {
		t.Errorf("R15: %v", err)
	}
	if _, err := d.Options(); err != nil {
		t.Errorf("R15: it is not usable any more: %v", err)
	}
}

func TestR35R37R38R63BuffersAtANode(t *testing.T) {
	d := registerAt(t, nodehost.Start(t), plain(nil))
	a := arena.New(arena.Options{})
	addr, err := a.Alloc(2 * ucmd.PageSize)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Prealloc(addr, ucmd.PageSize, false); err != nil {
		t.Errorf("R38: %v", err)
	}
	for _, tc := range []struct {
		name string
		addr uint64
		n    int
		want syscall.Errno
	}{
		{"unaligned", addr + 1, ucmd.PageSize, syscall.EINVAL},
		{"unmapped", 1 << 46, ucmd.PageSize, syscall.EFAULT},
		{"nothing", addr, 0, syscall.ENOMEM},
	} {
		if _, err := d.Prealloc(tc.addr, tc.n, false); !errors.Is(err, tc.want) {
			t.Errorf("R38 %s: %v, want %v", tc.name, err, tc.want)
		}
	}
	x := abi.GetExtCDB{CmdH: 12345}
	err = d.do(abi.IoctlGetExtendedCDB, func(f *frame) error { return x.Encode(f.mem) }, nil)
	if !errors.Is(err, syscall.ESRCH) {
		t.Errorf("R37: %v", err)
	}
	// The buffer comes back to be freed (R35, R63).
	if err := d.FlushCache(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		subs := make([]ucmd.Subcommand, 1)
		if _, _, err := d.ReplyAndGet(ctx, nil, subs); err != nil {
			t.Fatal(err)
		}
		if s := subs[0]; s.Code == ucmd.SubOnCachedMemFree {
			if s.PBuf != addr {
				t.Errorf("R63: %#x, want %#x", s.PBuf, addr)
			}
			break
		}
		if _, _, err := d.ReplyAndGet(ctx, []ucmd.Reply{{Handle: subs[0].Handle, Code: subs[0].Code, Type: ucmd.ReplyCompleted}}, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// While a getter is blocked, the end of its context ends the wait at once, at a
// real node (R15).
func TestR15WokenAtANode(t *testing.T) {
	d := registerAt(t, nodehost.Start(t), plain(nil))
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, 16)
	for range 16 {
		go func() {
			subs := make([]ucmd.Subcommand, 1)
			for {
				_, n, err := d.ReplyAndGet(ctx, nil, subs)
				if err != nil {
					errs <- err
					return
				}
				for _, s := range subs[:n] { // what the host asks of a new device
					r := ucmd.Reply{Handle: s.Handle, Code: s.Code, Type: ucmd.ReplyCompleted, Result: -int32(syscall.EPERM)}
					if _, _, err := d.ReplyAndGet(ctx, []ucmd.Reply{r}, nil); err != nil {
						t.Error(err)
					}
				}
			}
		}()
	}
	time.Sleep(50 * time.Millisecond)
	begin := time.Now()
	cancel()
	for range 16 {
		if err := <-errs; !errors.Is(err, syscall.EINTR) {
			t.Errorf("%v, want EINTR", err)
		}
	}
	if d := time.Since(begin); d > time.Second {
		t.Errorf("that took %v", d)
	}
}
