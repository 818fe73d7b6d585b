package ucmd

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"scstuser/scsi"
	"scstuser/target"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a device with a handler driven by hand and one initiator.
type bench struct {
	t    testing.TB
	reg  *Registry
	dev  *Device
	mem  *testMemory
	obs  *recorder
	sess *target.Session
	fe   *testFront
}

type benchOpt func(*Desc, *faults, *Limits)

func withDesc(f func(*Desc)) benchOpt { return func(d *Desc, _ *faults, _ *Limits) { f(d) } }
func withReuse(r ReuseType) benchOpt {
	return withDesc(func(d *Desc) { d.Opt.Reuse = uint8(r) })
}
func withOnFree(o OnFreeType) benchOpt {
	return withDesc(func(d *Desc) { d.Opt.OnFree = uint8(o) })
}
func withParse(p ParseType) benchOpt {
	return withDesc(func(d *Desc) { d.Opt.Parse = uint8(p) })
}
func withFaults(x faults) benchOpt { return func(_ *Desc, f *faults, _ *Limits) { *f = x } }
func withLimits(x Limits) benchOpt { return func(_ *Desc, _ *faults, l *Limits) { *l = x } }

// plainDesc is the device that most tests use, as SCST's fileio_tgt registers
// one by default.
func plainDesc() Desc {
	return Desc{Name: "disk1", BlockSize: 512, Opt: Opt{OnFree: uint8(OnFreeIgnore), Reuse: uint8(ReuseAll), TST: 1, QueueAlg: 1}}
}

// newBench registers a device and attaches an initiator.
func newBench(t testing.TB, opts ...benchOpt) *bench {
	t.Helper()
	b := newBareBench(t, opts...)
	b.sess = b.attach(b.fe)
	b.obs.take()
	return b
}

// newBareBench registers a device without an initiator.
func newBareBench(t testing.TB, opts ...benchOpt) *bench {
	t.Helper()
	desc := plainDesc()
	var f faults
	var l Limits
	for _, o := range opts {
		o(&desc, &f, &l)
	}
	b := &bench{t: t, mem: newTestMemory(), obs: &recorder{}, fe: &testFront{}}
	b.reg = NewRegistry(l)
	var err error
	if b.dev, err = b.reg.Register(desc, b.mem, b.obs); err != nil {
		t.Fatal(err)
	}
	b.dev.faults = f
	return b
}

// attachAsync begins to attach an initiator; the channel gets the outcome.
func (b *bench) attachAsync(f target.Frontend) <-chan error {
	got := make(chan error, 1)
	tdev := b.dev.tdev // b.dev may change meanwhile
	go func() {
		s, err := tdev.NewSession(context.Background(), f, target.SessionInfo{
			LUN: 5, Initiator: "i", Target: "t", TransportVersion: 0x0be0, ReadOnly: true,
		})
		if err == nil {
			b.sess = s
		}
		got <- err
	}()
	return got
}

// attach adds an initiator; the bench answers ATTACH_SESS with 0.
func (b *bench) attach(f target.Frontend) *target.Session {
	b.t.Helper()
	old := b.sess
	got := b.attachAsync(f)
	sub := b.waitGet()
	if sub.Code != SubAttachSess {
		b.t.Fatalf("got %v, want ATTACH_SESS", sub.Code)
	}
	b.reply(Reply{Handle: sub.Handle, Code: sub.Code})
	if err := <-got; err != nil {
		b.t.Fatal(err)
	}
	s := b.sess
	b.sess = old
	return s
}

// waitGet fetches one subcommand, waiting for it.
func (b *bench) waitGet() Subcommand {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	subs := make([]Subcommand, 1)
	if _, _, err := b.dev.ReplyAndGet(ctx, nil, subs); err != nil {
		b.t.Fatal(err)
	}
	return subs[0]
}

// tryGet fetches one subcommand if one is ready, without waiting.
func (b *bench) tryGet() (s Subcommand, ok bool) {
	b.dev.mu.Lock()
	defer b.dev.mu.Unlock()
	ok = b.dev.take(&s)
	return s, ok
}

