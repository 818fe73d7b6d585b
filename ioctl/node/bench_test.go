package node

import (
	"context"
	"encoding/binary"
	"syscall"
	"testing"

	"scstuser/ioctl/abi"
	"scstuser/scsi"
	"scstuser/target"
)

// loop is an initiator that sends the same READ again whenever it is over.
type loop struct {
	front
	cmd  target.Cmd
	over chan struct{}
}

func (l *loop) XmitResponse(c *target.Cmd)                     { c.Delivered(target.Delivered) }
func (l *loop) AEN(*target.Session, target.UnitAttention) bool { return true }
func (l *loop) Freed(*target.Cmd)                              { l.over <- struct{}{} }

// flat is a caller's memory as one stretch from address 0 on.
type flat []byte

func (m flat) Read(p []Piece) (n int) {
	for _, x := range p {
		n += copy(x.Buf, m[x.Addr:])
	}
	return n
}

func (m flat) Write(p []Piece) (n int) {
	for _, x := range p {
		n += copy(m[x.Addr:], x.Buf)
	}
	return n
}

func (flat) Process() any { return nil }

// commands makes a device with one initiator, and returns what carries a READ
// through it, by MULTI or by single calls.
func commands(tb testing.TB, multi bool) (read func()) {
	r := attached(tb, Options{}, true, nil)
	l := &loop{over: make(chan struct{}, 1)}
	got := make(chan *target.Session, 1)
	go func() {
		s, err := r.file.Device().Target().NewSession(context.Background(), l, target.SessionInfo{Initiator: "loop", Target: "t"})
		if err != nil {
			tb.Error(err)
		}
		got <- s
	}()
	zero := int32(0)
	c := r.expect(abi.SubcodeAttachSess)
	r.reply(&abi.Answer{CmdH: c.CmdH, Subcode: c.Subcode, Result: &zero}, 0)
	s := <-got

	const arg, replies, pbuf = 4096, 16384, 65536
	mem := make(flat, 1<<20)
	call := Call{Cmd: abi.IoctlReplyAndGetMulti, Arg: arg, In: make([]byte, abi.SizeMulti), Out: make([]byte, abi.SizeGetCmd), TID: 1, Mem: mem}
	if !multi {
		call.Cmd, call.In = abi.IoctlReplyAndGetCmd, make([]byte, abi.SizeGetCmd)
	}
	cdb := scsi.EncodeRead16(0, 8, false)
	answer := abi.Answer{Subcode: abi.SubcodeExec, Exec: &abi.ExecReply{RespDataLen: 4096, PBuf: pbuf, ReplyType: abi.ExecReplyCompleted}}
	give := func(n int, want syscall.Errno) {
		if multi {
			m := abi.Multi{PReplies: replies, RepliesCnt: int16(n), CmdsCnt: int16(1 - n)}
			_ = m.Encode(call.In)
		} else {
			_ = abi.PutPReply(call.In, abi.Addr(replies*n))
		}
		if ret, errno, _ := r.file.Ioctl(context.Background(), &call); ret != 0 || errno != want {
			tb.Fatalf("%d %v, want %v", ret, errno, want)
		}
	}
	where := arg
	if multi {
		where += abi.SizeMulti
	}
	// Without the wait of a get that finds nothing.
	reply := Call{Cmd: abi.IoctlReplyCmd, In: mem[replies : replies+abi.SizeReplyCmd], TID: 1, Mem: mem}
	return func() {
		l.cmd.Init(cdb.Slice(), scsi.QueueSimple)
		s.Submit(&l.cmd)
		give(0, 0)
		answer.CmdH = binary.LittleEndian.Uint32(mem[where:])
		_ = answer.Encode(mem[replies:])
		if multi {
			give(1, 0)
		} else if _, errno, _ := r.file.Ioctl(context.Background(), &reply); errno != 0 {
			tb.Fatal(errno)
		}
		<-l.over
	}
}

// In steady state a command costs no allocation.
func TestCommandsDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("pools drop things at random with the race detector")
	}
	for name, multi := range map[string]bool{"single": false, "multi": true} {
		t.Run(name, func(t *testing.T) {
			read := commands(t, multi)
			for range 100 {
				read()
			}
			if n := testing.AllocsPerRun(1000, read); n >= 1 {
				t.Errorf("%v allocations for a READ", n)
			}
		})
	}
}

// BenchmarkCommand is a 4 KiB READ through the node, without the system calls.
func BenchmarkCommand(b *testing.B) {
	for name, multi := range map[string]bool{"single": false, "multi": true} {
		b.Run(name, func(b *testing.B) {
			read := commands(b, multi)
			for range 10 {
				read()
			}
			b.ReportAllocs()
			for b.Loop() {
				read()
			}
		})
	}
}
