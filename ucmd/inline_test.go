package ucmd

import (
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"scstuser/scsi"
	"scstuser/target"
)

// serveInline makes the test's memory the inline handler.
func (b *bench) serveInline() {
	b.dev.SetInline(func(s *Subcommand, r *Reply) bool {
		if s.Code == SubParse {
			*r = goodParse(*s, s.Dir, s.BufLen*512)
		}
		b.mem.answer(s, r)
		return true
	})
}

// The inline handler sees the same steps as one that uses ReplyAndGet. Only
// when the transient reference of a reply goes differs: what the reply starts
// runs inside it.
func TestInlineSameSteps(t *testing.T) {
	run := func(inline bool, opts []benchOpt) []string {
		b := newBench(t, opts...)
		defer b.close()
		if inline {
			b.serveInline()
		}
		for _, cdb := range []scsi.CDB{
			scsi.EncodeWrite16(0, 8, false), scsi.EncodeRead16(0, 8, false), scsi.EncodeRead16(0, 64, false), syncCDB,
			scsi.EncodeTestUnitReady(), scsi.EncodeInquiry(false, 0, 36), unknownCDB,
		} {
			b.submit(cdb)
			if !inline {
				b.serveAll()
			}
		}
		if err := b.dev.FlushCache(); err != nil {
			t.Fatal(err)
		}
		if !inline {
			b.serveAll()
		}
		lines := slices.DeleteFunc(b.obs.take(), func(l string) bool { return strings.Contains(l, "transient") })
		slices.SortStableFunc(lines, func(a, b string) int { // per ucmd
			return strings.Compare(strings.Fields(a)[0], strings.Fields(b)[0])
		})
		count := regexp.MustCompile(` -> \d+`) // has transient ones in it
		return strings.Split(count.ReplaceAllString(strings.Join(lines, "\n"), ""), "\n")
	}
	for _, opts := range [][]benchOpt{
		nil,
		{withOnFree(OnFreeCall)},
		{withOnFree(OnFreeCall), withReuse(ReuseNone)},
		{withParse(ParseCall)},
	} {
		expectLines(t, run(true, opts), strings.Join(run(false, opts), "\n"))
	}
}

// An inline handler may keep a subcommand and reply later, from elsewhere.
func TestInlineReplyLater(t *testing.T) {
	b := newBench(t)
	defer b.close()
	var kept []Subcommand
	b.dev.SetInline(func(s *Subcommand, _ *Reply) bool {
		kept = append(kept, *s)
		return false
	})
	c := b.submit(syncCDB)
	if len(kept) != 1 || c.Status != scsi.Good || b.fe.freedCount() != 0 {
		t.Fatalf("kept %v", kept)
	}
	if done, _, err := b.dev.ReplyAndGet(t.Context(), []Reply{completed(kept[0])}, nil); done != 1 || err != nil {
		t.Errorf("%d, %v", done, err)
	}
	if b.fe.freedCount() != 1 {
		t.Error("the command is not over")
	}
}

// Task management, sessions and refused replies work inline as well.
func TestInlineManagement(t *testing.T) {
	b := newBareBench(t)
	b.serveInline()
	if err := <-b.attachAsync(b.fe); err != nil {
		t.Fatal(err)
	}
	b.sess.TaskMgmt(&target.MgmtCmd{Fn: target.LUNReset})
	if got := b.fe.tmResult(t); got != target.TMSuccess {
		t.Errorf("result %d", got)
	}
	b.dev.SetInline(func(_ *Subcommand, r *Reply) bool {
		r.Type, r.RespDataLen = ReplyCompleted, -1
		return true
	})
	c := b.submit(syncCDB)
	b.ended(c, scsi.CheckCondition, senseAborted)
	b.serveInline()
	if err := b.sess.Close(t.Context()); err != nil {
		t.Error(err)
	}
	b.close()
}

// SetInline runs what is queued; without it again, getters are woken for what
// was queued meanwhile.
func TestSetInlineChanges(t *testing.T) {
	b := newBench(t)
	defer b.close()
	c := b.submit(syncCDB)
	b.serveInline()
	b.good(c)
	if b.fe.freedCount() != 1 {
		t.Fatal("what was queued did not run")
	}
	// Queued, and turned off before the pump came to it.
	got := make(chan Subcommand)
	go func() { got <- b.waitGet() }()
	eventually(t, "it waits", func() bool { return b.dev.waiting() == 1 })
	b.queueTMs(1)
	b.dev.SetInline(nil)
	s := <-got
	b.reply(Reply{Handle: s.Handle, Code: s.Code})
}

