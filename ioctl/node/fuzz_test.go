package node

import (
	"context"
	"testing"
	"time"

	"scstuser/ioctl/abi"
)

// bounded is memory of which only the first bytes exist.
type bounded []byte

func (m bounded) move(p []Piece, write bool) (n int) {
	for _, x := range p {
		if uint64(x.Addr) > uint64(len(m)) || len(x.Buf) > len(m)-int(x.Addr) {
			return n
		}
		if write {
			n += copy(m[x.Addr:], x.Buf)
		} else {
			n += copy(x.Buf, m[x.Addr:])
		}
	}
	return n
}

func (m bounded) Read(p []Piece) int  { return m.move(p, false) }
func (m bounded) Write(p []Piece) int { return m.move(p, true) }
func (bounded) Process() any          { return nil }

// I7: whatever a handler has in its memory and says in its ioctls, with commands
// at hand, ends in an errno or a result, and its device can be closed.
func FuzzIoctl(f *testing.F) {
	ioctls := []abi.Ioctl{
		abi.IoctlReplyAndGetCmd, abi.IoctlReplyAndGetMulti, abi.IoctlReplyCmd, abi.IoctlPreallocBuffer, abi.IoctlGetExtendedCDB,
		abi.IoctlSetOptions, abi.IoctlRegisterDevice, abi.IoctlFlushCache, abi.IoctlCapacityChanged,
	}
	reply := make([]byte, abi.SizeReplyCmd)
	a := abi.Answer{CmdH: 2, Subcode: abi.SubcodeExec, Exec: &abi.ExecReply{RespDataLen: 512, PBuf: 4096, ReplyType: 1}}
	_ = a.Encode(reply)
	multi := make([]byte, abi.SizeMulti)
	m := abi.Multi{PReplies: 16, RepliesCnt: 3, CmdsCnt: 4}
	_ = m.Encode(multi)
	f.Add([]byte{1, 2, 0, 1}, append(multi, reply...))
	f.Add([]byte{0, 3, 4, 5, 6, 7, 8, 1}, reply)
	f.Fuzz(func(t *testing.T, program, content []byte) {
		r := attached(t, Options{MaxBuffers: 1 << 20, PollWait: time.Microsecond, Batch: 2}, true, nil)
		s := []*sent{r.read(1), r.write(pattern(4096, 1)), r.read(16)}
		mem := make(bounded, 64<<10)
		copy(mem, content)
		for i, p := range program[:min(len(program), 32)] {
			cmd := ioctls[int(p)%len(ioctls)]
			if cmd == abi.IoctlSetOptions || cmd == abi.IoctlFlushCache { // may wait for commands
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				c := Call{Cmd: cmd, In: mem[:cmd.Size()], TID: 1, Mem: mem}
				r.file.Ioctl(ctx, &c)
				continue
			}
			at := i * int(p) % 4096
			c := Call{Cmd: cmd, Arg: abi.Addr(at), In: mem[at : at+cmd.Size()], TID: 1, Mem: mem}
			if _, errno, out := r.file.Ioctl(context.Background(), &c); errno == 0 {
				copy(mem[at:], out)
			}
		}
		r.file.Close(1)
		for _, x := range s {
			r.wait(x)
		}
		<-r.file.att.over
		if st := &r.file.att.space.store; st.held != 0 {
			t.Errorf("%d bytes of host memory are left", st.held)
		}
	})
}
