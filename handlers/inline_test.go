package handlers_test

import (
	"sync"
	"syscall"
	"testing"
	"time"

	"scstuser/handlers"
	"scstuser/scsi"
	"scstuser/target"
	"scstuser/ucmd"
)

// stalls is a Trier whose commands for LBA 1000 and above wait until leave is
// closed; all others end at once.
type stalls struct {
	inside chan uint64 // the LBAs of those that wait
	leave  chan struct{}
}

func newStalls() *stalls { return &stalls{inside: make(chan uint64, 5000), leave: make(chan struct{})} }

func (s *stalls) Exec(r *handlers.Request) {
	if r.Sub.LBA >= 1000 {
		s.inside <- r.Sub.LBA
		<-s.leave
	}
}

func (s *stalls) TryExec(r *handlers.Request) bool { return r.Sub.LBA < 1000 }

// servings are the ways to serve a Trier.
var servings = map[string]handlers.Options{
	"inline":              {Inline: true, Threads: 4},
	"getters":             {Threads: 4, Multi: 1},
	"getters, in batches": {Threads: 4},
	"non-blocking":        {Threads: 4, NonBlocking: true},
}

// serveStalls is a rig for each way of serving.
func serveStalls(t *testing.T, f func(*testing.T, *rig, *stalls)) {
	for name, o := range servings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStalls()
			cfg := rigConfig{serve: o}
			cfg.desc.NonBlocking = o.NonBlocking
			f(t, newRig(t, s, cfg), s)
		})
	}
}

// A command that waits holds up nobody but itself, and commands that wait
// side by side all get as far as Options.Threads lets them.
func TestNeighboursGoOn(t *testing.T) {
	for name, waiting := range map[string]int{"one waits": 1, "as many as threads wait": 4, "more wait": 40} {
		t.Run(name, func(t *testing.T) {
			serveStalls(t, func(t *testing.T, r *rig, s *stalls) {
				var slow []*command
				for n := range waiting {
					slow = append(slow, r.init.start(write(uint64(1000+n), 1), nil))
				}
				for range min(waiting, 4) {
					recv(t, s.inside, "a call of Exec")
				}
				for range 100 {
					expect(t, r.init.do(write(1, 1), nil), scsi.Good, scsi.SenseNone, nil)
				}
				select {
				case lba := <-s.inside:
					t.Errorf("LBA %d is in Exec beyond Options.Threads", lba)
				default:
				}
				for _, x := range slow {
					if x.over() {
						t.Error("a command that waits has ended")
					}
				}
				close(s.leave)
				for _, x := range slow {
					r.init.wait(x)
					expect(t, x, scsi.Good, scsi.SenseNone, nil)
				}
			})
		})
	}
}

// Each command that waits gets a worker of its own, also when they come faster
// than a worker that is there takes them.
func TestEveryCommandGetsAWorker(t *testing.T) {
	h := &pairs{}
	r := newRig(t, h, rigConfig{serve: handlers.Options{Inline: true, Threads: 2}})
	for range 2000 {
		a := r.init.start(write(0, 1), nil)
		b := r.init.start(write(1, 1), nil)
		r.init.wait(a) // neither ends without the other
		r.init.wait(b)
	}
}

// pairs is a handler whose commands wait for each other, two and two.
type pairs struct {
	mu    sync.Mutex
	other chan struct{}
}

func (p *pairs) TryExec(*handlers.Request) bool { return false }

func (p *pairs) Exec(*handlers.Request) {
	p.mu.Lock()
	if other := p.other; other != nil {
		p.other = nil
		p.mu.Unlock()
		close(other)
		return
	}
	me := make(chan struct{})
	p.other = me
	p.mu.Unlock()
	<-me
}

// When too many wait for a worker the next is carried out where it came from:
// whoever brings more has to wait.
func TestHandoffQueueFull(t *testing.T) {
	const workers, queued = 4, 1024
	s := newStalls()
	r := newRig(t, s, rigConfig{serve: handlers.Options{Inline: true, Threads: workers}})
	all := make(chan *command, workers+queued+1)
	go func() {
		for n := range uint64(workers + queued + 1) {
			all <- r.init.start(write(1000+n, 1), nil)
		}
		close(all)
	}()
	for range workers + 1 {
		recv(t, s.inside, "the workers and the submitter")
	}
	// Workers that were slow to start have not taken theirs out of the queue.
	if n := len(all); n < queued || n > workers+queued {
		t.Errorf("%d commands were submitted without waiting, want %d to %d", n, queued, workers+queued)
	}
	close(s.leave)
	for x := range all {
		r.init.wait(x)
		expect(t, x, scsi.Good, scsi.SenseNone, nil)
	}
}

