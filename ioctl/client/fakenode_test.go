package client

import (
	"context"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"go.uber.org/goleak"

	"scstuser/internal/nodehost"
	"scstuser/ioctl/abi"
	"scstuser/ucmd"
)

func TestMain(m *testing.M) {
	nodehost.Main()
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// fakeNode plays the kernel and a node with one device: a queue of subcommands,
// and a record of what the handler did. It keeps the handler's side of the rules
// honest: it reads replies as a host does, and knows which are due.
type fakeNode struct {
	t testing.TB

	mu     sync.Mutex // guards what follows
	cond   sync.Cond  // something changed
	opened string
	nonBlk bool // get EAGAIN instead of waiting
	reg    abi.DevDesc
	idents [2]string // version, license
	opt    abi.Opt
	queue  []ucmd.Subcommand
	// due are the handles that were fetched and have no reply yet.
	due map[uint32]ucmd.Subcode
	// got are the replies that were taken, in order; refused the others.
	got, refused []ucmd.Reply
	// refuse says with what the reply to a handle is refused.
	refuse map[uint32]syscall.Errno
	// fail is what the next ioctls of a number return before they do anything,
	// or, in after, when they have taken their replies.
	fail, after map[abi.Ioctl][]syscall.Errno
	// dead is what every ioctl returns, those that wait as well.
	dead   syscall.Errno
	calls  []ioctlCall
	woken  bool
	closed int
	// pollLies: poll says ready at once, as on a FUSE file (F5).
	pollLies  bool
	polls     int
	polling   int // at this moment
	mostPolls int // at once
	blocked   int // gets that wait
	extCDB    []byte
}

// ioctlCall is one ioctl that was made.
type ioctlCall struct {
	nr            abi.Ioctl
	replies, room int
}

func newFakeNode(t testing.TB, subs ...ucmd.Subcommand) *fakeNode {
	n := &fakeNode{
		t: t, queue: subs, due: map[uint32]ucmd.Subcode{}, refuse: map[uint32]syscall.Errno{},
		fail: map[abi.Ioctl][]syscall.Errno{}, after: map[abi.Ioctl][]syscall.Errno{},
	}
	n.cond.L = &n.mu
	return n
}

// memory is n bytes at an address of this process.
func memory(a abi.Addr, n int) []byte {
	p := uintptr(a)
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&p))), n)
}

func (n *fakeNode) open(path string, nonBlocking bool) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.opened, n.nonBlk = path, nonBlocking
	if n.dead != 0 {
		return -1, n.dead
	}
	return 100, nil
}

func (n *fakeNode) close(int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed++
}

func (n *fakeNode) wake() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.woken = true
	n.cond.Broadcast()
}

func (n *fakeNode) wait(int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.polls++
	n.polling++
	n.mostPolls = max(n.mostPolls, n.polling)
	for !n.woken && len(n.queue) == 0 && n.dead == 0 && !n.pollLies {
		n.cond.Wait()
	}
	n.woken = false
	n.polling--
}

// pop takes the first of a list of errnos.
func pop(m map[abi.Ioctl][]syscall.Errno, nr abi.Ioctl) syscall.Errno {
	l := m[nr]
	if len(l) == 0 {
		return 0
	}
	m[nr] = l[1:]
	return l[0]
}

