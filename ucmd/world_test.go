package ucmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing/synctest"
	"time"

	"scstuser/scsi"
	"scstuser/target"
)

// A world is a device with everything around it that can act: initiators, a
// handler, whoever flushes, preallocates, resets and kills. It does one action
// after the other, by name, on a stepper: scenarios are lists of actions, and
// the explorer tries all lists.

// worldConfig is what a world begins with.
type worldConfig struct {
	desc   Desc
	limits Limits
	faults faults
	// hold: responses wait for a deliver action.
	hold bool
	// noAEN: events become unit attentions.
	noAEN bool
	// stalls: goroutines may stand still for longer than a release waits.
	stalls bool
	// noSession: no session is attached at the beginning.
	noSession bool
	// shared: there is a second device, disk2, which shares the pool.
	shared bool
	// cmds are the commands that can be submitted, by name.
	cmds []cmdDef
}

// cmdDef is a command that can be submitted.
type cmdDef struct {
	name string
	cdb  scsi.CDB
	q    scsi.QueueType
	dev2 bool // for the second device
}

// world is one run.
type world struct {
	cfg  *worldConfig
	st   *stepper
	reg  *Registry
	dev  *Device
	dev2 *Device
	mem  *testMemory
	sess *target.Session
	ses2 *target.Session // with dev2
	cmds []*worldCmd
	// hand is what the handler has, in the order in which it was fetched.
	hand []handed
	// answered are handles that the handler has answered, the latest last.
	answered []Reply
	// given counts how often the handler got each buffer back.
	given map[uint64]int
	// killed: the device's release has begun.
	killed bool
	// ending: responses are delivered at once.
	ending bool
	// tmsOut are the task management functions that are under way.
	tmsOut   int
	failures []string
	// say gets the events and outcomes; nil: nobody listens.
	say func(string)

	// mu guards attached and calls of say: goroutines that were woken run
	// beside the one that woke them, up to their next lock.
	mu       sync.Mutex
	attached []attachedSession
	// past are the devices that dev continues.
	past []*Device
}

// handed is a subcommand in the handler's hands.
type handed struct {
	Subcommand
	dev *Device
}

type attachedSession struct {
	name string
	sess *target.Session
}

// worldCmd is one command and what its front end saw.
type worldCmd struct {
	cmdDef
	c         target.Cmd
	w         *world
	submitted bool
	responses int
	waiting   bool // the response has not been delivered
	freed     int
	result    string
}

// newWorld registers the device and attaches a session, without stopping
// anywhere. It must run in a synctest bubble.
func newWorld(cfg *worldConfig, say func(string)) *world {
	w := &world{cfg: cfg, st: newStepper(), mem: newTestMemory(), given: map[uint64]int{}, say: say}
	w.st.setThrough(true)
	w.st.gen = func() uint64 { return w.dev.gen }
	w.reg = NewRegistry(cfg.limits)
	w.reg.beforeLock = w.st.before
	w.st.looping = w.looping
	w.dev = w.register(cfg.desc)
	w.dev.faults = cfg.faults
	if cfg.shared {
		second := cfg.desc
		second.Name = "disk2"
		w.dev2 = w.register(second)
	}
	for i := range cfg.cmds {
		c := &worldCmd{cmdDef: cfg.cmds[i], w: w}
		c.c.Tag = uint64(i)
		w.cmds = append(w.cmds, c)
	}
	return w
}

func (w *world) observer(name string) Observer {
	if w.say == nil {
		return nil
	}
	return worldObserver{w, name}
}

func (w *world) register(desc Desc) *Device {
	d, err := w.reg.Register(desc, w.mem, w.observer(desc.Name))
	if err != nil {
		panic(err)
	}
	return d
}

// worldObserver says what happens; a second device's name goes in front.
type worldObserver struct {
	w    *world
	name string
}

func (o worldObserver) Event(e Event) {
	if o.name == "disk2" {
		o.w.tell("disk2 %s", e)
		return
	}
	o.w.tell("%s", e)
}

