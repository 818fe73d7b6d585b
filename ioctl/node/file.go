package node

import (
	"context"
	"errors"
	"sync"
	"syscall"

	"scstuser/ioctl/abi"
	"scstuser/ucmd"
)

// File is one open file description of the node: at most one device (R14).
type File struct {
	host        *Host
	id          int // in recordings
	nonBlocking bool

	// calls counts the ioctls under way; it grows under mu, while not closed.
	calls sync.WaitGroup

	// mu guards what follows.
	mu sync.Mutex
	// registering: somebody is in REGISTER. closed: no more ioctls.
	registering, closed bool
	att                 *attended // nil until registered
	// restarts are the gets that were interrupted, by thread (restart.go).
	restarts map[int]restart
}

// Call is one ioctl.
type Call struct {
	Cmd abi.Ioctl
	// Arg is the argument: for most ioctls an address in the caller's memory.
	Arg abi.Addr
	// In is what is at Arg, Cmd.Size() bytes, if the number says that the
	// argument goes in.
	In []byte
	// Out is room for what comes out; it may be nil.
	Out []byte
	// TID is the calling thread, which is blocked in this call.
	TID int
	// Mem is the caller's memory.
	Mem CallerMemory
}

// Errno -512 is the kernel's own ERESTARTSYS: restart the call if the signal's
// handler wants that, else EINTR.
const restartSys = -512

// Ioctl carries out one ioctl (rules R6 to R73). ctx ends when the caller has
// been interrupted. The caller gets errno if that is not 0, and nothing comes
// out; else result, which may be a negative errno (F3), and out, which is
// copied to Arg.
func (f *File) Ioctl(ctx context.Context, c *Call) (result int32, errno syscall.Errno, out []byte) {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return 0, syscall.ENODEV, nil
	}
	f.calls.Add(1)
	f.mu.Unlock()
	defer f.calls.Done()
	rec := f.recordEnter(c)
	result, errno, out = f.ioctl(ctx, c, rec)
	if rec != nil {
		rec.exit(c, result, errno, out)
	}
	return result, errno, out
}

func (f *File) ioctl(ctx context.Context, c *Call, rec *recording) (int32, syscall.Errno, []byte) {
	switch {
	case !c.Cmd.Known():
		return 0, syscall.EINVAL, nil // R6
	case c.Cmd.Dir()&abi.DirWrite != 0 && len(c.In) < c.Cmd.Size():
		return 0, syscall.EFAULT, nil
	case c.Cmd == abi.IoctlRegisterDevice:
		return 0, f.host.errnoOf(f.register(ctx, c)), nil
	}
	a := f.attended()
	if a == nil {
		return 0, syscall.ENODEV, nil // R6
	}
	x := requests.Get().(*request)
	x.File, x.Call, x.dev, x.space, x.rec = f, c, a.dev, a.space, rec
	defer x.put()
	switch c.Cmd {
	case abi.IoctlReplyAndGetMulti:
		a.service.fetches()
		return x.multi(ctx)
	case abi.IoctlReplyAndGetCmd:
		a.service.fetches()
		return x.getOne(ctx)
	}
	f.takeRestart(c.TID) // another call: nothing is restarted any more
	switch c.Cmd {
	case abi.IoctlReplyCmd:
		return x.replyOnly()
	case abi.IoctlGetOptions:
		return x.getOptions()
	case abi.IoctlPreallocBuffer:
		return x.prealloc()
	}
	return 0, f.host.errnoOf(x.manage(ctx)), nil
}

// request is one ioctl on a registered file, on its way.
type request struct {
	*File
	*Call
	dev   *ucmd.Device
	space *space
	rec   *recording // nil: nobody records
	batch batch
}

// requests are used again, so that a call allocates nothing in steady state.
var requests = sync.Pool{New: func() any { return new(request) }}

func (x *request) put() {
	x.File, x.Call, x.dev, x.space, x.rec = nil, nil, nil, nil, nil
	x.batch.forget()
	requests.Put(x)
}

// attended returns the file's device, nil before REGISTER.
func (f *File) attended() *attended {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.att
}

// Device returns the file's device, nil before REGISTER.
func (f *File) Device() *ucmd.Device {
	if a := f.attended(); a != nil {
		return a.dev
	}
	return nil
}

// Close is the last close of the file: its device is released (rules R14, R70,
// R72). It does not wait for that. The carrier calls it once, after the last
// Ioctl has returned; tid is the closer's thread, if known, for recordings.
func (f *File) Close(tid int) {
	f.host.recordRelease(f, tid)
	f.host.idle.forget(f)
	f.shut((*ucmd.Device).HandlerGone)
}

// shut refuses further calls and, with end, begins the release of the file's
// device, or the wait for another handler.
func (f *File) shut(end func(*ucmd.Device)) {
	f.mu.Lock()
	f.closed = true
	a := f.att
	f.mu.Unlock()
	if a != nil {
		end(a.dev) // at once: calls that wait return now
		a.cancel()
	}
}

// outBuf is n bytes that go out: what went in, so that bytes which are not
// written keep their content (rule R4), then zeros.
func (c *Call) outBuf() []byte {
	n := c.Cmd.Size()
	out := c.Out
	if cap(out) < n {
		out = make([]byte, n)
	}
	out = out[:n]
	clear(out[copy(out, c.In):])
	return out
}

// errnoOf is the number in an error of this interface; what has none is not
// expected, and EINVAL. What a number can't tell is logged.
func (h *Host) errnoOf(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	var e syscall.Errno // is on the heap, for As
	if !errors.As(err, &e) {
		e = syscall.EINVAL
	}
	if err != error(e) {
		h.opt.Log.WithError(err).Warn("an ioctl of a handler was refused")
	}
	return e
}