// get fetches one subcommand that must be there.
func (b *bench) get(want Subcode) Subcommand {
	b.t.Helper()
	s, ok := b.tryGet()
	if !ok {
		b.t.Fatalf("nothing is ready, want %v", want)
	}
	if s.Code != want {
		b.t.Fatalf("got %v (h=%d), want %v", s.Code, s.Handle, want)
	}
	return s
}

// none checks that nothing is ready.
func (b *bench) none() {
	b.t.Helper()
	if s, ok := b.tryGet(); ok {
		b.t.Fatalf("got %v h=%d, want nothing", s.Code, s.Handle)
	}
}

func (b *bench) reply(r Reply) {
	b.t.Helper()
	if err := b.dev.Reply(&r); err != nil {
		b.t.Fatalf("reply %v h=%d: %v", r.Code, r.Handle, err)
	}
}

// refused gives a reply that must fail with want.
func (b *bench) refused(r Reply, want error) {
	b.t.Helper()
	if err := b.dev.Reply(&r); err != want {
		b.t.Errorf("reply %v h=%d: %v, want %v", r.Code, r.Handle, err, want)
	}
}

func (b *bench) submit(cdb scsi.CDB) *target.Cmd {
	return b.submitTo(b.sess, cdb, scsi.QueueSimple)
}

func (b *bench) submitTo(s *target.Session, cdb scsi.CDB, q scsi.QueueType) *target.Cmd {
	c := &target.Cmd{}
	c.Init(cdb.Slice(), q)
	s.Submit(c)
	return c
}

// initCmd makes a command that is not submitted yet.
func (b *bench) initCmd(cdb scsi.CDB) *target.Cmd {
	c := &target.Cmd{}
	c.Init(cdb.Slice(), scsi.QueueSimple)
	return c
}

func (b *bench) write(blocks uint32) *target.Cmd {
	return b.submit(scsi.EncodeWrite16(0, blocks, false))
}
func (b *bench) read(blocks uint32) *target.Cmd { return b.submit(scsi.EncodeRead16(0, blocks, false)) }

// writeExec submits a WRITE and brings it to the handler's EXEC.
func (b *bench) writeExec(blocks uint32) (*target.Cmd, Subcommand) {
	b.t.Helper()
	c := b.write(blocks)
	s, ok := b.tryGet()
	if !ok {
		b.t.Fatal("nothing is ready after a WRITE")
	}
	if s.Code == SubAllocMem {
		b.reply(Reply{Handle: s.Handle, Code: SubAllocMem, PBuf: b.mem.alloc(int(s.AllocLen))})
		s = b.get(SubExec)
	}
	return c, s
}

// execDone answers an EXEC with GOOD; a read returns its whole buffer, newly
// allocated if it had none.
func (b *bench) execDone(s Subcommand) Reply {
	b.t.Helper()
	r := Reply{Handle: s.Handle, Code: SubExec, Type: ReplyCompleted}
	if s.Dir == scsi.DirRead {
		r.RespDataLen = s.BufLen
		if s.PBuf == 0 {
			r.PBuf = b.mem.alloc(int(s.AllocLen))
		}
	}
	b.reply(r)
	return r
}

// doWrite runs a whole WRITE and returns its handle.
func (b *bench) doWrite(blocks uint32) uint32 {
	b.t.Helper()
	c, s := b.writeExec(blocks)
	b.execDone(s)
	b.good(c)
	return s.Handle
}

// good checks that a command ended well.
func (b *bench) good(c *target.Cmd) {
	b.t.Helper()
	b.ended(c, scsi.Good, "")
}

// ended checks a command's outcome; sense is "key/asc/ascq" or empty.
func (b *bench) ended(c *target.Cmd, st scsi.Status, sense string) {
	b.t.Helper()
	if got := senseOf(c); c.Status != st || got != sense {
		b.t.Errorf("the command ended with %v %s, want %v %s", c.Status, got, st, sense)
	}
}

