package node

import (
	"context"
	"io"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"scstuser/ioctl/abi"
	"scstuser/scsi"
	"scstuser/target"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a caller's address space, page by page.
type memory struct {
	mu    sync.Mutex
	next  abi.Addr
	pages map[abi.Addr]*page
	calls int // system calls that a real one would have cost
}

type page struct {
	data     [pageSize]byte
	readOnly bool
}

func newMemory() *memory { return &memory{next: 0x10000, pages: map[abi.Addr]*page{}} }

// alloc maps n bytes, page aligned, with a hole behind them.
func (m *memory) alloc(n int) abi.Addr {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.next
	for ; m.next < at+abi.Addr(n); m.next += pageSize {
		m.pages[m.next] = &page{}
	}
	m.next += pageSize
	return at
}

// put allocates memory with this content.
func (m *memory) put(b []byte) abi.Addr {
	at := m.alloc(len(b))
	m.set(at, b)
	return at
}

func (m *memory) set(at abi.Addr, b []byte) {
	if !writeAll(m, at, b) {
		panic("set: not mapped")
	}
}

func (m *memory) get(at abi.Addr, n int) []byte {
	b := make([]byte, n)
	if !readAll(m, at, b) {
		panic("get: not mapped")
	}
	return b
}

// unmap takes the page away; protect makes it read-only.
func (m *memory) unmap(at abi.Addr) {
	m.mu.Lock()
	delete(m.pages, at&^(pageSize-1))
	m.mu.Unlock()
}

func (m *memory) protect(at abi.Addr, readOnly bool) {
	m.mu.Lock()
	m.pages[at&^(pageSize-1)].readOnly = readOnly
	m.mu.Unlock()
}

func (m *memory) move(pieces []Piece, write bool) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	for _, p := range pieces {
		for i := 0; i < len(p.Buf); {
			at := p.Addr + abi.Addr(i)
			pg := m.pages[at&^(pageSize-1)]
			if pg == nil || write && pg.readOnly {
				return n
			}
			off := int(at % pageSize)
			var k int
			if write {
				k = copy(pg.data[off:], p.Buf[i:])
			} else {
				k = copy(p.Buf[i:], pg.data[off:])
			}
			i += k
			n += k
		}
	}
	return n
}

func (m *memory) Read(p []Piece) int  { return m.move(p, false) }
func (m *memory) Write(p []Piece) int { return m.move(p, true) }
func (m *memory) Process() any        { return m }

// rig is a host with one open file and a caller.
type rig struct {
	t    testing.TB
	host *Host
	file *File
	mem  *memory
	arg  abi.Addr // room for an argument
	fe   *front
	sess *target.Session
}

func quiet() *logrus.Logger {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return l
}

