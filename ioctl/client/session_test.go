package client

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"scstuser/handlers/arena"
	"scstuser/internal/nodehost"
	"scstuser/scsi"
	"scstuser/target"
	"scstuser/ucmd"
)

// sessionRig is a handler at a mounted node whose initiator, in the host's
// process, does what the test says: task attributes and task management have no
// form in NBD.
type sessionRig struct {
	t     *testing.T
	host  *nodehost.Host
	port  *Device
	arena *arena.Arena
	ids   int // commands and functions so far
}

// sent is a command of the initiator, asked a task management function.
type (
	sent  struct{ id int }
	asked struct{ id int }
)

// sessionUcmds is how many commands the device of a sessionRig has at most.
const sessionUcmds = 8

// newSession registers a device, non-blocking, and attaches to it.
func newSession(t *testing.T, change func(*ucmd.Desc)) *sessionRig {
	t.Helper()
	r := &sessionRig{
		t: t, host: nodehost.StartWith(t, nodehost.Config{NoExport: true, MaxUcmds: sessionUcmds}),
		arena: arena.New(arena.Options{}),
	}
	var err error
	r.port, err = Open(r.host.Node, plain(func(d *ucmd.Desc) {
		d.NonBlocking = true
		if change != nil {
			change(d)
		}
	}), Options{Multi: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, r.port) })
	r.say("attach disk1")
	s := r.get(ucmd.SubAttachSess)
	if s.Handle != 0 || s.SessH == 0 || s.Sess.LUN != 7 || s.Sess.Initiator != "test" || s.Sess.Target != "target" {
		t.Errorf("R39: %+v %+v", s, s.Sess)
	}
	r.answer(s)
	if r.say("attached") != "1" {
		t.Fatal("the session was refused")
	}
	return r
}

// say has the initiator do something.
func (r *sessionRig) say(form string, args ...any) string {
	r.t.Helper()
	return r.host.Say(fmt.Sprintf(form, args...))
}

// get fetches a subcommand that must be this one.
func (r *sessionRig) get(want ucmd.Subcode) ucmd.Subcommand {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	subs := make([]ucmd.Subcommand, 1)
	for {
		_, n, err := r.port.ReplyAndGet(ctx, nil, subs)
		switch {
		case n == 1 && subs[0].Code == want:
			return subs[0]
		case n == 1:
			r.t.Fatalf("got %v, want %v", subs[0].Code, want)
		case !errors.Is(err, syscall.EAGAIN):
			r.t.Fatalf("waiting for %v: %v", want, err)
		}
	}
}

// nothing checks that no subcommand comes for a while.
func (r *sessionRig) nothing() {
	r.t.Helper()
	subs := make([]ucmd.Subcommand, 1)
	ctx, cancel := context.WithTimeout(r.t.Context(), 50*time.Millisecond)
	defer cancel()
	for ctx.Err() == nil {
		if _, n, _ := r.port.ReplyAndGet(ctx, nil, subs); n != 0 {
			r.t.Fatalf("got %v, want nothing", subs[0].Code)
		}
	}
}

// reply gives a reply, which must end with want.
func (r *sessionRig) reply(x ucmd.Reply, want error) {
	r.t.Helper()
	if _, _, err := r.port.ReplyAndGet(r.t.Context(), []ucmd.Reply{x}, nil); !errors.Is(err, want) {
		r.t.Errorf("reply to %v: %v, want %v", x.Code, err, want)
	}
}

// answer does what a handler does for s.
func (r *sessionRig) answer(s ucmd.Subcommand) {
	r.t.Helper()
	x := ucmd.Reply{Handle: s.Handle, Code: s.Code, Type: ucmd.ReplyCompleted}
	if s.AllocLen > 0 {
		var err error
		if x.PBuf, err = r.arena.Alloc(int(s.AllocLen)); err != nil {
			r.t.Fatal(err)
		}
	}
	if s.Code == ucmd.SubExec && s.Dir == scsi.DirRead {
		x.RespDataLen = s.BufLen
	}
	r.reply(x, nil)
}

// submit sends a command, which brings as much data as a WRITE takes; hold keeps
// its response from being delivered.
func (r *sessionRig) submit(cdb []byte, verb string) *sent {
	r.t.Helper()
	r.ids++
	r.say("%s %d %d 0 % x", verb, r.ids, scsi.QueueSimple, cdb)
	return &sent{r.ids}
}

func (r *sessionRig) read() *sent {
	r.t.Helper()
	cdb := scsi.EncodeRead16(0, 8, false)
	return r.submit(cdb.Slice(), "submit")
}

func (r *sessionRig) write(blocks int) *sent {
	r.t.Helper()
	cdb := scsi.EncodeWrite16(0, uint32(blocks), false)
	return r.submit(cdb.Slice(), "submit")
}

