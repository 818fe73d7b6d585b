package node

import (
	"context"
	"time"

	"github.com/sirupsen/logrus"

	"scstuser/ioctl/abi"
	"scstuser/ioctl/trace"
	"scstuser/ucmd"
)

// Recorder takes the events of a recording; *trace.Writer is one. It is called
// by many goroutines at once.
type Recorder interface {
	// Write appends an event and returns its sequence number.
	Write(e *trace.Event) (uint64, error)
}

// Options are a Host's settings. The zero value is usable.
type Options struct {
	// Limits are those of every device.
	Limits ucmd.Limits
	// Versions says which interface versions may register (R5, F9).
	Versions abi.Versions
	// MaxDevices is how many devices there are at a time. Default 1024.
	MaxDevices int
	// Batch is how many replies, and how many subcommands, are handled at a
	// time. A MULTI call never delivers more; replies are taken in several
	// steps. Default 256.
	Batch int
	// MaxBuffers bounds the host copies of one handler's buffers, in bytes.
	// A buffer beyond is refused as if it were not mapped. Default 1 GiB.
	MaxBuffers int64
	// PollWait is how long a get on a non-blocking device waits for a
	// command before EAGAIN, so that a handler that polls does not spin: poll
	// always says ready (F5). A command ends the wait. Default 4 ms.
	PollWait time.Duration
	// IdleWait is how long it waits if its thread has done nothing but such
	// gets for a while, and the handler has nothing to do (idle.go). Default
	// ten times PollWait: seven threads that poll cost two percent of a core
	// then.
	IdleWait time.Duration
	// InterruptErrno makes an interrupted get fail with EINTR always. By
	// default the kernel is told to restart it if the signal's handler was
	// installed with SA_RESTART, as the module does (R24, F4).
	InterruptErrno bool
	// Recorder, if not nil, gets every ioctl; RecordData is how many bytes of
	// a command's data at most. Default 512, negative is none.
	Recorder   Recorder
	RecordData int
	// Serve, if not nil, is called on a goroutine of its own for each device,
	// when its handler asks for commands for the first time. It exports the device, waits for ctx, which ends
	// when the handler has gone, takes the export back and returns. REGISTER
	// does not wait for it; the device's name is not free before it returned.
	Serve func(ctx context.Context, d *ucmd.Device)
	// Observe, if not nil, makes the Observer of a device, or nil.
	Observe func(desc ucmd.Desc) ucmd.Observer
	// Log is where the host reports; logrus.StandardLogger() if nil.
	Log *logrus.Logger
}

// EnsureDefaults fills in what was left zero.
func (o *Options) EnsureDefaults() {
	if o.MaxDevices <= 0 {
		o.MaxDevices = 1024
	}
	if o.Batch <= 0 {
		o.Batch = 256
	}
	if o.MaxBuffers <= 0 {
		o.MaxBuffers = 1 << 30
	}
	if o.PollWait <= 0 {
		o.PollWait = 4 * time.Millisecond
	}
	if o.IdleWait <= 0 {
		o.IdleWait = 10 * o.PollWait
	}
	if o.RecordData == 0 {
		o.RecordData = 512
	}
	if o.Log == nil {
		o.Log = logrus.StandardLogger()
	}
}