// Initiators that fail at the same time get their own sense each: what is
// shared between calls is not what replies point to.
func TestSenseOfNeighbours(t *testing.T) {
	for name, h := range map[string]handlers.Handler{
		"tried":      always(failWithLBA),
		"handed off": never(failWithLBA),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, h, rigConfig{serve: handlers.Options{Inline: true}})
			var wg sync.WaitGroup
			for n := range uint64(4) {
				i := r.attach()
				wg.Go(func() {
					for k := range uint64(500) {
						lba := n<<24 + k
						expect(t, i.do(read(lba, 1), nil), scsi.CheckCondition, scsi.SenseReadError.WithInfo(lba), nil)
					}
				})
				defer r.detach(i)
			}
			wg.Wait()
		})
	}
}

func failWithLBA(r *handlers.Request) {
	if c, err := scsi.Decode(r.CDB); err == nil && c.Op == scsi.OpRead16 {
		r.Fail(scsi.SenseReadError.WithInfo(c.LBA))
	}
}

// Rules R66, R68: a handler hears of task management while its commands wait; the
// function is over when they are.
func TestR68TaskManagement(t *testing.T) {
	for name, o := range servings {
		t.Run(name, func(t *testing.T) {
			s := newStalls()
			h := &tmStalls{stalls: s, told: make(chan string, 10)}
			cfg := rigConfig{serve: o}
			cfg.desc.NonBlocking = o.NonBlocking
			r := newRig(t, h, cfg)
			r.init.tms = make(chan *target.MgmtCmd, 1)
			x := r.init.start(write(1000, 1), nil)
			recv(t, s.inside, "Exec")
			m := &target.MgmtCmd{Fn: target.LUNReset, Session: r.init.sess}
			r.init.sess.TaskMgmt(m)
			if got := recv(t, h.told, "TM_RECEIVED"); got != "TM_RECEIVED" {
				t.Errorf("the handler was told %s", got)
			}
			select {
			case <-r.init.tms:
				t.Error("the function is over before its command")
			case <-time.After(10 * time.Millisecond):
			}
			close(s.leave)
			r.init.wait(x)
			if got := recv(t, h.told, "TM_DONE"); got != "TM_DONE" {
				t.Errorf("the handler was told %s", got)
			}
			recv(t, r.init.tms, "the outcome")
		})
	}
}

// tmStalls wants to know of task management.
type tmStalls struct {
	*stalls
	told chan string
}

func (h *tmStalls) TaskMgmt(sub *ucmd.Subcommand) int32 {
	h.told <- sub.Code.String()
	return 0
}

// The end of Serve waits for what an inline call gives: when the call has
// returned the port has the new buffer, or has refused it and it is free. A
// connection's goroutine that is late, after Serve has ended and the device
// been released, would lose it.
func TestInlineBufferIsNotLostAtTheEnd(t *testing.T) {
	for name, sub := range map[string]ucmd.Subcommand{
		"ALLOC_MEM": {Handle: 1, Code: ucmd.SubAllocMem, AllocLen: 4096},
		"EXEC of a READ": {
			Handle: 1, Code: ucmd.SubExec, AllocLen: 4096, BufLen: 4096, Dir: scsi.DirRead,
			CDB: [16]byte(read(0, 8)), CDBLen: 16,
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := inlinePort{newFakePort(t), make(chan ucmd.InlineFunc, 2)}
			p.refuse[1] = syscall.ESRCH // released meanwhile
			a := serveFake(t, p, newDisk(t), handlers.Options{Inline: true})
			f := recv(t, p.f, "the inline handler")
			reply := ucmd.Reply{Handle: 1, Code: sub.Code}
			if f(&sub, &reply) {
				t.Fatal("the reply with the new buffer is left to the port")
			}
			if r := p.reply(); r.PBuf == 0 {
				t.Errorf("reply %+v, want one with a buffer", r)
			}
			if s := a.Stats(); s.Live != 0 {
				t.Errorf("I3: %d buffers are lost", s.Live)
			}
		})
	}
}