// ends checks a command's outcome.
func (r *sessionRig) ends(s *sent, st scsi.Status, sense scsi.Sense) {
	r.t.Helper()
	var status, key, asc, ascq, n, first int
	if _, err := fmt.Sscan(r.say("outcome %d", s.id), &status, &key, &asc, &ascq, &n, &first); err != nil {
		r.t.Fatal(err)
	}
	got := scsi.Sense{Key: scsi.SenseKey(key), ASC: scsi.ASC(asc<<8 | ascq)}
	if scsi.Status(status) != st || st == scsi.CheckCondition && !got.Is(sense) {
		r.t.Errorf("ended with %v %v, want %v %v", scsi.Status(status), got, st, sense)
	}
}

// manage asks for a function; of is the command of an ABORT TASK, else nil.
func (r *sessionRig) manage(fn target.TMFunc, of *sent) *asked {
	r.t.Helper()
	r.ids++
	tag := 0
	if of != nil {
		tag = of.id
	}
	r.say("tm %d %d %d", r.ids, fn, tag)
	return &asked{r.ids}
}

// managed checks a function's outcome.
func (r *sessionRig) managed(m *asked, want int32) {
	r.t.Helper()
	if got := r.say("tmover %d", m.id); got != fmt.Sprint(want) {
		r.t.Errorf("function: %s, want %d", got, want)
	}
}

func TestR31R34HandlesAtANode(t *testing.T) {
	r := newSession(t, nil)
	first, second := r.read(), r.read()
	a, b := r.get(ucmd.SubExec), r.get(ucmd.SubExec)
	if a.Handle == b.Handle {
		t.Errorf("R31: two live commands have the handle %d", a.Handle)
	}
	r.answer(b)
	r.answer(a)
	r.ends(first, scsi.Good, scsi.SenseNone)
	r.ends(second, scsi.Good, scsi.SenseNone)
	w := r.write(64)
	s := r.get(ucmd.SubAllocMem)
	if s.Handle != max(a.Handle, b.Handle)+1 {
		t.Errorf("R31: %d follows %d and %d", s.Handle, a.Handle, b.Handle)
	}
	r.answer(s)
	r.reply(ucmd.Reply{Handle: s.Handle, Code: ucmd.SubAllocMem}, syscall.EINVAL) // R34: not fetched again
	r.reply(good(s.Handle), syscall.EINVAL)
	e := r.get(ucmd.SubExec)
	if e.Handle != s.Handle {
		t.Errorf("R34: EXEC has the handle %d, ALLOC_MEM had %d", e.Handle, s.Handle)
	}
	r.answer(e)
	r.ends(w, scsi.Good, scsi.SenseNone)
	r.reply(good(s.Handle), syscall.EINVAL)
}

func TestR32OrderAtANode(t *testing.T) {
	r := newSession(t, nil)
	rd, w1, w2 := r.read(), r.write(8), r.write(8)
	m := r.manage(target.ClearACA, nil)
	r.answer(r.get(ucmd.SubTMReceived))
	r.answer(r.get(ucmd.SubTMDone))
	latest, earlier := r.get(ucmd.SubAllocMem), r.get(ucmd.SubAllocMem)
	if latest.Handle < earlier.Handle {
		t.Errorf("ALLOC_MEM %d came before %d", latest.Handle, earlier.Handle)
	}
	r.answer(latest)
	r.answer(earlier)
	for i, want := range []scsi.Opcode{scsi.OpRead16, scsi.OpWrite16, scsi.OpWrite16} {
		e := r.get(ucmd.SubExec)
		if scsi.Opcode(e.CDB[0]) != want {
			t.Errorf("EXEC %d: %#x, want %v", i, e.CDB[0], want)
		}
		r.answer(e)
	}
	for _, s := range []*sent{rd, w1, w2} {
		r.ends(s, scsi.Good, scsi.SenseNone)
	}
	r.managed(m, target.TMSuccess)
}

func TestR33R68AbortAtANode(t *testing.T) {
	r := newSession(t, nil)
	r.read()
	r.write(8)
	m := r.manage(target.AbortTaskSet, nil) // before anything is fetched
	r.answer(r.get(ucmd.SubTMReceived))
	r.answer(r.get(ucmd.SubTMDone))
	r.nothing()
	r.managed(m, target.TMSuccess)
	aborted := r.read()
	e := r.get(ucmd.SubExec)
	m = r.manage(target.AbortTask, aborted) // the handler has it
	if s := r.get(ucmd.SubTMReceived); s.CmdHToAbort != e.Handle || s.TMFunc != 0 {
		t.Errorf("R67: %+v, want to abort %d", s, e.Handle)
	} else {
		r.answer(s)
	}
	r.nothing()
	r.answer(e)
	r.answer(r.get(ucmd.SubTMDone))
	r.managed(m, target.TMSuccess)
}

func TestR66R67FunctionsAtANode(t *testing.T) {
	r := newSession(t, nil)
	for _, x := range []struct {
		fn           target.TMFunc
		result, want int32
	}{
		{target.AbortTaskSet, 0, 0}, {target.ClearACA, target.TMTaskNotExist, 0},
		{target.ClearTaskSet, target.TMNotSupported, target.TMNotSupported},
		{target.LUNReset, target.TMRejected, target.TMRejected}, {target.TargetReset, target.TMFailed, target.TMFailed},
	} {
		m := r.manage(x.fn, nil)
		for _, code := range []ucmd.Subcode{ucmd.SubTMReceived, ucmd.SubTMDone} {
			s := r.get(code)
			if s.TMFunc != int32(x.fn) || s.CmdHToAbort != 0 || s.CmdSNSet {
				t.Errorf("R67: %+v, want function %d", s, x.fn)
			}
			result := x.result
			if code == ucmd.SubTMReceived {
				result = target.TMFailed // is ignored
			}
			r.reply(ucmd.Reply{Handle: s.Handle, Code: code, Result: result}, nil)
		}
		r.managed(m, x.want)
	}
}