// queueTMs queues TM_RECEIVED subcommands, without a kick: nobody runs them.
func (b *bench) queueTMs(n int) {
	b.dev.mu.Lock()
	defer b.dev.mu.Unlock()
	for range n {
		u := b.dev.newUcmd(StateTMReceived)
		u.tm = &target.MgmtCmd{Session: b.sess}
		b.dev.addReady(u)
	}
}

// A pump that has run many looks for a getter that waits, and goes on if
// there is none.
func TestInlinePumpHandsOver(t *testing.T) {
	const n = 4 * pumpMax
	queue := func(b *bench) {
		for range n {
			b.submit(syncCDB)
		}
	}
	t.Run("nobody", func(t *testing.T) {
		b := newBench(t)
		defer b.close()
		queue(b)
		b.serveInline()
		if got := b.fe.freedCount(); got != n {
			t.Errorf("%d of %d ran", got, n)
		}
	})
	t.Run("a getter", func(t *testing.T) {
		b := newBench(t)
		defer b.close()
		var byPump, byGetter atomic.Int32
		var wg sync.WaitGroup
		wg.Go(func() {
			subs := make([]Subcommand, n)
			for byGetter.Load() == 0 {
				_, got, err := b.dev.ReplyAndGet(t.Context(), nil, subs)
				if err != nil {
					return
				}
				for _, s := range subs[:got] {
					byGetter.Add(1)
					r := completed(s)
					_ = b.dev.Reply(&r)
				}
			}
		})
		eventually(t, "it waits", func() bool { return b.dev.waiting() == 1 })
		f := InlineFunc(func(_ *Subcommand, r *Reply) bool {
			byPump.Add(1)
			r.Type = ReplyCompleted
			return true
		})
		b.dev.inline.Store(&f)
		b.queueTMs(n)
		b.dev.kick()
		wg.Wait()
		eventually(t, "all have run", func() bool { return len(b.dev.Commands()) == 0 })
		if p, g := byPump.Load(), byGetter.Load(); p+g != n || g == 0 || p < pumpMax {
			t.Errorf("%d by the pump, %d by the getter, want %d and both", p, g, n)
		}
	})
}

// Several connections at once, with getters beside them: every command is
// carried out once (I1), and nothing is left to run.
func TestInlineParallel(t *testing.T) {
	for _, opts := range [][]benchOpt{nil, {withOnFree(OnFreeCall), withReuse(ReuseNone)}} {
		b := newBareBench(t, opts...)
		b.dev.obs = nil
		b.serveInline()
		var getters sync.WaitGroup
		for range 2 {
			getters.Go(func() {
				subs := make([]Subcommand, 4)
				var replies []Reply
				for {
					_, n, err := b.dev.ReplyAndGet(t.Context(), replies, subs)
					if err != nil {
						return
					}
					replies = replies[:0]
					for _, s := range subs[:n] {
						r := Reply{Handle: s.Handle, Code: s.Code}
						b.mem.answer(&s, &r)
						replies = append(replies, r)
					}
				}
			})
		}
		var conns sync.WaitGroup
		for range 4 {
			conns.Go(func() {
				s, err := b.dev.tdev.NewSession(t.Context(), &echoFront{}, target.SessionInfo{})
				if err != nil {
					t.Error(err)
					return
				}
				freed := make(chan struct{}, 1)
				c := &target.Cmd{Front: freed}
				for i := range 400 {
					cdb := []scsi.CDB{scsi.EncodeWrite16(0, 8, false), scsi.EncodeRead16(0, 8, false), syncCDB}[i%3]
					c.Init(cdb.Slice(), scsi.QueueSimple)
					s.Submit(c)
					<-freed
					if c.Status != scsi.Good {
						t.Errorf("command %d ended with %v %s", i, c.Status, senseOf(c))
					}
				}
				if err := s.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		conns.Wait()
		if b.dev.Poll() {
			t.Error("something is left to run")
		}
		b.close()
		getters.Wait()
	}
}

// A long ready list does not nest: each command's ON_FREE_CMD kicks, and would
// run the next command inside its own.
func TestInlineLongListDoesNotNest(t *testing.T) {
	const commands = 3000
	b := newBench(t, withOnFree(OnFreeCall))
	for range commands {
		b.submit(scsi.EncodeSyncCache16(0, 0))
	}
	deepest, execs := 0, 0
	b.dev.SetInline(func(sub *Subcommand, reply *Reply) bool {
		if sub.Code == SubExec {
			execs++
			reply.Type = ReplyCompleted
		}
		b.dev.mu.Lock()
		deepest = max(deepest, b.dev.pumps)
		b.dev.mu.Unlock()
		return true
	})
	if execs != commands || b.fe.freed != commands {
		t.Fatalf("%d of %d commands were executed, %d freed", execs, commands, b.fe.freed)
	}
	if deepest > maxPumps {
		t.Errorf("%d pumps nested, at most %d may", deepest, maxPumps)
	}
	b.close()
}