func (n *fakeNode) ioctl(fd int, nr abi.Ioctl, arg abi.Addr) (errno syscall.Errno) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if fd != 100 || n.closed != 0 {
		n.t.Errorf("%v on descriptor %d, which is closed %d times", nr, fd, n.closed)
	}
	if e := pop(n.fail, nr); e != 0 {
		return e
	}
	if n.dead != 0 {
		return n.dead
	}
	switch nr {
	case abi.IoctlRegisterDevice:
		n.check(n.reg.Decode(memory(arg, abi.SizeDevDesc)))
		// The module reads so much, whatever the strings are (fact 2).
		n.idents[0] = abi.CString(memory(n.reg.VersionStr, abi.StringMax))
		n.idents[1] = abi.CString(memory(n.reg.LicenseStr, abi.StringMax))
		n.opt = n.reg.Opt
	case abi.IoctlUnregisterDevice:
		n.nonBlk = true
		n.cond.Broadcast()
		n.calls = append(n.calls, ioctlCall{nr: nr})
	case abi.IoctlSetOptions:
		n.check(n.opt.Decode(memory(arg, abi.SizeOpt)))
	case abi.IoctlGetOptions:
		n.check(n.opt.Encode(memory(arg, abi.SizeOpt)))
	case abi.IoctlPreallocBuffer:
		var x abi.PreallocIn
		n.check(x.Decode(memory(arg, abi.SizePreallocIn)))
		if x.PBuf%ucmd.PageSize != 0 {
			return syscall.EINVAL
		}
		out := abi.PreallocOut{CmdH: 77 + uint32(x.ForClustPool)}
		n.check(out.Encode(memory(arg, abi.SizePrealloc)))
	case abi.IoctlGetExtendedCDB:
		var x abi.GetExtCDB
		n.check(x.Decode(memory(arg, abi.SizeGetExtCDB)))
		if _, ok := n.due[x.CmdH]; !ok {
			return syscall.ESRCH
		}
		copy(memory(x.ExtCDBBuffer, len(n.extCDB)), n.extCDB)
	case abi.IoctlFlushCache, abi.IoctlCapacityChanged:
		n.calls = append(n.calls, ioctlCall{nr: nr})
	case abi.IoctlReplyCmd:
		n.calls = append(n.calls, ioctlCall{nr: nr, replies: 1})
		return n.take(arg)
	case abi.IoctlReplyAndGetCmd:
		return n.getCmd(arg)
	case abi.IoctlReplyAndGetMulti:
		return n.getMulti(arg)
	default:
		n.t.Errorf("an ioctl that there is not: %v", nr)
	}
	return 0
}

func (n *fakeNode) check(err error) {
	if err != nil {
		n.t.Error(err)
	}
}

// take looks at one reply. It is guarded by mu, as the next ones are.
func (n *fakeNode) take(at abi.Addr) syscall.Errno {
	var r ucmd.Reply
	var p abi.Pointers
	b := memory(at, abi.SizeReplyCmd)
	n.check(abi.DecodeReply(b, &r, &p))
	r.Sense = slices.Clone(memory(p.Sense.Addr, p.Sense.Len))
	abi.SetWriteSame(&r, memory(p.WriteSame.Addr, p.WriteSame.Len))
	abi.SetRemap(&r, memory(p.Remap.Addr, p.Remap.Len))
	code, ok := n.due[r.Handle]
	if e := n.refuse[r.Handle]; e != 0 || !ok || code != r.Code {
		switch {
		case e != 0:
			delete(n.due, r.Handle) // consumed all the same (fact 13)
		case !ok:
			n.t.Errorf("a reply to %v h=%d, which is not due", r.Code, r.Handle)
			e = syscall.ESRCH
		default:
			n.t.Errorf("a reply to %v h=%d, which is %v", r.Code, r.Handle, code)
			e = syscall.EINVAL
		}
		n.refused = append(n.refused, r)
		return e
	}
	delete(n.due, r.Handle)
	n.got = append(n.got, r)
	n.cond.Broadcast()
	return 0
}

// next puts the next subcommand into b, waiting for it if that is asked.
func (n *fakeNode) next(b []byte, wait bool) syscall.Errno {
	n.blocked++
	n.cond.Broadcast()
	for wait && len(n.queue) == 0 && !n.nonBlk && n.dead == 0 {
		n.cond.Wait()
	}
	n.blocked--
	switch {
	case n.dead != 0:
		return n.dead
	case len(n.queue) == 0:
		return syscall.EAGAIN
	}
	s := &n.queue[0]
	if s.Code == unknownCode {
		c := abi.OnFree{}
		_, err := abi.EncodeSubcommand(b, &ucmd.Subcommand{Handle: s.Handle, Code: ucmd.SubOnFree})
		n.check(err)
		n.check(c.Encode(b[8:]))
		b[4] = 0x2a // _IOC_NR
		n.due[s.Handle] = 0
	} else {
		_, err := abi.EncodeSubcommand(b, s)
		n.check(err)
		n.due[s.Handle] = s.Code
	}
	n.queue = n.queue[1:]
	return 0
}

