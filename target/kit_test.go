package target

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"scstuser/scsi"
)

// rig is a device with a handler that does what the test says and, from the
// start, one session.
type rig struct {
	t    testing.TB
	h    *fakeHandler
	dev  *Device
	f    *fakeFront
	sess *Session
}

// fakeHandler parses as ucmd does, carries out at once what it is not told to
// keep, and writes down what it is called for.
type fakeHandler struct {
	t testing.TB

	// Hooks; set before they can be called. nil: the default.
	parse    func(c *Cmd) Verdict
	alloc    func(c *Cmd) Verdict
	exec     func(c *Cmd)
	onFree   func(c *Cmd)
	received func(m *MgmtCmd)
	tmDone   func(m *MgmtCmd)
	attach   func(s *Session) error
	detach   func(s *Session, answered func())

	mu sync.Mutex
	// keep: exec keeps the commands in kept instead of ending them.
	keep   bool
	kept   []*Cmd
	log    []string // "parse 1", "exec 1", ... with the command's Tag
	parsed map[*Cmd]bool
}

func (h *fakeHandler) note(what string, tag uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.log = append(h.log, fmt.Sprint(what, " ", tag))
}

// took returns the log since the last call.
func (h *fakeHandler) took() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.log
	h.log = nil
	return l
}

func (h *fakeHandler) Parse(c *Cmd) Verdict {
	h.note("parse", c.Tag)
	h.mu.Lock()
	if h.parsed[c] {
		h.t.Errorf("I1: command %d parsed again before OnFree", c.Tag)
	}
	h.parsed[c] = true
	h.mu.Unlock()
	c.DevTag.Store(c.Tag + 1)
	if h.parse != nil {
		return h.parse(c)
	}
	parseSBC(c)
	return Continue
}

// parseSBC is the standard parse.
func parseSBC(c *Cmd) {
	tr, err := scsi.ParseSBC(c.CDB(), 512)
	if err != nil {
		c.SetSense(scsi.SenseInvalidFieldInCDB)
		c.Complete()
		return
	}
	c.Dir, c.LBA, c.DataLen, c.BufLen, c.OpFlags = tr.Dir, tr.LBA, tr.DataLen, int32(tr.BufLen), tr.OpFlags
	if tr.HeadOfQueue {
		c.SetQueueType(scsi.QueueHeadOfQueue)
	}
}

func (h *fakeHandler) AllocBuf(c *Cmd) Verdict {
	if h.alloc != nil {
		return h.alloc(c)
	}
	c.Buf = make([]byte, c.BufLen)
	c.OutBuf = make([]byte, c.OutBufLen)
	return Continue
}

func (h *fakeHandler) Exec(c *Cmd) {
	h.note("exec", c.Tag)
	h.mu.Lock()
	keep := h.keep && !c.internal
	if keep {
		h.kept = append(h.kept, c)
	}
	h.mu.Unlock()
	switch {
	case keep:
	case h.exec != nil:
		h.exec(c)
	default:
		finish(c)
	}
}

// finish ends a command that is at exec, well if nothing is in the way.
func finish(c *Cmd) {
	if !c.CheckLocalEvents() {
		c.SetStatus(scsi.Good)
		if c.Dir == scsi.DirRead {
			c.RespLen = c.BufLen
		}
	}
	c.Done()
}

// release ends the commands that exec kept, oldest first, and keeps no more.
func (h *fakeHandler) release() {
	h.mu.Lock()
	kept := h.kept
	h.keep, h.kept = false, nil
	h.mu.Unlock()
	for _, c := range kept {
		finish(c)
	}
}

func (h *fakeHandler) setKeep(k bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keep = k
}

func (h *fakeHandler) OnFree(c *Cmd) {
	h.note("free", c.Tag)
	h.mu.Lock()
	if !h.parsed[c] {
		h.t.Errorf("I1: OnFree for command %d, which was not parsed or is freed", c.Tag)
	}
	delete(h.parsed, c)
	h.mu.Unlock()
	if h.onFree != nil {
		h.onFree(c)
	}
}

