package handlers_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"scstuser/handlers"
	"scstuser/handlers/arena"
	"scstuser/scsi"
	"scstuser/ucmd"
)

// Serve returns after the calls that are in Exec, and their commands get their
// answers; those that were handed off too.
func TestServeWaitsForExec(t *testing.T) {
	for name, o := range servings {
		for what, waiting := range map[string]int{"in Exec": 2, "handed off": 10} {
			t.Run(name+", "+what, func(t *testing.T) {
				t.Parallel()
				s := newStalls()
				cfg := rigConfig{serve: o, noServe: true}
				cfg.desc.NonBlocking = o.NonBlocking
				r := newRig(t, s, cfg)
				r.serve(s, o)
				r.init = r.attach()
				var slow []*command
				for n := range waiting {
					slow = append(slow, r.init.start(write(uint64(1000+n), 1), nil))
				}
				for range min(waiting, o.Threads) {
					recv(t, s.inside, "Exec")
				}
				// Nothing is left for the port to deliver.
				eventually(t, "all commands to be fetched", func() bool { return fetched(r.dev) == waiting })
				r.cancel()
				select {
				case err := <-r.served:
					t.Fatalf("Serve returned %v while Exec runs", err)
				case <-time.After(20 * time.Millisecond):
				}
				close(s.leave)
				if err := recv(t, r.served, "Serve to return"); err != nil {
					t.Error(err)
				}
				for _, x := range slow {
					if !x.over() {
						t.Error("Serve returned before a command's answer")
					}
					expect(t, x, scsi.Good, scsi.SenseNone, nil)
				}
				r.detachNow()
				r.release()
			})
		}
	}
}

// fetched counts the commands that the handler has to execute.
func fetched(d *ucmd.Device) int {
	n := 0
	for _, c := range d.Commands() {
		if c.Sent && c.State == ucmd.StateExecing {
			n++
		}
	}
	return n
}

// Serve waits for a call that runs inline, too.
func TestServeWaitsForInline(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	h := always(func(r *handlers.Request) {
		if r.Sub.LBA == 1000 {
			close(inside)
			<-leave
		}
	})
	r := newRig(t, h, rigConfig{noServe: true})
	r.serve(h, handlers.Options{Inline: true})
	r.init = r.attach()
	started := make(chan *command)
	go func() { started <- r.init.start(write(1000, 1), nil) }()
	recv(t, inside, "TryExec")
	r.cancel()
	select {
	case err := <-r.served:
		t.Fatalf("Serve returned %v while TryExec runs", err)
	case <-time.After(20 * time.Millisecond):
	}
	close(leave)
	if err := recv(t, r.served, "Serve to return"); err != nil {
		t.Error(err)
	}
	x := recv(t, started, "Submit to return")
	r.init.wait(x)
	expect(t, x, scsi.Good, scsi.SenseNone, nil)
	r.detachNow()
	r.release()
}

// After the end the handler is not called any more; what comes is answered by
// the release (rule R70).
func TestNoCallsAfterServe(t *testing.T) {
	for name, o := range servings {
		t.Run(name, func(t *testing.T) {
			over := false
			h := always(func(*handlers.Request) {
				if over {
					t.Error("a call after Serve has returned")
				}
			})
			cfg := rigConfig{noServe: true}
			cfg.desc.NonBlocking = o.NonBlocking
			r := newRig(t, h, cfg)
			r.serve(h, o)
			r.init = r.attach()
			r.init.do(write(0, 1), nil)
			if err := r.stop(); err != nil {
				t.Error(err)
			}
			over = true
			x := r.init.start(write(0, 1), nil)
			r.release()
			r.init.wait(x)
			if x.Status == scsi.Good {
				t.Error("a command that nobody carried out is GOOD")
			}
		})
	}
}

// A device that is released under Serve ends it; commands in Exec are waited
// for, though their answers come too late.
func TestR70ReleasedUnderServe(t *testing.T) {
	for name, o := range servings {
		for what, waiting := range map[string]int{"idle": 0, "in Exec": 2, "handed off": 10} {
			t.Run(name+", "+what, func(t *testing.T) {
				t.Parallel()
				s := newStalls()
				cfg := rigConfig{noServe: true}
				cfg.desc.NonBlocking = o.NonBlocking
				r := newRig(t, s, cfg)
				r.serve(s, o)
				r.init = r.attach()
				var slow []*command
				for n := range waiting {
					slow = append(slow, r.init.start(write(uint64(1000+n), 1), nil))
				}
				for range min(waiting, o.Threads) {
					recv(t, s.inside, "Exec")
				}
				r.release()
				for _, x := range slow {
					r.init.wait(x)
					if x.Status == scsi.Good {
						t.Error("a command that was not carried out is GOOD")
					}
				}
				if waiting > 0 {
					select {
					case err := <-r.served:
						t.Fatalf("Serve returned %v while Exec runs", err)
					case <-time.After(10 * time.Millisecond):
					}
				}
				close(s.leave)
				if err := recv(t, r.served, "Serve to return"); err != nil {
					t.Error(err)
				}
				r.cancel()
			})
		}
	}
}