func (w *world) tell(format string, args ...any) {
	if w.say != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.say(fmt.Sprintf(format, args...))
	}
}

func (w *world) fail(format string, args ...any) {
	w.failures = append(w.failures, fmt.Sprintf(format, args...))
	w.tell("FAILURE: "+format, args...)
}

// start attaches the first session, and one to the second device.
func (w *world) start() {
	w.sess = w.attachNow(w.dev)
	if w.dev2 != nil {
		w.ses2 = w.attachNow(w.dev2)
	}
	w.answered = nil
	w.st.setThrough(false)
}

func (w *world) attachNow(d *Device) (s *target.Session) {
	go func() { s, _ = d.tdev.NewSession(context.Background(), worldFront{w}, sessionInfo("i")) }()
	synctest.Wait()
	var sub Subcommand
	d.mu.Lock()
	ok := d.take(&sub)
	d.mu.Unlock()
	if !ok || sub.Code != SubAttachSess {
		panic("no ATTACH_SESS")
	}
	if err := d.Reply(&Reply{Handle: sub.Handle, Code: sub.Code}); err != nil {
		panic(err)
	}
	synctest.Wait()
	return s
}

func sessionInfo(initiator string) target.SessionInfo {
	return target.SessionInfo{LUN: 5, Initiator: initiator, Target: "t", TransportVersion: 0x0be0}
}

// worldFront is the front end of all sessions.
type worldFront struct{ w *world }

func (worldFront) RdyToXfer(*target.Cmd) target.Verdict { return target.Continue }

func (f worldFront) XmitResponse(c *target.Cmd) {
	x := f.w.cmds[c.Tag]
	x.responses++
	x.result = c.Status.String()
	if s := senseOf(c); s != "" {
		x.result += " " + s
	}
	f.w.tell("%s: %s", x.name, x.result)
	if f.w.cfg.hold && !f.w.ending {
		x.waiting = true
		return
	}
	c.Delivered(target.Delivered)
}

func (f worldFront) Freed(c *target.Cmd) { f.w.cmds[c.Tag].freed++ }

func (f worldFront) AEN(_ *target.Session, ua target.UnitAttention) bool {
	if f.w.cfg.noAEN {
		return false
	}
	f.w.tell("event %02x/%02x/%02x", uint8(ua.Key), uint8(ua.ASC>>8), uint8(ua.ASC))
	return true
}

func (f worldFront) SessionGone(*target.Session) { f.w.tell("session gone") }

func (f worldFront) TMDone(m *target.MgmtCmd) {
	f.w.tmsOut--
	f.w.tell("task management done: %d", m.Result)
}

// op is what an action does.
type op uint8

const (
	opSubmit op = iota
	opGet
	opReply
	opDeliver
	opAbort
	opReset
	opFlush
	opPurge
	opPrealloc
	opExtCDB
	opOptions
	opKill
	opAttach
	opDetach
	opRequeue
	opWait
	opCapacity
	opBlockedGet
	opUnregister
	opGone
	opRegister
	opStall
	opCount
)

var opNames = [opCount]string{
	"submit", "get", "reply", "deliver", "abort", "reset", "flush", "purge", "prealloc",
	"extended-cdb", "options", "kill", "attach", "detach", "requeue", "wait", "capacity-changed",
	"blocked-get", "unregister", "handler-gone", "register", "stall",
}

// action is one thing that can be done.
type action struct {
	op    op
	cmd   int    // index, for submit, deliver and abort
	h     uint32 // for reply, extended-cdb and requeue
	reply replyKind
	arg   string // what is left, as text
	dev2  bool   // concerns the second device
}

// replyKind is how the handler answers.
type replyKind uint8

