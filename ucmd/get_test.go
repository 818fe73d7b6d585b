package ucmd

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"

	"scstuser/scsi"
)

var syncCDB = scsi.EncodeSyncCache16(0, 0)

// multi calls ReplyAndGet for n subcommands.
func (b *bench) multi(replies []Reply, n int) (done int, subs []Subcommand, err error) {
	subs = make([]Subcommand, n)
	done, got, err := b.dev.ReplyAndGet(context.Background(), replies, subs)
	return done, subs[:got], err
}

// execs submits n commands and fetches them.
func (b *bench) execs(n int) []Subcommand {
	b.t.Helper()
	var subs []Subcommand
	for range n {
		b.submit(syncCDB)
		subs = append(subs, b.get(SubExec))
	}
	return subs
}

// Rules R23, R28, R29, facts 12 to 15, on a device whose gets don't wait.
func TestR28ReplyAndGet(t *testing.T) {
	type result struct {
		done, n int
		err     error
	}
	for _, x := range []struct {
		name string
		// The replies: g good, u unknown handle, w wrong subcode, b bad
		// content. ready commands wait, cmds are asked for.
		replies     string
		ready, cmds int
		want        result
	}{
		{"nothing", "", 0, 1, result{0, 0, errEAGAIN}},
		{"nothing, many asked", "", 0, 4, result{0, 0, errEAGAIN}},
		{"cmds 0", "", 1, 0, result{0, 0, nil}},
		{"cmds 0, replies", "gg", 1, 0, result{2, 0, nil}},
		{"one of one", "", 1, 1, result{0, 1, nil}},
		{"one of many", "", 1, 4, result{0, 1, nil}},
		{"many of more", "", 4, 3, result{0, 3, nil}},
		{"replies, then a get", "gg", 1, 1, result{2, 1, nil}},
		{"replies, nothing ready", "ggg", 0, 1, result{3, 0, errEAGAIN}},
		{"unknown handle", "u", 1, 1, result{0, 0, errESRCH}},
		{"good, unknown, good", "gug", 1, 1, result{1, 0, errESRCH}},
		{"wrong subcode first", "wgg", 1, 1, result{0, 0, errEINVAL}},
		{"good, wrong subcode", "gw", 1, 1, result{1, 0, errEINVAL}},
		{"good, bad content", "ggb", 1, 1, result{2, 0, errEINVAL}},
		{"error with cmds 0", "gu", 1, 0, result{1, 0, errESRCH}},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := newBench(t)
			defer b.close()
			b.dev.Unregister() // non-blocking
			subs := b.execs(len(x.replies))
			var replies []Reply
			for i, kind := range x.replies {
				r := completed(subs[i])
				switch kind {
				case 'u':
					r.Handle += 1000
				case 'w':
					r.Code = SubParse
				case 'b':
					r.RespDataLen = -1
				}
				replies = append(replies, r)
			}
			for range x.ready {
				b.submit(syncCDB)
			}
			done, got, err := b.multi(replies, x.cmds)
			if (result{done, len(got), err}) != x.want {
				t.Fatalf("got %+v, want %+v", result{done, len(got), err}, x.want)
			}
			if !slices.IsSortedFunc(got, func(a, b Subcommand) int { return int(a.Handle) - int(b.Handle) }) {
				t.Errorf("not in order: %v", got)
			}
			// What was done is over; the failing reply is consumed if it was
			// for a command; those behind it are not touched.
			for i, kind := range x.replies {
				_, there := b.command(subs[i].Handle)
				over := i < done || i == done && (kind == 'w' || kind == 'b')
				if there == over {
					t.Errorf("reply %d (%c): the ucmd is there: %v", i, kind, there)
				}
			}
			b.checkRefs()
		})
	}
}

// R23: the reply is consumed even if the get that follows fails.
func TestR23ReplyIsConsumedByEINTR(t *testing.T) {
	b := newBench(t)
	defer b.close()
	s := b.execs(1)[0]
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	done, n, err := b.dev.ReplyAndGet(ctx, []Reply{completed(s)}, make([]Subcommand, 2))
	if done != 1 || n != 0 || err != syscall.EINTR {
		t.Errorf("done %d, n %d, %v, want 1, 0, EINTR (fact 19)", done, n, err)
	}
	b.refused(completed(s), errESRCH)
	if b.dev.waiting() != 0 {
		t.Error("the getter is still queued")
	}
}