// A context that has ended already is no problem.
func TestServeAfterTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for name, o := range servings {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil, rigConfig{noServe: true})
			o.Arena = r.arena
			if err := handlers.Serve(ctx, r.dev, always(func(*handlers.Request) {}), o); err != nil {
				t.Error(err)
			}
			r.release()
		})
	}
}

// A device can be served again: what was queued in between is carried out then.
func TestServeAgain(t *testing.T) {
	for name, o := range servings {
		t.Run(name, func(t *testing.T) {
			h := always(newRAM().exec)
			cfg := rigConfig{serve: o}
			cfg.desc.NonBlocking = o.NonBlocking
			r := newRig(t, h, cfg)
			r.init.do(write(0, 1), make([]byte, 512))
			if err := r.stop(); err != nil {
				t.Error(err)
			}
			x := r.init.start(read(0, 1), nil)
			r.serve(h, o)
			r.init.wait(x)
			expect(t, x, scsi.Good, scsi.SenseNone, make([]byte, 512))
		})
	}
}

// Clients that never stop do not keep Serve from ending.
func TestEndUnderLoad(t *testing.T) {
	for name, o := range servings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := everyOther(newRAM().exec)
			cfg := rigConfig{noServe: true}
			cfg.desc.NonBlocking = o.NonBlocking
			r := newRig(t, h, cfg)
			r.serve(h, o)
			r.init = r.attach()
			stop, done := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(done)
				for {
					var batch []*command
					for range 8 {
						batch = append(batch, r.init.start(write(0, 8), nil))
					}
					for _, x := range batch {
						select {
						case <-x.gone:
						case <-stop:
							return
						}
					}
				}
			}()
			time.Sleep(5 * time.Millisecond)
			if err := r.stop(); err != nil {
				t.Error(err)
			}
			close(stop)
			recv(t, done, "the client")
			r.release()
		})
	}
}

// triedManager is a manager that is a Trier.
type triedManager struct {
	*manager
	try func(*handlers.Request) bool
}

func (m *triedManager) TryExec(r *handlers.Request) bool { return m.try(r) }

// inlinePort is a fakePort that runs a handler inline when the test says so.
type inlinePort struct {
	*fakePort
	f chan ucmd.InlineFunc
}

func (p inlinePort) SetInline(f ucmd.InlineFunc) { p.f <- f }

// Rule R70: a port may still hold the function when Serve has ended. It must not
// reach the handler, and not leave a command without an answer.
func TestLateInlineCall(t *testing.T) {
	p := inlinePort{newFakePort(t), make(chan ucmd.InlineFunc, 2)}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	execs := 0
	h := &triedManager{manager: &manager{}, try: func(*handlers.Request) bool { execs++; return true }}
	a := arena.New(arena.Options{})
	go func() { served <- handlers.Serve(ctx, p, h, handlers.Options{Arena: a, Inline: true}) }()
	f := recv(t, p.f, "SetInline")
	sub := execSub(1, nil)
	if !f(&sub, &ucmd.Reply{}) || execs != 1 {
		t.Error("the handler did not run inline")
	}
	recv(t, p.asked, "the fetch of the one getter")
	cancel()
	if err := recv(t, served, "Serve to return"); err != nil {
		t.Error(err)
	}
	if recv(t, p.f, "SetInline") != nil {
		t.Error("the function was not taken back")
	}
	addr, err := a.Alloc(4096)
	if err != nil {
		t.Fatal(err)
	}
	busy := ucmd.Reply{Type: ucmd.ReplyCompleted, Status: scsi.Busy}
	for code, want := range map[ucmd.Subcode]ucmd.Reply{
		ucmd.SubExec: busy, ucmd.SubParse: busy, ucmd.SubExtCopyRemap: busy, ucmd.SubAllocMem: {},
		ucmd.SubAttachSess: {Result: -14}, ucmd.SubDetachSess: {}, ucmd.SubTMReceived: {}, ucmd.SubTMDone: {Result: -129},
		ucmd.SubOnCachedMemFree: {},
	} {
		sub := ucmd.Subcommand{Code: code, AllocLen: 4096, BufLen: 4096, Dir: scsi.DirRead, Sess: &ucmd.SessInfo{}}
		if code == ucmd.SubOnCachedMemFree {
			sub.PBuf = addr
		}
		var got ucmd.Reply
		if !f(&sub, &got) || fmt.Sprint(got) != fmt.Sprint(want) || h.calls != nil || execs != 1 {
			t.Errorf("%v: got %+v, want %+v; %d calls of Exec, others: %v", code, got, want, execs, h.calls)
		}
	}
	if live := a.Stats().Live; live != 0 {
		t.Errorf("I3: %d buffers are live", live)
	}
	if len(p.asked) != 0 {
		t.Error("more than one getter beside the connections")
	}
}