const (
	replyGood       replyKind = iota
	replyWrong                // another subcommand's
	replyBackground           // EXEC
	replyCheck                // CHECK CONDITION with sense
	replyBusy                 // BUSY
	replyNoBuffer             // pbuf 0
	replyUnaligned            // pbuf
	replyUnmapped             // pbuf
	replyAgain                // once more to what was answered
	replyUnknown              // an unknown handle
	replyRefuse               // a result of -EBUSY
	replyWriteSame            // DO_WRITE_SAME of the whole range
	replyBidi                 // PARSE: makes the command BIDI
	replyShort                // half of what a READ asked for
	replyTooLong              // more than a READ asked for
	replyCompleted            // once more, the COMPLETED after a BACKGROUND
	replyUnasked              // to what the handler does not have
	replyNoSense              // CHECK CONDITION without sense
	replyKinds
)

var replyNames = [replyKinds]string{
	"good", "wrong-subcode", "background", "check", "busy", "no-buffer", "unaligned", "unmapped",
	"again", "unknown-handle", "refuse", "write-same", "bidi", "short", "too-long",
	"again-completed", "unasked", "check-without-sense",
}

// String is the action as scenarios spell it.
func (w *world) spell(a action) string {
	s := opNames[a.op]
	switch a.op {
	case opSubmit, opDeliver, opAbort:
		s += " " + w.cfg.cmds[a.cmd].name
	case opReply:
		s += fmt.Sprintf(" h=%d %s", a.h, replyNames[a.reply])
	case opExtCDB, opRequeue:
		s += fmt.Sprintf(" h=%d", a.h)
	}
	if a.arg != "" {
		s += " " + a.arg
	}
	if a.dev2 {
		s += " disk2"
	}
	return s
}

// do carries an action out, on a goroutine of its own.
func (w *world) do(a action) {
	defer func() {
		if e := recover(); e != nil {
			w.fail("panic: %v", e)
			// All others stand in front of their locks: if this one is
			// taken, it is by us.
			w.dev.mu.TryLock()
			w.dev.mu.Unlock()
		}
	}()
	d, sess := w.dev, w.sess
	if a.dev2 {
		d, sess = w.dev2, w.ses2
	}
	switch a.op {
	case opSubmit:
		x := w.cmds[a.cmd]
		x.submitted = true
		tag := x.c.Tag
		x.c.Init(x.cdb.Slice(), x.q)
		x.c.Tag = tag
		if x.dev2 {
			sess = w.ses2
		}
		sess.Submit(&x.c)
	case opGet:
		w.get(d)
	case opReply:
		w.reply(d, a)
	case opDeliver:
		x := w.cmds[a.cmd]
		x.waiting = false
		x.c.Delivered(target.Delivered)
	case opAbort:
		w.tmsOut++
		sess.TaskMgmt(&target.MgmtCmd{Fn: target.AbortTask, Tag: uint64(a.cmd)})
	case opReset:
		w.tmsOut++
		sess.TaskMgmt(&target.MgmtCmd{Fn: target.LUNReset})
	case opFlush:
		w.outcome(d.FlushCache())
	case opPrealloc:
		pages := 1
		if a.arg != "" {
			fmt.Sscanf(a.arg, "pages=%d", &pages)
		}
		h, err := d.Prealloc(w.mem.alloc(pages*PageSize), pages*PageSize, false)
		w.tell("h=%d", h)
		w.outcome(err)
	case opExtCDB:
		_, err := d.ExtendedCDB(a.h)
		w.outcome(err)
	case opOptions:
		o := d.GetOptions()
		for _, f := range strings.Fields(a.arg) {
			setOption(&o, f)
		}
		w.outcome(d.SetOptions(o))
	case opKill:
		w.killed = w.killed || d == w.dev
		d.Release()
	case opAttach:
		s, err := d.tdev.NewSession(context.Background(), worldFront{w}, sessionInfo(a.arg))
		if err == nil {
			w.mu.Lock()
			w.attached = append(w.attached, attachedSession{a.arg, s})
			w.mu.Unlock()
		}
		w.outcome(err)
	case opDetach:
		s := sess
		for _, x := range w.attached {
			if x.name == a.arg {
				s = x.sess
			}
		}
		w.outcome(s.Close(context.Background()))
	case opRequeue:
		d.Requeue(a.h)
		w.hand = slices.DeleteFunc(w.hand, func(x handed) bool { return x.Handle == a.h && x.dev == d })
	case opCapacity:
		d.CapacityChanged()
	case opUnregister:
		d.Unregister()
	case opGone:
		d.HandlerGone()
	case opRegister:
		next, err := w.reg.Register(w.cfg.desc, w.mem, w.observer(w.cfg.desc.Name))
		if err == nil {
			w.mu.Lock()
			w.past = append(w.past, w.dev)
			w.dev = next
			w.mu.Unlock()
		}
		w.outcome(err)
	case opBlockedGet:
		subs := make([]Subcommand, 1)
		_, n, err := d.ReplyAndGet(context.Background(), nil, subs)
		if n == 1 {
			w.got(d, subs[0])
			return
		}
		w.outcome(err)
	}
}