func senseOf(c *target.Cmd) string {
	if len(c.Sense()) == 0 {
		return ""
	}
	s, err := scsi.ParseSense(c.Sense())
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%02x/%02x/%02x", uint8(s.Key), uint8(s.ASC>>8), uint8(s.ASC))
}

// The sense data that facts 27, 36, 37, 43 and 53 name.
const (
	senseLUN      = "05/25/00" // LOGICAL UNIT NOT SUPPORTED
	senseHardware = "04/44/00" // HARDWARE ERROR, INTERNAL TARGET FAILURE
	senseAborted  = "0b/44/00" // ABORTED COMMAND, INTERNAL TARGET FAILURE
)

// settleFree answers ON_FREE_CMD and ON_CACHED_MEM_FREE until none is left.
func (b *bench) settleFree() {
	b.t.Helper()
	for {
		s, ok := b.tryGet()
		if !ok {
			return
		}
		if s.Code != SubOnFree && s.Code != SubOnCachedMemFree && s.Code != SubDetachSess {
			b.t.Fatalf("unexpected %v", s.Code)
		}
		b.reply(Reply{Handle: s.Handle, Code: s.Code})
	}
}

// close releases the device and checks I3, I4, I5.
func (b *bench) close() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := b.dev.Close(ctx); err != nil {
		b.t.Fatal(err)
	}
	b.checkGone()
}

func (b *bench) checkGone() {
	b.t.Helper()
	if l := b.dev.Commands(); len(l) > 0 {
		b.t.Errorf("I4: ucmds left: %v", l)
	}
	for _, s := range b.dev.PoolStats() {
		if s.IdleObjects != 0 || s.TotalPages != 0 {
			b.t.Errorf("I4: pool %s is not empty: %+v", s.Name, s)
		}
	}
	if n := b.mem.mapped(); n != 0 {
		b.t.Errorf("I3: %d buffers are still mapped", n)
	}
	for _, d := range b.reg.Devices() {
		if d == b.dev {
			b.t.Error("I4: the name is not free")
		}
	}
}

// checkRefs checks I2: every reference has a named owner.
func (b *bench) checkRefs() {
	b.t.Helper()
	b.dev.mu.Lock()
	defer b.dev.mu.Unlock()
	for _, u := range b.dev.hash {
		for ; u != nil; u = u.hashNext {
			sum := int32(0)
			for _, n := range u.owners {
				sum += int32(n)
			}
			if sum != u.ref || u.ref <= 0 {
				b.t.Errorf("I2: h=%d: ref %d, owners %v", u.h, u.ref, u.owners)
			}
		}
	}
}

// expectEvents compares the events since the last call.
func (b *bench) expectEvents(want string) {
	b.t.Helper()
	expectLines(b.t, b.obs.take(), want)
}

func expectLines(t testing.TB, got []string, want string) {
	t.Helper()
	var w []string
	for _, l := range strings.Split(want, "\n") {
		if l = strings.TrimSpace(l); l != "" {
			w = append(w, l)
		}
	}
	for i := range max(len(got), len(w)) {
		g, x := "(nothing)", "(nothing)"
		if i < len(got) {
			g = got[i]
		}
		if i < len(w) {
			x = w[i]
		}
		if g != x {
			t.Fatalf("line %d: got %q, want %q\nall:\n%s", i, g, x, strings.Join(got, "\n"))
		}
	}
}

func (b *bench) only(t testing.TB, want Command) {
	t.Helper()
	l := b.dev.Commands()
	if len(l) != 1 {
		t.Fatalf("%d ucmds, want 1: %v", len(l), l)
	}
	if got := ageless(l[0]); got != want {
		t.Fatalf("got  %v\nwant %v", got, want)
	}
}

// ageless is c without what differs from run to run.
func ageless(c Command) Command {
	c.Age = 0
	return c
}

// command returns a ucmd's line of the listing.
func (b *bench) command(h uint32) (Command, bool) {
	for _, c := range b.dev.Commands() {
		if c.Handle == h {
			return c, true
		}
	}
	return Command{}, false
}

// eventually waits for something that another goroutine does.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// waiting returns how many getters wait.
func (d *Device) waiting() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.waiters)
}
