package nbd

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"scstuser/nbd/nbdtest"
	"scstuser/scsi"
	"scstuser/target"
)

// fake is a device whose handler does what a test says. By default it is a
// disk in memory that does everything at once and well.
type fake struct {
	t   testing.TB
	dev *target.Device
	fakeTraits

	// mu guards what follows.
	mu     sync.Mutex
	medium []byte
	// scripts are what is done instead with the next commands of a kind.
	scripts map[scsi.Opcode][]func(*target.Cmd)
	// cdbs are the CDBs of the commands that were executed, in their order.
	cdbs [][]byte
	size int64 // what READ CAPACITY tells, in bytes
	kept []held
}

// fakeTraits is what a fake is like.
type fakeTraits struct {
	block    uint32 // default 512
	limits   scsi.BlockLimits
	noLimits bool // no Block Limits page
	readOnly bool
	noFUA    bool          // DPOFUA=0
	thick    bool          // LBPME=0
	unknown  []scsi.Opcode // what REPORT SUPPORTED OPERATION CODES denies
	noMap    bool          // it denies GET LBA STATUS
	// zeroing is VPD page C0h, and rotation the rate in page B1h, if there.
	zeroing  *scsi.Zeroing
	rotation uint16
	// parse may change what the standard parser found.
	parse func(*target.Cmd)
	// alloc may refuse a buffer: it sets the outcome and returns false.
	alloc func(*target.Cmd) bool
	// attach may refuse or delay a session.
	attach func(*target.Session) error
	// capacity may change the answer to READ CAPACITY.
	capacity func(*scsi.Capacity)
	// mood, if set, may carry a command out in its own way, or returns false.
	mood func(*target.Cmd) bool
	// synced is called by SYNCHRONIZE CACHE and FUA writes, before they end.
	synced func()
}

var _ target.DevHandler = (*fake)(nil)

const fakeSize = 8 << 20

func newFake(t testing.TB, traits fakeTraits) *fake {
	if traits.block == 0 {
		traits.block = 512
	}
	f := &fake{t: t, fakeTraits: traits, medium: make([]byte, fakeSize), size: fakeSize, scripts: map[scsi.Opcode][]func(*target.Cmd){}}
	f.dev = target.NewDevice("fake", f, target.Options{BlockSize: f.block})
	return f
}

// next scripts the next commands of a kind, one function for each. A function
// calls Done, at once or later.
func (f *fake) next(op scsi.Opcode, script ...func(*target.Cmd)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.scripts[op] = append(f.scripts[op], script...)
}

// status is a script: the command ends so.
func status(st scsi.Status) func(*target.Cmd) {
	return func(c *target.Cmd) {
		c.SetStatus(st)
		c.Done()
	}
}

// sense is a script: the command ends with CHECK CONDITION.
func sense(s scsi.Sense) func(*target.Cmd) {
	return func(c *target.Cmd) {
		c.SetSense(s)
		c.Done()
	}
}

// times is n times the same script.
func times(n int, script func(*target.Cmd)) []func(*target.Cmd) {
	return slices.Repeat([]func(*target.Cmd){script}, n)
}

// held is a command that a script has kept. release carries it out.
type held struct{ release func() }

// hold makes the next n commands of a kind wait; they come out of the channel.
// What is not released is at the end of the test.
func (f *fake) hold(op scsi.Opcode, n int) <-chan held {
	got := make(chan held, n)
	f.next(op, times(n, func(c *target.Cmd) {
		h := held{sync.OnceFunc(func() { f.carryOut(c) })}
		f.mu.Lock()
		f.kept = append(f.kept, h)
		f.mu.Unlock()
		got <- h
	})...)
	return got
}

// releaseAll releases what is held, and does not hold anything any more.
func (f *fake) releaseAll() {
	f.behave()
	f.mu.Lock()
	kept := f.kept
	f.mu.Unlock()
	for _, h := range kept {
		h.release()
	}
}

// executed returns the CDBs of a kind of command, or of all (op 0), since the
// last call of forget.
func (f *fake) executed(op scsi.Opcode) [][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	var l [][]byte
	for _, cdb := range f.cdbs {
		if op == 0 || scsi.Opcode(cdb[0]) == op {
			l = append(l, cdb)
		}
	}
	return l
}

// forget forgets what was executed.
func (f *fake) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cdbs = nil
}

// behave forgets the scripts that are left.
func (f *fake) behave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.scripts)
}

// ops is executed, as operation codes.
func (f *fake) ops() (l []scsi.Opcode) {
	for _, cdb := range f.executed(0) {
		l = append(l, scsi.Opcode(cdb[0]))
	}
	return l
}

// bytes returns a copy of the medium.
func (f *fake) bytes(off, n int) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]byte(nil), f.medium[off:off+n]...)
}

// put changes the medium.
func (f *fake) put(off int, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	copy(f.medium[off:], data)
}

// resize announces another size.
func (f *fake) resize(size int64) {
	f.mu.Lock()
	f.size = size
	f.mu.Unlock()
	f.dev.CapacityChanged()
}