// setOption applies "name=number" to options.
func setOption(o *Opt, s string) {
	name, value, _ := strings.Cut(s, "=")
	var n uint8
	fmt.Sscan(value, &n)
	switch name {
	case "parse":
		o.Parse = n
	case "on_free":
		o.OnFree = n
	case "reuse":
		o.Reuse = n
	}
}

// outcome tells an error that somebody got.
func (w *world) outcome(err error) {
	if err != nil {
		w.tell("error: %v", err)
	}
}

// get fetches one subcommand, if one is ready.
func (w *world) get(d *Device) {
	var s Subcommand
	d.mu.Lock()
	ok := d.take(&s)
	d.mu.Unlock()
	if !ok {
		w.tell("EAGAIN")
		return
	}
	w.got(d, s)
}

// got looks at a subcommand that the handler has fetched.
func (w *world) got(d *Device, s Subcommand) {
	if subcodeNames[s.Code] == "" {
		w.fail("h=%d was fetched in a state that is no subcommand: %v", s.Handle, State(s.Code))
	}
	w.hand = append(w.hand, handed{s, d})
	if s.Code == SubOnCachedMemFree || s.Code == SubOnFree && s.PBuf != 0 && !s.BufferCached {
		if w.given[s.PBuf]++; w.given[s.PBuf] > 1 {
			w.fail("I3: buffer %#x was given back %d times", s.PBuf, w.given[s.PBuf])
		}
	}
	w.tell("=> %s", describe(&s))
}

// describe shows what a subcommand says, for scenarios.
func describe(s *Subcommand) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v h=%d", s.Code, s.Handle)
	buf := func(p uint64) string {
		if p == 0 {
			return "none"
		}
		return fmt.Sprintf("%d", p>>24&0xff) // the address says the number of its allocation
	}
	switch s.Code {
	case SubParse:
		fmt.Fprintf(&b, " %v data_len=%d bufflen=%d", s.Dir, s.DataLen, s.BufLen)
	case SubAllocMem:
		fmt.Fprintf(&b, " alloc_len=%d", s.AllocLen)
	case SubExec:
		fmt.Fprintf(&b, " %v bufflen=%d alloc_len=%d buffer=%s", s.Dir, s.BufLen, s.AllocLen, buf(s.PBuf))
		if s.Dir == scsi.DirBidi {
			fmt.Fprintf(&b, " out_bufflen=%d", s.OutBufLen)
		}
	case SubOnFree:
		fmt.Fprintf(&b, " buffer=%s cached=%v aborted=%v status=%v delivery=%d resp_len=%d", buf(s.PBuf), s.BufferCached, s.Aborted, s.Status, s.Delivery, s.RespDataLen)
	case SubOnCachedMemFree:
		fmt.Fprintf(&b, " buffer=%s", buf(s.PBuf))
	case SubTMReceived, SubTMDone:
		fmt.Fprintf(&b, " fn=%d", s.TMFunc)
		if s.CmdHToAbort != 0 {
			fmt.Fprintf(&b, " cmd_h_to_abort=%d", s.CmdHToAbort)
		}
	case SubAttachSess:
		fmt.Fprintf(&b, " sess_h=%d initiator=%s", s.SessH, s.Sess.Initiator)
	case SubDetachSess:
		fmt.Fprintf(&b, " sess_h=%d", s.SessH)
	}
	return b.String()
}

