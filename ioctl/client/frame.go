package client

import (
	"scstuser/handlers/arena"
	"scstuser/ioctl/abi"
	"scstuser/ucmd"
)

// frame is the memory of one ioctl: its argument, and what that points to. It
// is outside the Go heap, and of one goroutine at a time. In order:
//
//	small     argument of the ioctls other than MULTI, and their strings
//	multi     argument of MULTI: the header, room subcommands behind it
//	replies   room replies
//	sense     room pieces of sense data
//	lists     descriptor lists, a page for all
type frame struct {
	addr uint64
	mem  []byte
	room int

	multi, replies, sense, lists int // offsets
	// used is how much of lists is taken by the replies of this ioctl.
	used int
}

// smallLen holds get_cmd, and what REGISTER_DEVICE needs: the structure and two
// strings, behind each of which the kernel module reads on to StringMax (fact 2).
const smallLen = 1024

// newFrame makes a frame for room replies and subcommands.
func newFrame(a *arena.Arena, room int) (*frame, error) {
	f := &frame{room: room, multi: smallLen}
	f.replies = align8(f.multi + abi.SizeMulti + room*abi.SizeGetCmd)
	f.sense = f.replies + room*abi.SizeReplyCmd
	f.lists = align8(f.sense + room*abi.MaxSense)
	n := f.lists + ucmd.PageSize
	var err error
	if f.addr, err = a.Alloc(n); err != nil {
		return nil, err
	}
	f.mem = a.Bytes(f.addr, n)
	return f, nil
}

func align8(n int) int { return (n + 7) &^ 7 }

// at is the address of an offset.
func (f *frame) at(off int) abi.Addr { return abi.Addr(f.addr) + abi.Addr(off) }

// reply is where the i-th reply is.
func (f *frame) reply(i int) (off int) { return f.replies + i*abi.SizeReplyCmd }

// command is the memory of the i-th subcommand of MULTI.
func (f *frame) command(i int) []byte {
	off := f.multi + abi.SizeMulti + i*abi.SizeGetCmd
	return f.mem[off:][:abi.SizeGetCmd]
}

// encode writes replies, as many as there is room for, and returns how many.
// The error is of the one behind those: it is none that the interface knows.
func (f *frame) encode(replies []ucmd.Reply) (n int, err error) {
	f.used = 0
	for n < min(len(replies), f.room) {
		r := &replies[n]
		p, ok := f.place(n, r)
		if !ok {
			break
		}
		if err := abi.EncodeReply(f.mem[f.reply(n):], r, &p); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// place copies what the i-th reply points to. false: no room is left for its
// list in this ioctl.
func (f *frame) place(i int, r *ucmd.Reply) (p abi.Pointers, ok bool) {
	if len(r.Sense) > 0 {
		off := f.sense + i*abi.MaxSense
		p.Sense = abi.Span{Addr: f.at(off), Len: copy(f.mem[off:][:abi.MaxSense], r.Sense)}
	}
	n := len(r.WriteSame)*abi.SizeWriteSameDescr + len(r.Remap)*abi.SizeDataDescr
	switch left := ucmd.PageSize - f.used; {
	case n == 0:
		return p, true
	case n > left && f.used > 0:
		return p, false
	case n > left:
		return p, true // longer than what counts: its declared length is refused
	}
	off := f.lists + f.used
	f.used += align8(n)
	list := f.mem[off:off:len(f.mem)]
	p.WriteSame.Addr, p.Remap.Addr = f.at(off), f.at(off)
	if len(r.WriteSame) > 0 {
		abi.AppendWriteSame(list, r)
	} else {
		abi.AppendRemap(list, r)
	}
	return p, true
}