// R24: a blocking get waits; what is ready is got even with a context that
// has ended; close wakes it with EAGAIN.
func TestR24BlockingGet(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b.submit(syncCDB)
	if _, n, err := b.dev.ReplyAndGet(ctx, nil, make([]Subcommand, 1)); n != 1 || err != nil {
		t.Errorf("a ready one with an ended context: %d, %v", n, err)
	}
	if _, _, err := b.dev.ReplyAndGet(ctx, nil, make([]Subcommand, 1)); err != syscall.EINTR {
		t.Errorf("none ready: %v, want EINTR", err)
	}

	const getters = 5
	errs := make(chan error, getters)
	for range getters {
		go func() {
			_, _, err := b.dev.ReplyAndGet(context.Background(), nil, make([]Subcommand, 1))
			errs <- err
		}()
	}
	eventually(t, "all wait", func() bool { return b.dev.waiting() == getters })
	b.close()
	for range getters {
		if err := <-errs; err != errEAGAIN {
			t.Errorf("a getter at close: %v, want EAGAIN", err)
		}
	}
	if _, _, err := b.dev.ReplyAndGet(context.Background(), nil, make([]Subcommand, 1)); err != errEAGAIN {
		t.Errorf("after the release: %v, want EAGAIN", err)
	}
}

// Fact 18: the getter that began to wait last is woken first.
func TestFact18WakesTheLatestGetter(t *testing.T) {
	b := newBench(t)
	defer b.close()
	const getters = 4
	type got struct {
		who int
		sub Subcommand
	}
	c := make(chan got)
	get := func(who int) {
		subs := make([]Subcommand, 1)
		if _, n, _ := b.dev.ReplyAndGet(context.Background(), nil, subs); n == 1 {
			c <- got{who, subs[0]}
		}
	}
	for i := range getters {
		go get(i)
		eventually(t, "it waits", func() bool { return b.dev.waiting() == i+1 })
	}
	for range 10 { // all by the same one: its caches are warm
		b.submit(syncCDB)
		g := <-c
		if g.who != getters-1 {
			t.Fatalf("getter %d was woken, want the latest", g.who)
		}
		go get(g.who)
		eventually(t, "it waits again", func() bool { return b.dev.waiting() == getters })
		b.reply(completed(g.sub))
	}
}

// Every ready command finds a getter: no wake-up is lost to one whose context
// ends at the same moment.
func TestNoLostWakeUp(t *testing.T) {
	b := newBench(t)
	defer b.close()
	for range 300 {
		ctx, cancel := context.WithCancel(context.Background())
		got := make(chan Subcommand, 2)
		get := func(ctx context.Context) {
			subs := make([]Subcommand, 1)
			if _, n, _ := b.dev.ReplyAndGet(ctx, nil, subs); n == 1 {
				got <- subs[0]
			}
		}
		patient, stop := context.WithCancel(context.Background())
		go get(patient)
		go get(ctx)
		eventually(t, "both wait", func() bool { return b.dev.waiting() == 2 })
		go cancel()
		b.submit(syncCDB)
		select {
		case s := <-got:
			b.reply(completed(s))
		case <-time.After(5 * time.Second):
			t.Fatal("nobody got the command")
		}
		stop()
		eventually(t, "nobody waits", func() bool { return b.dev.waiting() == 0 })
	}
}

// R25, R34, facts 13, 26, 27: replies that don't fit.
func TestR25ReplyErrors(t *testing.T) {
	b := newBench(t)
	defer b.close()
	b.refused(Reply{Handle: 77, Code: SubExec}, errESRCH)
	// Not fetched.
	c := b.submit(syncCDB)
	h := b.dev.Commands()[0].Handle
	b.refused(Reply{Handle: h, Code: SubExec, Type: ReplyCompleted}, errEINVAL)
	s := b.get(SubExec)
	b.reply(completed(s))
	b.good(c)
	b.refused(completed(s), errESRCH)
	// R34: between two subcommands the handle is not valid.
	b.write(8)
	s = b.get(SubAllocMem)
	b.reply(allocReply(s, b.mem.alloc(4096)))
	b.refused(allocReply(s, b.mem.alloc(4096)), errEINVAL)
	b.refused(completed(s), errEINVAL)
	s = b.get(SubExec)
	b.reply(completed(s))
	b.refused(completed(s), errEINVAL) // it owns the buffer (fact 26)
	b.checkRefs()
}