// reply answers what the handler has in hand, or has had.
func (w *world) reply(d *Device, a action) {
	i := slices.IndexFunc(w.hand, func(x handed) bool { return x.Handle == a.h && x.dev == d })
	var r Reply
	switch {
	case a.reply == replyUnknown, a.reply == replyUnasked:
		r = Reply{Handle: a.h, Code: SubExec, Type: ReplyCompleted}
	case a.reply == replyAgain, a.reply == replyCompleted:
		for _, x := range w.answered {
			if x.Handle == a.h {
				r = x
			}
		}
		if a.reply == replyCompleted {
			r.Type = ReplyCompleted
		}
	case i < 0:
		w.fail("the handler does not have h=%d", a.h)
		return
	default:
		s := w.hand[i].Subcommand
		r = w.answer(&s, a.reply)
		w.hand = slices.Delete(w.hand, i, i+1)
	}
	if i >= 0 || a.reply == replyAgain || a.reply == replyCompleted {
		w.answered = append(slices.DeleteFunc(w.answered, func(x Reply) bool { return x.Handle == a.h }), r)
	}
	err := d.Reply(&r)
	w.outcome(err)
	if a.reply == replyUnknown && err != errESRCH {
		w.fail("R25: reply to an unknown handle: %v", err)
	}
}

// answer makes a reply.
func (w *world) answer(s *Subcommand, k replyKind) Reply {
	r := Reply{Handle: s.Handle, Code: s.Code}
	if k == replyWrong {
		r.Code = SubTMDone
		if s.Code == SubTMDone {
			r.Code = SubExec
		}
		return r
	}
	if k == replyRefuse {
		r.Result = -int32(syscall.EBUSY)
	}
	switch s.Code {
	case SubParse:
		r.Dir, r.LBA, r.DataLen, r.BufLen = s.Dir, int64(s.LBA), s.DataLen, s.BufLen
		r.OpFlags, r.QueueType = s.OpFlags|scsi.OpInfoValid, s.QueueType
		if s.OpFlags&scsi.OpBlocksLength != 0 {
			r.DataLen, r.BufLen = s.DataLen*512, s.BufLen*512
		}
		if k == replyBidi {
			r.Dir, r.BufLen, r.OutBufLen = scsi.DirBidi, 4096, 8192
		}
		w.status(&r, k)
	case SubAllocMem:
		r.PBuf = w.buffer(int(s.AllocLen), k)
	case SubExec:
		w.execReply(s, k, &r)
	}
	return r
}

func (w *world) execReply(s *Subcommand, k replyKind, r *Reply) {
	r.Type = ReplyCompleted
	switch k {
	case replyBackground:
		r.Type = ReplyBackground
	case replyWriteSame:
		r.Type = ReplyDoWriteSame
	case replyCheck, replyBusy, replyNoSense:
		w.status(r, k)
		return
	}
	if s.Dir == scsi.DirRead {
		r.RespDataLen = s.BufLen
		switch k {
		case replyShort:
			r.RespDataLen /= 2
		case replyTooLong:
			r.RespDataLen++
		}
		if s.PBuf == 0 {
			r.PBuf = w.buffer(int(s.AllocLen), k)
		}
	}
}

func (w *world) status(r *Reply, k replyKind) {
	switch k {
	case replyBusy:
		r.Status = scsi.Busy
	case replyNoSense:
		r.Status = scsi.CheckCondition
	case replyCheck:
		r.Status = scsi.CheckCondition
		r.Sense = scsi.SenseInvalidFieldInCDB.Append(nil, false)
	}
}

func (w *world) buffer(n int, k replyKind) uint64 {
	switch k {
	case replyNoBuffer:
		return 0
	case replyUnaligned:
		return w.mem.alloc(n+PageSize) + 8
	case replyUnmapped:
		return w.mem.alloc(0) + 1<<23
	}
	return w.mem.alloc(n)
}