func (h *fakeHandler) TaskMgmtReceived(m *MgmtCmd) {
	h.note("received", uint64(m.Fn))
	if h.received != nil {
		h.received(m)
	}
}

func (h *fakeHandler) TaskMgmtDone(m *MgmtCmd) {
	h.note("tmdone", uint64(m.Fn))
	if h.tmDone != nil {
		h.tmDone(m)
		return
	}
	m.Done(TMSuccess)
}

func (h *fakeHandler) Attach(s *Session) error {
	h.note("attach", s.handle)
	if h.attach != nil {
		return h.attach(s)
	}
	return nil
}

func (h *fakeHandler) Detach(s *Session, answered func()) {
	h.note("detach", s.handle)
	if h.detach != nil {
		h.detach(s, answered)
		return
	}
	answered()
}

// fakeFront delivers at once what it is not told to hold, and remembers.
type fakeFront struct {
	t testing.TB

	// Hooks; set before they can be called. nil: the default.
	rdy  func(c *Cmd) Verdict
	xmit func(c *Cmd)
	aen  func(ua UnitAttention) bool

	mu      sync.Mutex
	hold    bool // keep responses until deliver
	resp    []*Cmd
	sent    []*Cmd // every response, in order
	freed   map[*Cmd]int
	gone    int
	tms     []*MgmtCmd
	changed *sync.Cond // of freed, sent, tms, gone
}

func newFront(t testing.TB) *fakeFront {
	f := &fakeFront{t: t, freed: map[*Cmd]int{}}
	f.changed = sync.NewCond(&f.mu)
	return f
}

func (f *fakeFront) RdyToXfer(c *Cmd) Verdict {
	if f.rdy != nil {
		return f.rdy(c)
	}
	return Continue
}

func (f *fakeFront) XmitResponse(c *Cmd) {
	f.mu.Lock()
	f.sent = append(f.sent, c)
	hold := f.hold
	if hold {
		f.resp = append(f.resp, c)
	}
	f.changed.Broadcast()
	f.mu.Unlock()
	switch {
	case hold:
	case f.xmit != nil:
		f.xmit(c)
	default:
		c.Delivered(Delivered)
	}
}

// deliver ends the responses that were held, and holds no more.
func (f *fakeFront) deliver() {
	f.mu.Lock()
	l := f.resp
	f.hold, f.resp = false, nil
	f.mu.Unlock()
	for _, c := range l {
		c.Delivered(Delivered)
	}
}

func (f *fakeFront) Freed(c *Cmd) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.freed[c]++
	if f.freed[c] > 1 {
		f.t.Errorf("I1: command %d freed %d times", c.Tag, f.freed[c])
	}
	f.changed.Broadcast()
}

func (f *fakeFront) AEN(_ *Session, ua UnitAttention) bool {
	if f.aen != nil {
		return f.aen(ua)
	}
	return true
}

func (f *fakeFront) SessionGone(*Session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gone++
	f.changed.Broadcast()
}

func (f *fakeFront) TMDone(m *MgmtCmd) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tms = append(f.tms, m)
	f.changed.Broadcast()
}

// responses returns the tags of the responses so far.
func (f *fakeFront) responses() (tags []uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.sent {
		tags = append(tags, c.Tag)
	}
	return tags
}

// newRig makes a device with one session; everything must have ended when the
// test does.
func newRig(t testing.TB, o Options) *rig {
	t.Helper()
	h := &fakeHandler{t: t, parsed: map[*Cmd]bool{}}
	r := &rig{t: t, h: h, dev: NewDevice("disk", h, o), f: newFront(t)}
	r.sess = r.attach(r.f)
	h.took()
	t.Cleanup(func() {
		if err := r.dev.Unregister(soon(t)); err != nil {
			t.Errorf("at the end: %v", err)
		}
		if len(h.parsed) != 0 {
			t.Errorf("I1: OnFree is owed for %d commands", len(h.parsed))
		}
	})
	return r
}