func (f *fake) Parse(c *target.Cmd) target.Verdict {
	t, err := scsi.ParseSBC(c.CDB(), f.block)
	if err != nil {
		c.SetSense(scsi.SenseInvalidOpcode)
		c.Complete()
		return target.Continue
	}
	c.Dir, c.LBA, c.DataLen, c.BufLen = t.Dir, t.LBA, t.DataLen, int32(t.BufLen)
	if f.parse != nil {
		f.parse(c)
	}
	return target.Continue
}

func (f *fake) AllocBuf(c *target.Cmd) target.Verdict {
	if f.alloc != nil && !f.alloc(c) {
		c.Complete()
		return target.Continue
	}
	c.Buf = make([]byte, c.BufLen)
	return target.Continue
}

func (f *fake) Exec(c *target.Cmd) {
	op := c.Op()
	f.mu.Lock()
	f.cdbs = append(f.cdbs, append([]byte(nil), c.CDB()...))
	var script func(*target.Cmd)
	if s := f.scripts[op]; len(s) > 0 {
		script, f.scripts[op] = s[0], s[1:]
	}
	f.mu.Unlock()
	switch {
	case script != nil:
		script(c)
	case f.mood == nil || !f.mood(c):
		f.carryOut(c)
	}
}

func (f *fake) OnFree(*target.Cmd) {}

func (f *fake) Attach(s *target.Session) error {
	if f.attach != nil {
		return f.attach(s)
	}
	return nil
}

func (f *fake) Detach(_ *target.Session, answered func()) { answered() }
func (f *fake) TaskMgmtReceived(*target.MgmtCmd)          {}
func (f *fake) TaskMgmtDone(m *target.MgmtCmd)            { m.Done(target.TMSuccess) }

// carryOut does what a disk does.
func (f *fake) carryOut(c *target.Cmd) {
	cmd, err := scsi.Decode(c.CDB())
	if err != nil || slices.Contains(f.unknown, c.Op()) {
		sense(scsi.SenseInvalidOpcode)(c)
		return
	}
	if data, ok := f.tell(&cmd); ok {
		c.SetStatus(scsi.Good)
		c.RespLen = int32(copy(c.Buf, data))
		c.Done()
		return
	}
	f.mu.Lock()
	outcome := f.access(c, &cmd)
	f.mu.Unlock()
	if f.synced != nil && (cmd.Op == scsi.OpSyncCache16 || cmd.FUA) {
		f.synced()
	}
	c.SetStatus(scsi.Good)
	if outcome != scsi.SenseNone {
		c.SetSense(outcome)
	} else if cmd.Op == scsi.OpRead16 {
		c.RespLen = c.BufLen
	}
	c.Done()
}

// tell answers questions about the device.
func (f *fake) tell(c *scsi.Command) (data []byte, ok bool) {
	switch {
	case c.Op == scsi.OpInquiry && c.EVPD && c.Page == scsi.VPDBlockLimits && !f.noLimits:
		return scsi.AppendVPDBlockLimits(nil, &f.limits), true
	case c.Op == scsi.OpInquiry && c.EVPD && c.Page == scsi.VPDLogicalProvisioning:
		return scsi.AppendVPDLogicalProvisioning(nil, &scsi.LogicalProvisioning{LBPU: true, LBPWS: true}), true
	case c.Op == scsi.OpInquiry && c.EVPD && c.Page == scsi.VPDZeroing && f.zeroing != nil:
		return scsi.AppendVPDZeroing(nil, *f.zeroing), true
	case c.Op == scsi.OpInquiry && c.EVPD && c.Page == scsi.VPDBlockCharacteristics && f.rotation != 0:
		return scsi.AppendVPDBlockCharacteristics(nil, &scsi.BlockCharacteristics{RotationRate: f.rotation}), true
	case c.Op == scsi.OpInquiry:
		return nil, true
	case c.Op == scsi.OpModeSense10:
		return scsi.AppendModeHeader10(nil, &scsi.ModeHeader{WriteProtected: f.readOnly, DPOFUA: !f.noFUA}, 0), true
	case c.Op == scsi.OpServiceActionIn16 && c.ServiceAction == scsi.SAGetLBAStatus:
		return f.holes(c), true
	case c.Op == scsi.OpServiceActionIn16:
		f.mu.Lock()
		size := f.size
		f.mu.Unlock()
		l := scsi.Capacity{LastLBA: uint64(size)/uint64(f.block) - 1, BlockSize: f.block, LBPME: !f.thick, LBPRZ: true}
		if f.capacity != nil {
			f.capacity(&l)
		}
		return scsi.AppendReadCapacity16(nil, l), true
	case c.Op == scsi.OpMaintenanceIn && (slices.Contains(f.unknown, c.ReqOpcode) || f.noMap && c.ReqSA == scsi.SAGetLBAStatus):
		return scsi.AppendUnsupportedCommand(nil), true
	case c.Op == scsi.OpMaintenanceIn:
		return scsi.AppendSupportedCommand(nil, false, scsi.CommandID{Op: c.ReqOpcode, SA: c.ReqSA}), true
	}
	return nil, false
}