// toRest lets all goroutines go on until none is in front of a lock.
func (w *world) toRest() {
	for range maxSteps {
		all := w.st.threads()
		if len(all) == 0 {
			return
		}
		w.st.resume(all[0])
	}
	w.looping()
	w.st.setThrough(true)
}

// maxSteps is more than any way through a world takes.
const maxSteps = 20000

// looping is told of somebody who does not come to an end.
func (w *world) looping() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failures = append(w.failures, "I5: it loops without end")
}

// step is one action from begin to rest.
func (w *world) act(a action) {
	switch a.op {
	case opPurge:
		// An object is idle for one to two intervals before it goes (R63).
		for range 2 {
			time.Sleep(w.purgeInterval())
			w.st.settle()
			w.toRest()
		}
		return
	case opStall:
		// Everybody stands still for longer than anybody waits.
		time.Sleep(2 * w.cfg.limits.ReleaseTimeout)
		w.st.settle()
		return
	case opWait:
		d, err := time.ParseDuration(a.arg)
		if err != nil {
			w.fail("wait %q: %v", a.arg, err)
		}
		time.Sleep(d)
		w.st.settle()
	default:
		w.st.begin(func() { w.do(a) })
	}
	w.toRest()
}

func (w *world) purgeInterval() time.Duration {
	if s := w.cfg.desc.SGVPurgeInterval; s > 0 {
		return time.Duration(s) * time.Second
	}
	return time.Minute
}

// end brings the world to its end, whatever state it is in: everything goes
// on, responses are delivered, the handler dies, and everything has to be gone
// (I1, I3, I4, I5).
func (w *world) end() {
	w.ending = true
	w.st.letGo()
	w.deliverAll()
	for _, d := range append([]*Device{w.dev2, w.dev}, w.past...) {
		if d == nil {
			continue
		}
		d.Release()
		w.st.settle()
		w.deliverAll()
		// Nothing but time can be missing now: somebody waits for an answer.
		for i := 0; i < 5 && !isClosed(d.done); i++ {
			time.Sleep(40 * time.Second)
			w.st.settle()
			w.deliverAll()
		}
		w.checkReleased(d)
	}
	for _, x := range w.cmds {
		if want := b2i(x.submitted); x.responses != want || x.freed != want {
			w.fail("I1: command %s: %d responses, freed %d times, want %d", x.name, x.responses, x.freed, want)
		}
	}
	if w.tmsOut != 0 {
		w.fail("I1: %d task management functions did not end", w.tmsOut)
	}
	if len(w.failures) > 0 {
		// What waits for the lost can go now.
		w.dev.faults = faults{}
		w.dev.unjamAllReady()
		w.st.settle()
	}
}