func TestR43R48ParseAtANode(t *testing.T) {
	r := newSession(t, func(d *ucmd.Desc) { d.Opt.Parse = uint8(ucmd.ParseCall) })
	rd := r.read()
	s := r.get(ucmd.SubParse)
	if s.QueueType != scsi.QueueSimple {
		t.Errorf("PARSE: %+v", s)
	}
	r.reply(ucmd.Reply{Handle: s.Handle, Code: s.Code, QueueType: scsi.QueueHeadOfQueue, Dir: scsi.DirRead,
		DataLen: 4096, BufLen: 4096, OpFlags: s.OpFlags}, nil)
	e := r.get(ucmd.SubExec)
	if e.QueueType != scsi.QueueHeadOfQueue {
		t.Errorf("R48: EXEC has queue type %v", e.QueueType)
	}
	r.answer(e)
	r.ends(rd, scsi.Good, scsi.SenseNone)
}

func TestR49R50AllocLenAtANode(t *testing.T) {
	r := newSession(t, nil)
	for _, x := range []struct{ blocks, want int32 }{{1, 4096}, {9, 8192}, {24, 16384}, {40, 32768}, {264, 262144}} {
		w := r.write(int(x.blocks))
		s := r.get(ucmd.SubAllocMem)
		if s.AllocLen != x.want {
			t.Errorf("%d blocks: alloc_len %d, want %d", x.blocks, s.AllocLen, x.want)
		}
		r.answer(s)
		r.answer(r.get(ucmd.SubExec))
		r.ends(w, scsi.Good, scsi.SenseNone)
	}
}

func TestR61R64OnFreeAtANode(t *testing.T) {
	r := newSession(t, func(d *ucmd.Desc) { d.Opt.OnFree, d.Opt.Reuse = uint8(ucmd.OnFreeCall), uint8(ucmd.ReuseNone) })
	cdb := scsi.EncodeRead16(0, 8, false)
	rd := r.submit(cdb.Slice(), "hold")
	e := r.get(ucmd.SubExec)
	r.answer(e)
	r.ends(rd, scsi.Good, scsi.SenseNone)
	r.nothing() // the target still has the buffer
	r.say("deliver %d", rd.id)
	s := r.get(ucmd.SubOnFree)
	if s.Handle != e.Handle || s.PBuf == 0 || s.BufferCached || s.RespDataLen != 4096 || s.Delivery != 0 {
		t.Errorf("ON_FREE_CMD: %+v", s)
	}
	r.answer(s)
}

// EXT_COPY_REMAP has no producer here. What can come is a reply to it.
func TestR65ReplyWithoutRemapAtANode(t *testing.T) {
	r := newSession(t, nil)
	rd := r.read()
	e := r.get(ucmd.SubExec)
	r.reply(ucmd.Reply{Handle: e.Handle, Code: ucmd.SubExtCopyRemap}, syscall.EINVAL)
	r.ends(rd, scsi.CheckCondition, scsi.SenseLUNotSupported)
}

// A device that has all the commands that it may have takes task management.
func TestR69NeverRefusedAtANode(t *testing.T) {
	r := newSession(t, nil)
	for range sessionUcmds {
		r.read()
	}
	r.ends(r.read(), scsi.TaskSetFull, scsi.SenseNone)
	var execs []ucmd.Subcommand
	for range sessionUcmds {
		execs = append(execs, r.get(ucmd.SubExec))
	}
	m := r.manage(target.AbortTaskSet, nil)
	r.answer(r.get(ucmd.SubTMReceived))
	for _, e := range execs {
		r.answer(e)
	}
	r.answer(r.get(ucmd.SubTMDone))
	r.managed(m, target.TMSuccess)
}

func TestR73ListingAtANode(t *testing.T) {
	r := newSession(t, nil)
	rd := r.read()
	e := r.get(ucmd.SubExec)
	for _, want := range []string{
		`(state 3, ref 1), sent_to_user 1, seen_by_user 1, aborted 0, jammed 0`,
		`(state 7, ref 1), sent_to_user 0, seen_by_user 1, aborted 0, jammed 0`, // its buffer is idle
	} {
		list := r.host.Commands("disk1")
		form := fmt.Sprintf("^ucmd [0-9a-f]{16} %s, scst_cmd [0-9a-f]{16}\n$", regexp.QuoteMeta(want))
		if !regexp.MustCompile(form).MatchString(list) {
			t.Errorf("%q, want %s", list, form)
		}
		if strings.Contains(want, "state 3") {
			r.answer(e)
			r.ends(rd, scsi.Good, scsi.SenseNone)
		}
	}
}
