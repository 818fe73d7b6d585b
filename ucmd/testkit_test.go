package ucmd

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"

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

// testMemory is a handler's address space: whole allocations by address.
type testMemory struct {
	mu   sync.Mutex
	next uint64
	mem  map[uint64][]byte
	maps int // live mappings
}

func (m *testMemory) alloc(n int) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next += 1 << 24
	m.mem[m.next] = make([]byte, n)
	return m.next
}

func (m *testMemory) Map(addr uint64, n int) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for base, b := range m.mem {
		if addr >= base && addr+uint64(n) <= base+uint64(len(b)) {
			m.maps++
			return b[addr-base:][:n:n], nil
		}
	}
	return nil, syscall.EFAULT
}

func (m *testMemory) Unmap(uint64, []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.maps--
}

// recorder keeps the events as lines.
type recorder struct {
	mu    sync.Mutex
	lines []string
}

func (r *recorder) Event(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, e.String())
}

// take returns the lines since the last call.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lines
	r.lines = nil
	return l
}

// testFront answers nothing by itself: responses are kept until deliver.
type testFront struct {
	mu      sync.Mutex
	payload func(c *target.Cmd)
	resp    []*target.Cmd
	freed   int
	gone    bool
	tms     []*target.MgmtCmd
	hold    bool // keep responses until deliver
}

func (f *testFront) RdyToXfer(c *target.Cmd) target.Verdict {
	if f.payload != nil {
		f.payload(c)
	}
	return target.Continue
}

func (f *testFront) XmitResponse(c *target.Cmd) {
	f.mu.Lock()
	f.resp = append(f.resp, c)
	hold := f.hold
	f.mu.Unlock()
	if !hold {
		c.Delivered(target.Delivered)
	}
}

func (f *testFront) deliver() {
	f.mu.Lock()
	l := f.resp
	f.resp = nil
	f.mu.Unlock()
	for _, c := range l {
		c.Delivered(target.Delivered)
	}
}

func (f *testFront) Freed(*target.Cmd) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.freed++
}
func (f *testFront) AEN(*target.Session, target.UnitAttention) bool { return true }
func (f *testFront) SessionGone(*target.Session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gone = true
}
func (f *testFront) TMDone(m *target.MgmtCmd) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tms = append(f.tms, m)
}

type benchOpt func(*Desc, *faults, *Limits)

func withReuse(r ReuseType) benchOpt {
	return func(d *Desc, _ *faults, _ *Limits) { d.Opt.Reuse = uint8(r) }
}
func withOnFree(o OnFreeType) benchOpt {
	return func(d *Desc, _ *faults, _ *Limits) { d.Opt.OnFree = uint8(o) }
}
func withParse(p ParseType) benchOpt {
	return func(d *Desc, _ *faults, _ *Limits) { d.Opt.Parse = uint8(p) }
}
func withFaults(x faults) benchOpt { return func(_ *Desc, f *faults, _ *Limits) { *f = x } }
func withLimits(x Limits) benchOpt { return func(_ *Desc, _ *faults, l *Limits) { *l = x } }

// newBench registers a device and attaches an initiator.
func newBench(t testing.TB, opts ...benchOpt) *bench {
	t.Helper()
	desc := Desc{Name: "disk1", BlockSize: 512, Opt: Opt{OnFree: uint8(OnFreeIgnore), Reuse: uint8(ReuseAll), TST: 1, QueueAlg: 1}}
	var f faults
	var l Limits
	for _, o := range opts {
		o(&desc, &f, &l)
	}
	b := &bench{t: t, mem: &testMemory{mem: map[uint64][]byte{}, next: 0x7f0000000000}, obs: &recorder{}, fe: &testFront{}}
	b.reg = NewRegistry(l)
	var err error
	if b.dev, err = b.reg.Register(desc, b.mem, b.obs); err != nil {
		t.Fatal(err)
	}
	b.dev.faults = f
	b.sess = b.attach(b.fe)
	b.obs.take()
	return b
}