// R25, fact 27: a wrong subcode gives the command up, in every state; what the
// initiator gets is LOGICAL UNIT NOT SUPPORTED; the right reply that follows
// is ignored with success while the ucmd is there.
func TestR25WrongSubcodeUnjams(t *testing.T) {
	for _, state := range []Subcode{SubParse, SubAllocMem, SubExec} {
		t.Run(state.String(), func(t *testing.T) {
			b := newBench(t, withParse(map[bool]ParseType{true: ParseCall}[state == SubParse]))
			defer b.close()
			b.fe.setHold(true)
			c := b.initCmd(scsi.EncodeWrite16(0, 8, false))
			b.sess.Submit(c)
			s, _ := b.tryGet()
			if state == SubExec {
				b.reply(allocReply(s, b.mem.alloc(4096)))
				s = b.get(SubExec)
			}
			if s.Code != state {
				t.Fatalf("got %v", s.Code)
			}
			b.refused(Reply{Handle: s.Handle, Code: SubOnFree}, errEINVAL)
			b.ended(c, scsi.CheckCondition, senseLUN)
			cmd, ok := b.command(s.Handle)
			if !ok || cmd.State != State(state) || !cmd.Jammed || cmd.Sent || !cmd.HasCmd {
				t.Errorf("listing %v", cmd)
			}
			// The right one: ignored, whatever is in it.
			b.reply(Reply{Handle: s.Handle, Code: state, Type: ReplyCompleted, PBuf: 1, RespDataLen: -5})
			b.fe.setHold(false)
			b.fe.deliver()
			if _, err := b.dev.ExtendedCDB(s.Handle); err == nil {
				t.Error("GET_EXTENDED_CDB of a command that was given up")
			}
		})
	}
	// TM, ATTACH and ON_*: R25's outcomes are in their own tests.
}

// Rules R27, fact 14: what could not be copied comes again, first, and is
// marked as sent meanwhile.
func TestR27Requeue(t *testing.T) {
	b := newBench(t)
	defer b.close()
	first := b.execs(1)[0]
	b.submit(syncCDB)
	b.dev.Requeue(first.Handle)
	b.dev.Requeue(first.Handle) // twice is once
	if cmd, _ := b.command(first.Handle); !cmd.Sent {
		t.Errorf("listing %v, want sent 1", cmd)
	}
	if !b.dev.Poll() {
		t.Error("poll finds nothing")
	}
	if s := b.get(SubExec); s.Handle != first.Handle {
		t.Errorf("h=%d came first, want %d", s.Handle, first.Handle)
	}
	second := b.get(SubExec)
	b.none()
	// Answered although it was given back: it is not delivered again.
	b.dev.Requeue(second.Handle)
	b.reply(completed(second))
	b.none()
	// Unknown, or not with the handler: ignored.
	b.dev.Requeue(4711)
	b.dev.Requeue(second.Handle)
	b.reply(completed(first))
	b.dev.Requeue(first.Handle)
	b.none()
	// Given up while it is queued again.
	s := b.execs(1)[0]
	b.dev.Requeue(s.Handle)
	b.refused(Reply{Handle: s.Handle, Code: SubTMDone}, errEINVAL)
	b.none()
}

// A command that was given back and then ends before it is fetched again must
// not take a reply meanwhile: it would complete twice (I1).
func TestR27RequeuedCommandEndsOnce(t *testing.T) {
	b := newBench(t, withOnFree(OnFreeCall))
	defer b.close()
	c := b.submit(syncCDB)
	s := b.get(SubExec)
	b.dev.Requeue(s.Handle)
	b.fe.noAEN = true
	b.dev.CapacityChanged()
	b.get(SubOnFree) // the fetch of EXEC found the unit attention
	b.ended(c, scsi.CheckCondition, "06/2a/09")
	b.refused(completed(s), errEINVAL) // it is for another subcommand now
	b.refused(completed(s), errESRCH)
	if n := b.fe.freedCount(); n != 1 {
		t.Errorf("it was freed %d times", n)
	}
}