func (w *world) deliverAll() {
	for i, x := range w.cmds {
		if x.waiting {
			w.do(action{op: opDeliver, cmd: i})
			w.st.settle()
		}
	}
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// checkReleased looks at a device that is over.
func (w *world) checkReleased(d *Device) {
	if !isClosed(d.done) {
		w.fail("I5: the release does not end; left: %v", d.left())
		return
	}
	if d.stuck != nil && !w.cfg.stalls { // else it had reason to say so
		w.fail("I5: %v", d.stuck)
		return
	}
	if l := d.left(); len(l) > 0 {
		w.fail("I4: left: %v", l)
	}
	if d != w.dev || w.dev2 != nil {
		return // the pool, the memory or the name are another one's now
	}
	for _, s := range d.PoolStats() {
		if s.IdleObjects != 0 || s.TotalPages != 0 {
			w.fail("I4: pool %s is not empty: %+v", s.Name, s)
		}
	}
	if n := w.mem.mapped(); n != 0 {
		w.fail("I3: %d buffers are still mapped", n)
	}
	for _, x := range w.reg.Devices() {
		if x == d {
			w.fail("I4: the name is not free")
		}
	}
}

// left is Commands without stopping in front of the lock.
func (d *Device) left() (l []Command) {
	d.mu.Mutex.Lock()
	defer d.mu.Unlock()
	for _, u := range d.hash {
		for ; u != nil; u = u.hashNext {
			c := u.command(target.Now())
			c.Owners = ownersText(u.owners)
			l = append(l, c)
		}
	}
	return l
}

// check looks at the invariants between two steps. All goroutines stand still.
func (w *world) check() {
	for _, d := range []*Device{w.dev, w.dev2} {
		if d == nil {
			continue
		}
		if err := d.checkState(); err != nil {
			w.fail("%v", err)
		}
	}
	for _, x := range w.cmds {
		if x.responses > 1 || x.freed > 1 {
			w.fail("I1: command %s: %d responses, freed %d times", x.name, x.responses, x.freed)
		}
	}
}

// checkState looks at what must hold whenever the lock is free.
func (d *Device) checkState() error {
	if !d.mu.TryLock() {
		return errors.New("somebody stands in front of a lock with the device's lock taken")
	}
	defer d.mu.Unlock()
	n := 0
	owners := map[*Ucmd]string{}
	for i := range d.hash {
		var prev *Ucmd
		for u := d.hash[i]; u != nil; prev, u = u, u.hashNext {
			n++
			sum := int32(0)
			for _, k := range u.owners {
				if k < 0 {
					return fmt.Errorf("I2: h=%d: owners %v", u.h, u.owners)
				}
				sum += int32(k)
			}
			switch {
			case sum != u.ref || u.ref <= 0:
				return fmt.Errorf("I2: h=%d: ref %d, owners %v", u.h, u.ref, u.owners)
			case u.hashPrev != prev || int(u.h)&(len(d.hash)-1) != i || u.dev != d:
				return fmt.Errorf("h=%d: not where it belongs in the hash", u.h)
			case u.sentToUser && !u.seenByUser:
				return fmt.Errorf("h=%d: sent but not seen", u.h)
			case u.cmd != nil && u.owners[OwnerCreation] == 0:
				return fmt.Errorf("h=%d: has a command and no creation reference", u.h)
			}
			if u.bufUcmd != nil {
				if other := owners[u.bufUcmd]; other != "" {
					return fmt.Errorf("I3: the buffer of h=%d serves h=%d and h=%s", u.bufUcmd.h, u.h, other)
				}
				owners[u.bufUcmd] = fmt.Sprint(u.h)
			}
		}
	}
	if n != d.count {
		return fmt.Errorf("%d ucmds are in the hash, the count is %d", n, d.count)
	}
	for _, o := range d.pool.IdleOwners() {
		u := o.(*Ucmd)
		if h := owners[u]; h != "" {
			return fmt.Errorf("I3: the buffer of h=%d is idle and serves h=%s", u.h, h)
		}
		if u.owners[OwnerSGV] == 0 {
			return fmt.Errorf("I2: the pool has a buffer of h=%d without a reference", u.h)
		}
	}
	return d.checkReady()
}

// checkReady looks at the ready list.
func (d *Device) checkReady() error {
	mgmtOver := false
	var prev *Ucmd
	for u := d.readyFirst; u != nil; prev, u = u, u.readyNext {
		switch {
		case u.readyPrev != prev || !u.onReady:
			return fmt.Errorf("h=%d: wrongly linked in the ready list", u.h)
		case u.ref <= 0:
			return fmt.Errorf("h=%d: ready and without a reference", u.h)
		case u.state.management() && mgmtOver && !u.sentToUser:
			return fmt.Errorf("R32: h=%d: management behind a command", u.h)
		case subcodeNames[Subcode(u.state)] == "":
			return fmt.Errorf("h=%d: ready in state %v, which is no subcommand", u.h, u.state)
		}
		mgmtOver = mgmtOver || !u.state.management() && !u.sentToUser
	}
	if d.readyLast != prev {
		return errors.New("the ready list has another end")
	}
	return nil
}
