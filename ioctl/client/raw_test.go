package client

import (
	"encoding/binary"
	"fmt"
	"syscall"
	"testing"
	"time"

	"scstuser/handlers/arena"
	"scstuser/internal/nodehost"
	"scstuser/ioctl/abi"
	"scstuser/scsi"
	"scstuser/ucmd"
)

// rawNode is an open node with some memory, for rules about what is in that
// memory: nothing of package abi stands between the test and the node.
type rawNode struct {
	t    *testing.T
	host *nodehost.Host
	sys  *linux
	fd   int
	addr abi.Addr
	mem  []byte
}

// Where things are in a rawNode's memory, each in a page of its own.
const (
	argAt     = 0
	stringsAt = ucmd.PageSize
	replyAt   = 2 * ucmd.PageSize
	dataAt    = 3 * ucmd.PageSize
	rawLen    = 16 * ucmd.PageSize
)

// openRaw opens the node of a host.
func openRaw(t *testing.T, h *nodehost.Host, nonBlocking bool) *rawNode {
	t.Helper()
	a := arena.New(arena.Options{})
	addr, err := a.Alloc(rawLen)
	if err != nil {
		t.Fatal(err)
	}
	r := &rawNode{t: t, host: h, sys: mustLinux(t), addr: abi.Addr(addr), mem: a.Bytes(addr, rawLen)}
	if r.fd, err = r.sys.open(h.Node, nonBlocking); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.sys.close(r.fd) })
	return r
}

// rawSession is a rawNode with a device, of these options, to which the test's
// initiator is attached.
func rawSession(t *testing.T, change func(*ucmd.Desc)) *rawNode {
	t.Helper()
	r := openRaw(t, nodehost.StartWith(t, nodehost.Config{NoExport: true}), true)
	if errno := r.register(plain(change)); errno != 0 {
		t.Fatal(errno)
	}
	r.host.Say("attach disk1")
	r.reply(ucmd.Reply{Handle: r.get(uint32(abi.SubcodeAttachSess)), Code: ucmd.SubAttachSess}, 0)
	if r.host.Say("attached") != "1" {
		t.Fatal("the session was refused")
	}
	return r
}

// do makes an ioctl on what is at argAt.
func (r *rawNode) do(nr uint32) syscall.Errno {
	return r.sys.ioctl(r.fd, abi.Ioctl(nr), r.addr+argAt)
}

// fails makes an ioctl that must end with want.
func (r *rawNode) fails(what string, nr uint32, want syscall.Errno) {
	r.t.Helper()
	if errno := r.do(nr); errno != want {
		r.t.Errorf("%s: %v, want %v", what, errno, want)
	}
}

// register is REGISTER_DEVICE.
func (r *rawNode) register(desc ucmd.Desc) syscall.Errno {
	r.t.Helper()
	clear(r.mem[stringsAt:replyAt])
	copy(r.mem[stringsAt:], abi.Version)
	copy(r.mem[stringsAt+1024:], "GPL")
	x := abi.DevDescOf(&desc, r.addr+stringsAt, r.addr+stringsAt+1024)
	if err := x.Encode(r.mem[argAt:]); err != nil {
		r.t.Fatal(err)
	}
	return r.do(uint32(abi.IoctlRegisterDevice))
}

// get fetches a subcommand that must be this one, and returns its handle; the
// rest is at argAt.
func (r *rawNode) get(want uint32) (handle uint32) {
	r.t.Helper()
	for end := time.Now().Add(patience); ; {
		clear(r.mem[argAt:][:abi.SizeGetCmd])
		switch errno := r.do(uint32(abi.IoctlReplyAndGetCmd)); {
		case errno == syscall.EAGAIN && time.Now().Before(end):
			continue
		case errno != 0:
			r.t.Fatalf("waiting for %#x: %v", want, errno)
		}
		if got := r.u32(argAt + 4); got != want {
			r.t.Fatalf("got subcode %#x, want %#x", got, want)
		}
		return r.u32(argAt)
	}
}

// reply is REPLY_CMD, which must end with want.
func (r *rawNode) reply(x ucmd.Reply, want syscall.Errno) {
	r.t.Helper()
	var p abi.Pointers
	if err := abi.EncodeReply(r.mem[argAt:], &x, &p); err != nil {
		r.t.Fatal(err)
	}
	r.fails(fmt.Sprintf("reply to %v", x.Code), uint32(abi.IoctlReplyCmd), want)
}

// submit sends READ(16) of 8 blocks, or WRITE(16).
func (r *rawNode) submit(id int, op scsi.Opcode) {
	r.t.Helper()
	r.host.Say(fmt.Sprintf("submit %d %d 0 %x 0 0 0 0 0 0 0 0 0 0 0 0 8 0 0", id, scsi.QueueSimple, uint8(op)))
}

// ends checks the outcome of a command, as the initiator says it.
func (r *rawNode) ends(id int, want string) {
	r.t.Helper()
	if got := r.host.Say(fmt.Sprintf("outcome %d", id)); got != want {
		r.t.Errorf("command %d: %s, want %s", id, got, want)
	}
}

func (r *rawNode) u16(at int) uint16        { return binary.LittleEndian.Uint16(r.mem[at:]) }
func (r *rawNode) u32(at int) uint32        { return binary.LittleEndian.Uint32(r.mem[at:]) }
func (r *rawNode) u64(at int) uint64        { return binary.LittleEndian.Uint64(r.mem[at:]) }
func (r *rawNode) put16(at int, v uint16)   { binary.LittleEndian.PutUint16(r.mem[at:], v) }
func (r *rawNode) put32(at int, v uint32)   { binary.LittleEndian.PutUint32(r.mem[at:], v) }
func (r *rawNode) put64(at int, v uint64)   { binary.LittleEndian.PutUint64(r.mem[at:], v) }
func (r *rawNode) at(offset int) (v uint64) { return uint64(r.addr) + uint64(offset) }