// The same with the reply right in the middle of that.
func TestR27ReplyWhileARequeuedCommandEnds(t *testing.T) {
	b := newBareBench(t)
	defer b.close()
	f := &gatedFront{testFront: &testFront{noAEN: true}}
	b.sess = b.attach(f)
	c := b.submit(syncCDB)
	b.none() // the attachment's unit attention
	b.ended(c, scsi.CheckCondition, "06/29/00")
	c = b.submit(syncCDB)
	s := b.get(SubExec)
	b.dev.Requeue(s.Handle)
	b.dev.CapacityChanged()
	g := newGate()
	f.onXmit = g
	fetched := make(chan bool)
	go func() {
		_, ok := b.tryGet()
		fetched <- ok
	}()
	<-g.reached
	b.refused(completed(s), errEINVAL)
	close(g.open)
	if <-fetched {
		t.Error("something was fetched")
	}
	b.ended(c, scsi.CheckCondition, "06/2a/09")
}

// A waiting getter is woken by what is given back, and with an inline handler
// that one gets it.
func TestR27RequeueFindsSomebody(t *testing.T) {
	b := newBench(t)
	defer b.close()
	s := b.execs(1)[0]
	got := make(chan Subcommand)
	go func() { got <- b.waitGet() }()
	eventually(t, "it waits", func() bool { return b.dev.waiting() == 1 })
	b.dev.Requeue(s.Handle)
	if g := <-got; g.Handle != s.Handle {
		t.Errorf("got h=%d", g.Handle)
	}
	b.dev.SetInline(func(s *Subcommand, r *Reply) bool { r.Type = ReplyCompleted; return true })
	b.dev.Requeue(s.Handle)
	if _, ok := b.command(s.Handle); ok {
		t.Error("the inline handler did not get it")
	}
}

// Fact 17.
func TestPoll(t *testing.T) {
	b := newBench(t)
	defer b.close()
	if b.dev.Poll() {
		t.Error("ready with nothing there")
	}
	b.submit(syncCDB)
	if !b.dev.Poll() {
		t.Error("not ready with an EXEC there")
	}
	s := b.get(SubExec)
	if b.dev.Poll() {
		t.Error("ready with everything fetched")
	}
	b.reply(completed(s))
}

// R37, fact 28.
func TestR37ExtendedCDB(t *testing.T) {
	long := make([]byte, 32)
	for i := range long {
		long[i] = byte(i)
	}
	b := newBench(t, withParse(ParseCall))
	defer b.close()
	c := b.initCmd(scsi.CDB{})
	c.Init(long, scsi.QueueSimple)
	b.sess.Submit(c)
	h := b.dev.Commands()[0].Handle
	if _, err := b.dev.ExtendedCDB(h); err != errEINVAL {
		t.Errorf("not fetched: %v, want EINVAL", err)
	}
	s := b.get(SubParse)
	if s.CDBLen != 32 || s.CDB[15] != 15 {
		t.Errorf("PARSE %+v", s)
	}
	ext, err := b.dev.ExtendedCDB(h)
	if err != nil || len(ext) != 16 || ext[0] != 16 || ext[15] != 31 {
		t.Errorf("% x, %v", ext, err)
	}
	r := goodParse(s, scsi.DirNone, 0)
	r.CDBLen = 20
	b.reply(r)
	s = b.get(SubExec)
	if ext, err := b.dev.ExtendedCDB(h); err != nil || len(ext) != 4 {
		t.Errorf("after PARSE cut it: % x, %v", ext, err)
	}
	b.reply(completed(s))
	b.submit(syncCDB)
	s = b.get(SubParse)
	if ext, err := b.dev.ExtendedCDB(s.Handle); ext != nil || err != nil {
		t.Errorf("a CDB of 16 bytes: % x, %v", ext, err)
	}
	b.reply(goodParse(s, scsi.DirNone, 0))
	b.reply(completed(b.get(SubExec)))
	if _, err := b.dev.ExtendedCDB(s.Handle); err != errESRCH {
		t.Errorf("an unknown handle: %v, want ESRCH", err)
	}
	b.checkRefs()
}

// Errors of the interface are plain errnos, so that they can be compared.
func TestReplyErrorsAreErrnos(t *testing.T) {
	b := newBareBench(t)
	defer b.close()
	var errno syscall.Errno
	if err := b.dev.Reply(&Reply{}); !errors.As(err, &errno) || errno != syscall.ESRCH {
		t.Errorf("%v", err)
	}
}