// attach adds an initiator; the bench answers ATTACH_SESS with 0.
func (b *bench) attach(f target.Frontend) *target.Session {
	b.t.Helper()
	got := make(chan *target.Session)
	go func() {
		s, err := b.dev.tdev.NewSession(context.Background(), f, target.SessionInfo{Initiator: "i", Target: "t"})
		if err != nil {
			b.t.Error(err)
		}
		got <- s
	}()
	sub := b.waitGet()
	if sub.Code != SubAttachSess {
		b.t.Fatalf("got %v, want ATTACH_SESS", sub.Code)
	}
	b.reply(Reply{Handle: sub.Handle, Code: sub.Code})
	return <-got
}

// waitGet fetches one subcommand, waiting for it.
func (b *bench) waitGet() Subcommand {
	b.t.Helper()
	subs := make([]Subcommand, 1)
	if _, _, err := b.dev.ReplyAndGet(context.Background(), nil, subs); err != nil {
		b.t.Fatal(err)
	}
	return subs[0]
}

// get fetches one subcommand that must be there.
func (b *bench) get(want Subcode) Subcommand {
	b.t.Helper()
	var s Subcommand
	if err := b.dev.fetch(context.Background(), &s, false); err != nil {
		b.t.Fatalf("want %v, got error %v", want, err)
	}
	if s.Code != want {
		b.t.Fatalf("got %v (h=%d), want %v", s.Code, s.Handle, want)
	}
	return s
}

// none checks that nothing is ready.
func (b *bench) none() {
	b.t.Helper()
	var s Subcommand
	if err := b.dev.fetch(context.Background(), &s, false); err != syscall.EAGAIN {
		b.t.Fatalf("got %v h=%d, %v, want EAGAIN", s.Code, s.Handle, err)
	}
}

func (b *bench) reply(r Reply) {
	b.t.Helper()
	if err := b.dev.Reply(&r); err != nil {
		b.t.Fatalf("reply %v h=%d: %v", r.Code, r.Handle, err)
	}
}

func (b *bench) submit(cdb scsi.CDB) *target.Cmd {
	c := &target.Cmd{}
	c.Init(cdb.Slice(), scsi.QueueSimple)
	b.sess.Submit(c)
	return c
}

func (b *bench) write(blocks uint32) *target.Cmd {
	return b.submit(scsi.EncodeWrite16(0, blocks, false))
}
func (b *bench) read(blocks uint32) *target.Cmd { return b.submit(scsi.EncodeRead16(0, blocks, false)) }

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
	c := b.write(blocks)
	var s Subcommand
	if b.dev.fetch(context.Background(), &s, false) != nil {
		b.t.Fatal("nothing to fetch")
	}
	if s.Code == SubAllocMem {
		b.reply(Reply{Handle: s.Handle, Code: SubAllocMem, PBuf: b.mem.alloc(int(s.AllocLen))})
		s = b.get(SubExec)
	}
	b.execDone(s)
	if c.Status != scsi.Good {
		b.t.Fatalf("WRITE ended with %v", c.Status)
	}
	return s.Handle
}

// settleOnFree answers ON_FREE_CMD and ON_CACHED_MEM_FREE until none is left.
func (b *bench) settleFree() {
	b.t.Helper()
	for {
		var s Subcommand
		if b.dev.fetch(context.Background(), &s, false) != nil {
			return
		}
		if s.Code != SubOnFree && s.Code != SubOnCachedMemFree && s.Code != SubDetachSess {
			b.t.Fatalf("unexpected %v", s.Code)
		}
		b.reply(Reply{Handle: s.Handle, Code: s.Code})
	}
}

// close releases the device and checks I1, I2, I4.
func (b *bench) close() {
	b.t.Helper()
	if err := b.dev.Close(context.Background()); err != nil {
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
	if b.mem.maps != 0 {
		b.t.Errorf("I3: %d buffers are still mapped", b.mem.maps)
	}
	if len(b.reg.Devices()) != 0 {
		b.t.Error("I4: the name is not free")
	}
}

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
	got := b.obs.take()
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
			b.t.Fatalf("event %d: got %q, want %q\nall:\n%s", i, g, x, strings.Join(got, "\n"))
		}
	}
}

func (b *bench) only(t testing.TB, want Command) {
	t.Helper()
	l := b.dev.Commands()
	if len(l) != 1 {
		t.Fatalf("%d ucmds, want 1: %v", len(l), l)
	}
	if l[0] != want {
		t.Fatalf("got  %v\nwant %v", l[0], want)
	}
}

var _ = fmt.Sprint