func newRig(t testing.TB, o Options, nonBlocking bool) *rig {
	t.Helper()
	o.Log = quiet()
	r := &rig{t: t, host: New(o), mem: newMemory(), fe: &front{}}
	r.file = r.host.Open(nonBlocking, 1)
	r.arg = r.mem.alloc(64 << 10)
	t.Cleanup(func() {
		r.file.Close(1)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := r.host.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return r
}

// call makes an ioctl with the argument at r.arg, as a carrier does.
func (r *rig) call(ctx context.Context, cmd abi.Ioctl, in []byte) (ret int32, errno syscall.Errno) {
	r.t.Helper()
	c := Call{Cmd: cmd, Arg: r.arg, TID: 1, Mem: r.mem}
	if cmd.Dir()&abi.DirWrite != 0 {
		c.In = in
	}
	if in != nil {
		r.mem.set(r.arg, in)
	}
	ret, errno, out := r.file.Ioctl(ctx, &c)
	if errno == 0 && out != nil {
		r.mem.set(r.arg, out)
	}
	if ret < 0 && ret != restartSys {
		return 0, syscall.Errno(-ret)
	}
	return ret, errno
}

// do makes an ioctl that must end with want.
func (r *rig) do(cmd abi.Ioctl, in []byte, want syscall.Errno) {
	r.t.Helper()
	if _, errno := r.call(context.Background(), cmd, in); errno != want {
		r.t.Errorf("%v: %v (%d), want %v", cmd, errno, errno, want)
	}
}

// desc is a registration that is accepted.
func (r *rig) desc() abi.DevDesc {
	return abi.DevDesc{
		VersionStr: r.mem.put(append([]byte(abi.Version), 0)), LicenseStr: r.mem.put([]byte("GPL\x00")),
		BlockSize: 512, Name: "disk1",
		Opt: abi.Opt{OnFreeCmdType: 1, MemoryReuseType: 3, TST: 1, QueueAlg: 1},
	}
}

func (r *rig) encode(x interface{ Encode([]byte) error }, n int) []byte {
	b := make([]byte, n)
	if err := x.Encode(b); err != nil {
		r.t.Fatal(err)
	}
	return b
}

// registered makes a rig whose file has a device.
func registered(t testing.TB, o Options, nonBlocking bool, change func(*abi.DevDesc)) *rig {
	t.Helper()
	r := newRig(t, o, nonBlocking)
	d := r.desc()
	if change != nil {
		change(&d)
	}
	r.do(abi.IoctlRegisterDevice, r.encode(&d, abi.SizeDevDesc), 0)
	return r
}

// attached makes a rig with a device and an initiator.
func attached(t testing.TB, o Options, nonBlocking bool, change func(*abi.DevDesc)) *rig {
	t.Helper()
	r := registered(t, o, nonBlocking, change)
	r.attach()
	return r
}

func (r *rig) attach() {
	r.t.Helper()
	got := make(chan error, 1)
	go func() {
		var err error
		r.sess, err = r.file.Device().Target().NewSession(context.Background(), r.fe, target.SessionInfo{Initiator: "i", Target: "t"})
		got <- err
	}()
	c := r.fetch(nil)
	if c.Subcode != abi.SubcodeAttachSess {
		r.t.Fatalf("got %v, want ATTACH_SESS", c.Subcode)
	}
	zero := int32(0)
	r.reply(&abi.Answer{CmdH: c.CmdH, Subcode: c.Subcode, Result: &zero}, 0)
	if err := <-got; err != nil {
		r.t.Fatal(err)
	}
	// The first command of a session hears of the unit attention; that is
	// found out when it would be fetched (R33, fact 16).
	tur := r.submit(scsi.EncodeTestUnitReady(), nil)
	for over := false; !over; {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
		r.call(ctx, abi.IoctlReplyAndGetCmd, make([]byte, abi.SizeGetCmd))
		cancel()
		select {
		case <-tur.over:
			over = true
		default:
		}
	}
	r.ends(tur, scsi.CheckCondition, scsi.SensePowerOnReset)
}

// fetch is REPLY_AND_GET_CMD, again while there is nothing.
func (r *rig) fetch(a *abi.Answer) abi.Command {
	r.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, errno := r.get(a)
		a = nil // consumed (R23)
		if errno == syscall.EAGAIN && time.Now().Before(deadline) {
			continue
		}
		if errno != 0 {
			r.t.Fatalf("get: %v", errno)
		}
		return c
	}
}

// get is REPLY_AND_GET_CMD.
func (r *rig) get(a *abi.Answer) (c abi.Command, errno syscall.Errno) {
	r.t.Helper()
	in := make([]byte, abi.SizeGetCmd)
	if a != nil {
		_ = abi.PutPReply(in, r.mem.put(r.encode(a, abi.SizeReplyCmd)))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, errno = r.call(ctx, abi.IoctlReplyAndGetCmd, in); errno != 0 {
		return c, errno
	}
	if err := c.Decode(r.mem.get(r.arg, abi.SizeGetCmd)); err != nil {
		r.t.Fatal(err)
	}
	return c, 0
}

// expect fetches a subcommand that must be of this kind.
func (r *rig) expect(want abi.Subcode) abi.Command {
	r.t.Helper()
	c := r.fetch(nil)
	if c.Subcode != want {
		r.t.Fatalf("got %v, want %v", c.Subcode, want)
	}
	return c
}

// reply is REPLY_CMD, which must end with want.
func (r *rig) reply(a *abi.Answer, want syscall.Errno) {
	r.t.Helper()
	r.do(abi.IoctlReplyCmd, r.encode(a, abi.SizeReplyCmd), want)
}

// multi is REPLY_AND_GET_MULTI.
func (r *rig) multi(answers []abi.Answer, room int) (m abi.Multi, cmds []abi.Command, errno syscall.Errno) {
	r.t.Helper()
	raw := []byte{}
	for i := range answers {
		raw = append(raw, r.encode(&answers[i], abi.SizeReplyCmd)...)
	}
	x := abi.Multi{RepliesCnt: int16(len(answers)), CmdsCnt: int16(room), RepliesDone: 0x55}
	if len(raw) > 0 {
		x.PReplies = r.mem.put(raw)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, errno = r.call(ctx, abi.IoctlReplyAndGetMulti, r.encode(&x, abi.SizeMulti))
	_ = m.Decode(r.mem.get(r.arg, abi.SizeMulti))
	for i := range m.Room() {
		var c abi.Command
		if err := c.Decode(r.mem.get(abi.MultiCmdAddr(r.arg, i), abi.SizeGetCmd)); err != nil {
			r.t.Fatal(err)
		}
		cmds = append(cmds, c)
	}
	return m, cmds, errno
}

// execOK is the reply to an EXEC.
func execOK(c abi.Command, n int, pbuf abi.Addr) *abi.Answer {
	return &abi.Answer{CmdH: c.CmdH, Subcode: abi.SubcodeExec,
		Exec: &abi.ExecReply{RespDataLen: int32(n), PBuf: pbuf, ReplyType: abi.ExecReplyCompleted}}
}

func allocReply(c abi.Command, pbuf abi.Addr) *abi.Answer {
	return &abi.Answer{CmdH: c.CmdH, Subcode: abi.SubcodeAllocMem, Alloc: &abi.AllocMemReply{PBuf: pbuf}}
}

// front is an initiator: it sends payloads and keeps outcomes.
type front struct{}

// sent is a command of the initiator.
type sent struct {
	cmd     target.Cmd
	payload []byte
	status  scsi.Status
	sense   scsi.Sense
	data    []byte
	over    chan struct{}
}

func (r *rig) submit(cdb scsi.CDB, payload []byte) *sent {
	s := &sent{payload: payload, over: make(chan struct{})}
	s.cmd.Init(cdb.Slice(), scsi.QueueSimple)
	s.cmd.Front = s
	go r.sess.Submit(&s.cmd)
	return s
}

func (r *rig) read(blocks uint32) *sent { return r.submit(scsi.EncodeRead16(0, blocks, false), nil) }
func (r *rig) write(payload []byte) *sent {
	return r.submit(scsi.EncodeWrite16(0, uint32(len(payload)/512), false), payload)
}

// wait waits for the outcome.
func (r *rig) wait(s *sent) *sent {
	r.t.Helper()
	select {
	case <-s.over:
	case <-time.After(10 * time.Second):
		r.t.Fatal("a command does not end")
	}
	return s
}

// ends checks a command's outcome: a status, and sense as key/asc/ascq.
func (r *rig) ends(s *sent, st scsi.Status, sense scsi.Sense) {
	r.t.Helper()
	r.wait(s)
	if s.status != st || st == scsi.CheckCondition && !s.sense.Is(sense) {
		r.t.Errorf("ended with %v %v, want %v %v", s.status, s.sense, st, sense)
	}
}

func (f *front) RdyToXfer(c *target.Cmd) target.Verdict {
	copy(c.Buf, c.Front.(*sent).payload)
	return target.Continue
}

func (f *front) XmitResponse(c *target.Cmd) {
	s := c.Front.(*sent)
	s.status = c.Status
	s.data = append([]byte(nil), c.Data()...)
	if c.Status == scsi.CheckCondition {
		s.sense, _ = scsi.ParseSense(c.Sense())
	}
	c.Delivered(target.Delivered)
}

func (f *front) Freed(c *target.Cmd)                            { close(c.Front.(*sent).over) }
func (f *front) AEN(*target.Session, target.UnitAttention) bool { return false }
func (f *front) SessionGone(*target.Session)                    {}
func (f *front) TMDone(*target.MgmtCmd)                         {}

// pattern is n bytes that differ from each other's neighbours and other seeds'.
func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7) ^ byte(i>>8) ^ seed
	}
	return b
}