// holes is the answer to GET LBA STATUS: blocks of zeroes are holes.
func (f *fake) holes(c *scsi.Command) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	var runs []scsi.LBAStatus
	zeroes := make([]byte, f.block)
	for lba, end := c.LBA, uint64(f.size)/uint64(f.block); lba < end; lba++ {
		status := uint8(scsi.LBAMapped)
		if bytes.Equal(f.medium[lba*uint64(f.block):][:f.block], zeroes) {
			status = scsi.LBADeallocated
		}
		if n := len(runs); n > 0 && runs[n-1].Status == status {
			runs[n-1].Blocks++
			continue
		}
		if scsi.LBAStatusHeaderLen+(len(runs)+1)*scsi.LBAStatusDescriptorLen > int(c.AllocLen) {
			break
		}
		runs = append(runs, scsi.LBAStatus{LBA: lba, Blocks: 1, Status: status})
	}
	return scsi.AppendLBAStatus(nil, runs...)
}

// access reads and changes the medium. Caller holds mu.
func (f *fake) access(c *target.Cmd, cmd *scsi.Command) scsi.Sense {
	off, n := cmd.LBA*uint64(f.block), cmd.Count()*uint64(f.block)
	if off+n > uint64(f.size) {
		return scsi.SenseLBAOutOfRange
	}
	span := f.medium[off : off+n]
	switch cmd.Op {
	case scsi.OpRead16:
		copy(c.Buf, span)
	case scsi.OpWrite16:
		copy(span, c.Buf)
	case scsi.OpWriteSame16:
		clear(span)
	case scsi.OpUnmap:
		l, err := scsi.ParseUnmapList(c.Buf)
		if err != nil || l.Len() != 1 {
			return scsi.SenseInvalidFieldInParameterList
		}
		d := l.At(0)
		clear(f.medium[d.LBA*uint64(f.block):][:uint64(d.Blocks)*uint64(f.block)])
	case scsi.OpSyncCache16, scsi.OpPreFetch16:
	default:
		return scsi.SenseInvalidOpcode
	}
	return scsi.SenseNone
}

// fakeRig is a server in front of a fake.
type fakeRig struct {
	*fake
	srv    *Server
	export *Export
	socket string
}

// newFakeRig starts a server in front of a fake. When the test ends all of it
// is stopped, and nothing may be left.
func newFakeRig(t testing.TB, traits fakeTraits, opt Options) *fakeRig {
	t.Helper()
	r := &fakeRig{fake: newFake(t, traits)}
	r.srv, r.socket = startServer(t, opt)
	var err error
	if r.export, err = r.srv.AddExport(context.Background(), ExportConfig{Name: "fake", Device: r.dev}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // before the server's
		r.releaseAll()
		shutDown(t, r.srv)
		r.unregister()
		if l := r.dev.Sessions(); len(l) > 0 {
			t.Errorf("%d sessions are left", len(l))
		}
	})
	r.forget()
	return r
}

func (r *fakeRig) unregister() {
	ctx, cancel := context.WithTimeout(context.Background(), nbdtest.DefaultTimeout)
	defer cancel()
	if err := r.dev.Unregister(ctx); err != nil {
		r.t.Errorf("the device can't be released: %v", err)
	}
}

// dial connects a client.
func (r *fakeRig) dial(t testing.TB) *nbdtest.Conn { return nbdtest.Dial(t, "unix", r.socket) }

// open connects a client and lets it choose the export. It returns when the
// client is attached to the device, which is somewhat after the reply to GO,
// and can't be while commands are held.
func (r *fakeRig) open(t testing.TB) *nbdtest.Conn {
	t.Helper()
	c := r.dial(t)
	c.Hello()
	c.Go("fake")
	if _, e := c.Read(0, 0, 0); e != nbdtest.OK {
		t.Fatalf("READ of no bytes: %v", e)
	}
	return c
}

// startServer starts a server without exports on a unix socket. It is shut
// down at the end of the test, if the test has not done so.
func startServer(t testing.TB, opt Options) (srv *Server, socket string) {
	t.Helper()
	if opt.Log == nil {
		opt.Log = logrus.New()
		opt.Log.SetOutput(io.Discard)
	}
	srv = NewServer(opt)
	socket = serveUnix(t, srv)
	return srv, socket
}

func shutDown(t testing.TB, srv *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), nbdtest.DefaultTimeout)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil && err != ErrServerClosed {
		t.Errorf("shutdown: %v", err)
	}
}

// serveUnix makes srv listen on one more unix socket.
func serveUnix(t testing.TB, srv *Server) (socket string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "nbd") // t.TempDir's paths can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "s")
	l, err := Listen(ListenAddr{Network: "unix", Address: socket})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	t.Cleanup(func() {
		shutDown(t, srv)
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		os.RemoveAll(dir)
	})
	return socket
}

// eventually waits for cond.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(nbdtest.DefaultTimeout); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("does not happen: %s", what)
		}
	}
}

// within requires that f ends.
func within(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(nbdtest.DefaultTimeout):
		t.Fatalf("does not end: %s", what)
	}
}
