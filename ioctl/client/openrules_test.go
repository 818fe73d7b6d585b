package client

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"scstuser/internal/nodehost"
	"scstuser/ioctl/abi"
	"scstuser/scsi"
	"scstuser/ucmd"
)

// edited is the version of headers that were edited.
var edited = abi.Version[:len(abi.Version)-1] + string("10"[abi.Version[len(abi.Version)-1]&1])

func TestR5VersionsAtANode(t *testing.T) {
	for _, tc := range []struct {
		name    string
		only    []string
		version string
		want    error
	}{
		{"ours", nil, abi.Version, nil}, {"an edited header", nil, edited, nil},
		{"another release", nil, "4" + abi.Version[1:], syscall.EINVAL}, {"no sums", nil, "3.11.0-pre", syscall.EINVAL},
		{"in a list", []string{"x", edited}, edited, nil}, {"not in a list", []string{"x", edited}, abi.Version, syscall.EINVAL},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := nodehost.StartWith(t, nodehost.Config{Versions: tc.only})
			d, err := Open(h.Node, plain(nil), Options{Version: tc.version})
			if !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
			if err == nil {
				shut(t, d)
			}
		})
	}
}

// A second registration by one open file ends with EINVAL, and is rolled back.
func TestR9SecondRegistrationAtANode(t *testing.T) {
	h := nodehost.StartWith(t, nodehost.Config{NoExport: true})
	r := openRaw(t, h, true)
	if errno := r.register(plain(nil)); errno != 0 {
		t.Fatal(errno)
	}
	other := plain(func(d *ucmd.Desc) { d.Name = "disk2" })
	if errno := r.register(other); errno != syscall.EINVAL {
		t.Errorf("%v, want EINVAL", errno)
	}
	if errno := openRaw(t, h, true).register(other); errno != 0 {
		t.Errorf("the name is taken: %v", errno)
	}
}

// setNonBlock is fcntl's O_NONBLOCK.
func (r *rawNode) setNonBlock(on bool) {
	r.t.Helper()
	if err := unix.SetNonblock(r.fd, on); err != nil {
		r.t.Fatal(err)
	}
}

// O_NONBLOCK counts when the device is registered, not later.
func TestR10LatchedAtANode(t *testing.T) {
	h := nodehost.StartWith(t, nodehost.Config{NoExport: true})
	r := openRaw(t, h, true)
	if errno := r.register(plain(nil)); errno != 0 {
		t.Fatal(errno)
	}
	r.setNonBlock(false)
	clear(r.mem[argAt:][:16])
	r.fails("a get, with fcntl to block", ioctlReplyAndGet, syscall.EAGAIN)

	r = openRaw(t, h, false)
	if errno := r.register(plain(func(d *ucmd.Desc) { d.Name = "blocks" })); errno != 0 {
		t.Fatal(errno)
	}
	r.setNonBlock(true)
	got := make(chan syscall.Errno, 1)
	clear(r.mem[argAt:][:16])
	go func() { got <- r.do(ioctlReplyAndGet) }()
	select {
	case errno := <-got:
		t.Errorf("a get, with fcntl not to block: %v at once", errno)
	case <-time.After(50 * time.Millisecond):
		r.sys.ioctl(r.fd, ioctlUnregister, 0) // R15
		if errno := <-got; errno != syscall.EAGAIN {
			t.Errorf("R15: %v, want EAGAIN", errno)
		}
	}
}