// unknownCode stands for a subcode that the interface does not have.
const unknownCode ucmd.Subcode = 0xff

func (n *fakeNode) getCmd(arg abi.Addr) syscall.Errno {
	preply, err := abi.PReply(memory(arg, abi.SizeGetCmd))
	n.check(err)
	c := ioctlCall{nr: abi.IoctlReplyAndGetCmd, room: 1}
	if preply != 0 {
		c.replies = 1
	}
	n.calls = append(n.calls, c)
	if preply != 0 {
		if e := n.take(preply); e != 0 {
			return e
		}
	}
	if e := pop(n.after, abi.IoctlReplyAndGetCmd); e != 0 {
		return e
	}
	return n.next(memory(arg, abi.SizeGetCmd), true)
}

func (n *fakeNode) getMulti(arg abi.Addr) (errno syscall.Errno) {
	head := memory(arg, abi.SizeMulti)
	var x abi.Multi
	n.check(x.Decode(head))
	n.calls = append(n.calls, ioctlCall{abi.IoctlReplyAndGetMulti, x.Replies(), x.Room()})
	replies, room := x.Replies(), x.Room()
	x.RepliesDone, x.CmdsCnt = 0, 0
	defer func() { n.check(x.Encode(head)) }()
	for int(x.RepliesDone) < replies {
		if e := n.take(x.MultiReplyAddr(int(x.RepliesDone))); e != 0 {
			return e
		}
		x.RepliesDone++
	}
	if e := pop(n.after, abi.IoctlReplyAndGetMulti); e != 0 {
		return e
	}
	for int(x.CmdsCnt) < room {
		e := n.next(memory(abi.MultiCmdAddr(arg, int(x.CmdsCnt)), abi.SizeGetCmd), x.CmdsCnt == 0)
		if e == syscall.EAGAIN && x.CmdsCnt > 0 {
			return 0
		}
		if e != 0 {
			return e
		}
		x.CmdsCnt++
	}
	return 0
}

// add queues subcommands.
func (n *fakeNode) add(subs ...ucmd.Subcommand) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.queue = append(n.queue, subs...)
	n.cond.Broadcast()
}

// set changes the node.
func (n *fakeNode) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
	n.cond.Broadcast()
}

// until waits for something to become true of the node.
func (n *fakeNode) until(what string, ok func() bool) {
	n.t.Helper()
	timer := time.AfterFunc(patience, func() { n.set(func() {}) })
	defer timer.Stop()
	end := time.Now().Add(patience)
	n.mu.Lock()
	defer n.mu.Unlock()
	for !ok() {
		if time.Now().After(end) {
			n.t.Fatalf("waited in vain for %s", what)
		}
		n.cond.Wait()
	}
}

// register opens a device at n, to be closed at the end of the test.
func (n *fakeNode) register(desc ucmd.Desc, o Options) *Device {
	n.t.Helper()
	if desc.Name == "" {
		desc.Name = "disk1"
	}
	if desc.Opt == (ucmd.Opt{}) {
		desc.Opt = ucmd.Opt{OnFree: 1, Reuse: 3, TST: 1, QueueAlg: 1}
	}
	d, err := open(n, "/run/node", desc, o)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := d.Close(ctx); err != nil {
			n.t.Error(err)
		}
		if n.closed != 1 {
			n.t.Errorf("the node was closed %d times", n.closed)
		}
	})
	return d
}

// exec is an EXEC subcommand without data.
func exec(h uint32) ucmd.Subcommand {
	return ucmd.Subcommand{Handle: h, Code: ucmd.SubExec, CDBLen: 6}
}

// good is the answer to exec.
func good(h uint32) ucmd.Reply {
	return ucmd.Reply{Handle: h, Code: ucmd.SubExec, Type: ucmd.ReplyCompleted}
}
