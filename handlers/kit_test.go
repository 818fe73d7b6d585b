package handlers_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"scstuser/handlers"
	"scstuser/handlers/arena"
	"scstuser/scsi"
	"scstuser/target"
	"scstuser/ucmd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// rig is a device in this process, with its handler and one initiator.
type rig struct {
	t     testing.TB
	arena *arena.Arena
	reg   *ucmd.Registry
	dev   *ucmd.Device
	init  *initiator

	cancel context.CancelFunc // ends Serve
	served chan error         // what Serve returned
	ended  sync.Once
}

// rigConfig is what differs between the tests. The zero value is a device as
// fileio_tgt registers it, served by getters.
type rigConfig struct {
	desc    ucmd.Desc
	opt     func(*ucmd.Opt)
	limits  ucmd.Limits
	memory  arena.Options
	serve   handlers.Options
	mem     func(*arena.Arena) ucmd.Memory // default: handlers.Memory
	noServe bool                           // the test calls Serve
	prepare func(*rig)                     // before Serve
}

// newRig registers a device and serves it with h until the test ends, when it
// checks that nothing is left (I3, I4).
func newRig(t testing.TB, h handlers.Handler, cfg rigConfig) *rig {
	t.Helper()
	r := &rig{t: t, arena: arena.New(cfg.memory), reg: ucmd.NewRegistry(cfg.limits), served: make(chan error, 1)}
	d := cfg.desc
	d.Name, d.Type = "disk1", ucmd.TypeDisk
	if d.BlockSize == 0 {
		d.BlockSize = 512
	}
	d.Opt = ucmd.Opt{OnFree: uint8(ucmd.OnFreeIgnore), Reuse: uint8(ucmd.ReuseAll), TST: 1, QueueAlg: 1}
	if cfg.opt != nil {
		cfg.opt(&d.Opt)
	}
	mem := ucmd.Memory(handlers.Memory{Arena: r.arena})
	if cfg.mem != nil {
		mem = cfg.mem(r.arena)
	}
	var err error
	if r.dev, err = r.reg.Register(d, mem, nil); err != nil {
		t.Fatal(err)
	}
	if cfg.prepare != nil {
		cfg.prepare(r)
	}
	if cfg.noServe {
		return r
	}
	t.Cleanup(r.close)
	r.serve(h, cfg.serve)
	r.init = r.attach()
	return r
}

// serve starts Serve.
func (r *rig) serve(h handlers.Handler, o handlers.Options) {
	o.Arena = r.arena
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() { r.served <- handlers.Serve(ctx, r.dev, h, o) }()
}

// stop ends Serve and waits for it.
func (r *rig) stop() error {
	r.t.Helper()
	r.cancel()
	return recv(r.t, r.served, "Serve to return")
}

// settle gives every idle buffer back to the handler, who frees it.
func (r *rig) settle() {
	r.t.Helper()
	if err := r.dev.FlushCache(); err != nil {
		r.t.Error(err)
	}
	eventually(r.t, "the buffers to be free", func() bool { return r.arena.Stats().Live == 0 && len(r.dev.Commands()) == 0 })
}

// close ends everything in the order in which a program does it, and checks
// that nothing is left.
func (r *rig) close() {
	r.ended.Do(func() {
		r.settle()
		r.detach(r.init)
		if err := r.stop(); err != nil {
			r.t.Errorf("Serve: %v", err)
		}
		r.release()
		if s := r.arena.Stats(); s.Live != 0 {
			r.t.Errorf("I3: %d buffers are not free", s.Live)
		}
		if err := r.arena.Close(); err != nil {
			r.t.Error(err)
		}
	})
}

// release takes the device down.
func (r *rig) release() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.dev.Close(ctx); err != nil {
		r.t.Error(err)
	}
	if l := r.dev.Commands(); len(l) > 0 {
		r.t.Errorf("I4: ucmds left: %v", l)
	}
}

// attach adds an initiator.
func (r *rig) attach() *initiator {
	r.t.Helper()
	i := &initiator{t: r.t}
	i.sess = r.attachFront(i)
	return i
}

func (r *rig) attachFront(f target.Frontend) *target.Session {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := r.dev.Target().NewSession(ctx, f, target.SessionInfo{Initiator: "i", Target: "t"})
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// detachNow ends the initiator's session although nobody answers DETACH_SESS
// any more; the release does.
func (r *rig) detachNow() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = r.init.sess.Close(ctx)
}

func (r *rig) detach(i *initiator) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := i.sess.Close(ctx); err != nil {
		r.t.Error(err)
	}
}

// initiator is a front end that has its data at hand and takes every response
// at once.
type initiator struct {
	t    testing.TB
	sess *target.Session
	tms  chan *target.MgmtCmd
}

// command is one command of an initiator and its outcome.
type command struct {
	target.Cmd
	out  []byte        // what a write sends
	in   []byte        // what a read got
	gone chan struct{} // closed when the command is over
}

func (i *initiator) RdyToXfer(c *target.Cmd) target.Verdict {
	copy(c.Buf, c.Front.(*command).out)
	return target.Continue
}

func (i *initiator) XmitResponse(c *target.Cmd) {
	x := c.Front.(*command)
	x.in = append(x.in[:0], c.Data()...)
	c.Delivered(target.Delivered)
}

func (i *initiator) Freed(c *target.Cmd)                            { close(c.Front.(*command).gone) }
func (i *initiator) AEN(*target.Session, target.UnitAttention) bool { return true }
func (i *initiator) SessionGone(*target.Session)                    {}
func (i *initiator) TMDone(m *target.MgmtCmd) {
	if i.tms != nil {
		i.tms <- m
	}
}

// start submits a command.
func (i *initiator) start(cdb []byte, out []byte) *command {
	x := &command{out: out, gone: make(chan struct{})}
	x.Init(cdb, scsi.QueueSimple)
	x.Front = x
	i.sess.Submit(&x.Cmd)
	return x
}

// do runs a command to its end.
func (i *initiator) do(cdb []byte, out []byte) *command {
	i.t.Helper()
	x := i.start(cdb, out)
	i.wait(x)
	return x
}

// wait waits for a command's end.
func (i *initiator) wait(x *command) {
	i.t.Helper()
	recv(i.t, x.gone, "a command to end")
}

// over says whether a command has ended.
func (x *command) over() bool {
	select {
	case <-x.gone:
		return true
	default:
		return false
	}
}

func read(lba uint64, blocks uint32) []byte {
	c := scsi.EncodeRead16(lba, blocks, false)
	return append([]byte(nil), c.Slice()...)
}

func write(lba uint64, blocks uint32) []byte {
	c := scsi.EncodeWrite16(lba, blocks, false)
	return append([]byte(nil), c.Slice()...)
}

// recv waits for something on a channel.
func recv[T any](t testing.TB, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("waited %v for %s", patience, what)
		panic("not reached")
	}
}

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}