func TestR11NamesAtANode(t *testing.T) {
	h := nodehost.StartWith(t, nodehost.Config{NoExport: true})
	long := strings.Repeat("n", 48) // fact 6
	r := openRaw(t, h, true)
	if errno := r.register(plain(func(d *ucmd.Desc) { d.Name = long + "mm" })); errno != 0 {
		t.Fatal(errno)
	}
	r = openRaw(t, h, true)
	if errno := r.register(plain(func(d *ucmd.Desc) { d.Name, d.SGVName, d.SGVNoClustered = "short", "pool", true })); errno != 0 {
		t.Fatal(errno)
	}
	for path, want := range map[string]bool{
		"devices/" + long: true, "sgv/" + long: true, "sgv/" + long + "-clust": true,
		"devices/short": true, "sgv/pool": true, "sgv/pool-clust": false, "sgv/short": false,
	} {
		if _, err := os.Stat(filepath.Join(h.Mount, path)); (err == nil) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// The device lives as long as any descriptor of its open file.
func TestR14LastDescriptorAtANode(t *testing.T) {
	h := nodehost.StartWith(t, nodehost.Config{NoExport: true})
	r := openRaw(t, h, true)
	if errno := r.register(plain(nil)); errno != 0 {
		t.Fatal(errno)
	}
	last, err := unix.FcntlInt(uintptr(r.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Close(r.fd); err != nil {
		t.Fatal(err)
	}
	r.fd = last
	time.Sleep(50 * time.Millisecond)
	r.fails("GET_OPTIONS through the last descriptor", ioctlGetOptions, 0)
	if _, err := os.Stat(filepath.Join(h.Mount, "devices/disk1")); err != nil {
		t.Errorf("gone with the first descriptor: %v", err)
	}
	other := openRaw(t, h, true) // several files, several devices
	if errno := other.register(plain(func(d *ucmd.Desc) { d.Name = "disk2" })); errno != 0 {
		t.Error(errno)
	}
	if err := unix.Close(r.fd); err != nil {
		t.Fatal(err)
	}
	r.fd = -1
	h.WaitGone("disk1")
}

// SET_OPTIONS waits for the command that is out, so that a handler's only thread
// must not call it.
func TestR16R17OptionsWaitAtANode(t *testing.T) {
	r := newSession(t, nil)
	rd := r.read()
	e := r.get(ucmd.SubExec)
	set := make(chan error, 1)
	go func() { set <- r.port.SetOptions(r.port.GetOptions()) }()
	select {
	case err := <-set:
		t.Errorf("it did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	r.answer(e)
	r.ends(rd, scsi.Good, scsi.SenseNone)
	select {
	case err := <-set:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("it waits still")
	}
}

func TestR18R19OptionsWithASessionAtANode(t *testing.T) {
	r := newSession(t, nil)
	o := r.port.GetOptions()
	bad := o
	bad.TST = 0
	if err := r.port.SetOptions(bad); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("R19: %v, want EINVAL", err)
	}
	rd := r.read()
	r.answer(r.get(ucmd.SubExec))
	r.ends(rd, scsi.Good, scsi.SenseNone)
	o.Parse = uint8(ucmd.ParseCall)
	if err := r.port.SetOptions(o); err != nil {
		t.Fatal(err)
	}
	r.read()
	r.get(ucmd.SubParse) // R18
}

// A reply that is refused keeps the get from happening; one that is taken is
// taken even if nothing comes.
func TestR23ReplyFirstAtANode(t *testing.T) {
	r := rawSession(t, nil)
	// get gives a reply and fetches.
	get := func(h uint32) syscall.Errno {
		clear(r.mem[replyAt:][:abi.SizeReplyCmd])
		r.put32(replyAt, h)
		r.put32(replyAt+4, 0xC0687303)
		r.mem[replyAt+8+16] = 1 // COMPLETED
		clear(r.mem[argAt:][:abi.SizeGetCmd])
		r.put64(argAt+8, r.at(replyAt))
		return r.do(ioctlReplyAndGet)
	}
	r.submit(1, scsi.OpRead16)
	time.Sleep(20 * time.Millisecond)
	if errno := get(4711); errno != syscall.ESRCH {
		t.Errorf("%v, want ESRCH", errno)
	}
	h := r.get(0xC0687303) // is there still
	if errno := get(h); errno != syscall.EAGAIN {
		t.Errorf("%v, want EAGAIN", errno)
	}
	r.ends(1, "0 0 0 0 0 0")
}

// A signal whose handler has SA_RESTART, as all of Go's, does not end a get; nor
// is the reply that it carries given again (F4).
func TestR24RestartAtANode(t *testing.T) {
	h := nodehost.StartWith(t, nodehost.Config{NoExport: true})
	r := openRaw(t, h, false)
	if errno := r.register(plain(nil)); errno != 0 {
		t.Fatal(errno)
	}
	tid, got := make(chan int, 1), make(chan syscall.Errno, 1)
	// blocked starts a get that waits, where signals come through.
	blocked := func() int {
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			tid <- unix.Gettid()
			_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(r.fd), ioctlReplyAndGet, uintptr(r.addr+argAt))
			got <- errno
		}()
		return <-tid
	}
	// interrupt sends signals to a thread in a get, which must go on.
	interrupt := func(thread int) {
		for range 5 {
			time.Sleep(20 * time.Millisecond)
			if err := unix.Tgkill(os.Getpid(), thread, unix.SIGURG); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(20 * time.Millisecond)
		select {
		case errno := <-got:
			t.Fatalf("the get ended with %v", errno)
		default:
		}
	}
	clear(r.mem[argAt:][:16])
	thread := blocked()
	interrupt(thread)
	h.Say("attach disk1")
	if errno := <-got; errno != 0 || r.u32(argAt+4) != 0x82187320 {
		t.Fatalf("%v, %#x", errno, r.u32(argAt+4))
	}
	// The reply of the next get is consumed before its wait is interrupted.
	clear(r.mem[replyAt:][:abi.SizeReplyCmd])
	r.put32(replyAt, r.u32(argAt))
	r.put32(replyAt+4, 0x82187320)
	r.put64(argAt+8, r.at(replyAt))
	thread = blocked()
	if h.Say("attached") != "1" {
		t.Fatal("refused")
	}
	interrupt(thread)
	r.submit(1, scsi.OpRead16)
	if errno := <-got; errno != 0 || r.u32(argAt+4) != 0xC0687303 {
		t.Fatalf("%v, %#x", errno, r.u32(argAt+4)) // ESRCH: given again
	}
	r.reply(good(r.u32(argAt)), 0)
	r.ends(1, "0 0 0 0 0 0")
}