func (r *rig) attach(f Frontend) *Session {
	r.t.Helper()
	s, err := r.dev.NewSession(soon(r.t), f, SessionInfo{Initiator: "i", Target: "t"})
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// soon is a deadline that nothing that works comes near to.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// The commands that tests use.
var (
	cdbNone    = scsi.EncodeSyncCache16(0, 0)
	cdbRead    = scsi.EncodeRead16(0, 1, false)
	cdbWrite   = scsi.EncodeWrite16(0, 1, false)
	cdbUnitOK  = scsi.EncodeTestUnitReady()
	cdbInquiry = scsi.EncodeInquiry(false, 0, 96)
)

// command makes a command with a tag.
func command(tag uint64, cdb scsi.CDB, q scsi.QueueType) *Cmd {
	c := &Cmd{}
	c.Init(cdb.Slice(), q)
	c.Tag = tag
	return c
}

// submit submits a SIMPLE command on the rig's session.
func (r *rig) submit(tag uint64, cdb scsi.CDB) *Cmd {
	return r.submitAs(tag, cdb, scsi.QueueSimple)
}

func (r *rig) submitAs(tag uint64, cdb scsi.CDB, q scsi.QueueType) *Cmd {
	c := command(tag, cdb, q)
	r.sess.Submit(c)
	return c
}

// suspend suspends the device, which must be possible.
func (r *rig) suspend() (resume func()) {
	r.t.Helper()
	resume, err := r.dev.Suspend(soon(r.t))
	if err != nil {
		r.t.Fatal(err)
	}
	return resume
}

// suspending begins a suspension and returns when the door is shut.
func (r *rig) suspending() <-chan func() {
	r.t.Helper()
	got := make(chan func(), 1)
	go func() {
		resume, err := r.dev.Suspend(soon(r.t))
		if err != nil {
			r.t.Error(err)
			resume = func() {}
		}
		got <- resume
	}()
	r.eventually("the door is shut", func() bool {
		r.sess.mu.Lock()
		defer r.sess.mu.Unlock()
		return r.sess.suspended
	})
	return got
}

// await returns what ch delivers.
func await[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case x := <-ch:
		return x
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: nothing happened", what)
		panic("not reached")
	}
}

// eventually waits for cond.
func (r *rig) eventually(what string, cond func() bool) {
	r.t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			r.t.Fatalf("never: %s", what)
		}
	}
}

// freed waits until the front end has all of cs back.
func (r *rig) freed(cs ...*Cmd) {
	r.t.Helper()
	r.eventually("the commands are freed", func() bool {
		r.f.mu.Lock()
		defer r.f.mu.Unlock()
		for _, c := range cs {
			if r.f.freed[c] == 0 {
				return false
			}
		}
		return true
	})
}

// took compares the handler's log since the last call.
func (r *rig) took(want ...string) {
	r.t.Helper()
	if got := r.h.took(); !slices.Equal(got, want) {
		r.t.Fatalf("handler was called for\n%q, want\n%q", got, want)
	}
}

// responses compares the tags of the responses so far.
func (r *rig) responses(want ...uint64) {
	r.t.Helper()
	if got := r.f.responses(); !slices.Equal(got, want) {
		r.t.Fatalf("responses to %v, want %v", got, want)
	}
}

// ended checks a command's outcome.
func ended(t testing.TB, c *Cmd, want scsi.Status) {
	t.Helper()
	if c.state != stateFinished || c.Status != want {
		t.Fatalf("command %d: %v, status %v; want finished, %v", c.Tag, c.state, c.Status, want)
	}
}

// endedWith checks that a command ended with CHECK CONDITION and this sense.
func endedWith(t testing.TB, c *Cmd, want scsi.Sense) {
	t.Helper()
	ended(t, c, scsi.CheckCondition)
	if got, err := scsi.ParseSense(c.Sense()); err != nil || !got.Is(want) {
		t.Fatalf("command %d: sense %v, %v; want %v", c.Tag, got, err, want)
	}
}

// active returns how many commands the session counts as active.
func (s *Session) countActive() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active
}

var errRefused = errors.New("refused by the test")

func (d *Device) isGone() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.gone
}
