package ucmd

import (
	"encoding/binary"
	"testing"
	"time"

	"scstuser/scsi"
	"scstuser/target"
)

// fuzzInput reads numbers off the fuzzer's bytes; zeros when they are used up.
type fuzzInput struct{ b []byte }

func (f *fuzzInput) byte() byte {
	if len(f.b) == 0 {
		return 0
	}
	x := f.b[0]
	f.b = f.b[1:]
	return x
}

func (f *fuzzInput) u64() uint64 {
	var x [8]byte
	f.b = f.b[copy(x[:], f.b):]
	return binary.LittleEndian.Uint64(x[:])
}

// FuzzReplies is a handler that answers whatever the bytes say: each reply's
// fields, in any order, to anything, and to what it was not asked. Nothing
// panics or hangs, every command ends once, and the release leaves nothing
// (I1 to I5, I7).
func FuzzReplies(f *testing.F) {
	// Fetch and answer well; wrong subcodes; bad buffers; BACKGROUND twice;
	// DO_WRITE_SAME; PARSE with large lengths; task management; flushes.
	f.Add([]byte{0, 0, 1, 2, 9, 1, 2, 9, 0, 3, 1, 2, 9, 0, 4, 1, 2, 9, 1, 2, 9})
	f.Add([]byte{1, 0, 0, 1, 2, 0x11, 2, 0x33, 1, 2, 0x51})
	f.Add([]byte{0x32, 0, 2, 1, 2, 0xff, 255, 255, 255, 255, 255, 255, 255, 127, 1, 2, 9})
	f.Add([]byte{0x10, 0, 0, 1, 2, 9, 1, 2, 0x82, 2, 0x82, 5, 6, 7, 1})
	f.Add([]byte{0x44, 0, 5, 1, 2, 9, 1, 2, 0x83, 1, 1, 1, 2, 9, 3, 4, 1, 2, 9})
	f.Fuzz(func(t *testing.T, data []byte) {
		in := &fuzzInput{b: data[:min(len(data), 4096)]}
		opt := in.byte()
		b := newBareBench(t, withLimits(Limits{
			MaxPages: 64, MaxUcmds: 16, SuspendTimeout: time.Microsecond, ReleaseTimeout: 5 * time.Second,
		}), withReuse(ReuseType(opt&3)), withOnFree(OnFreeType(opt>>2&1)), withParse(ParseType(opt>>4%3)))
		b.dev.obs = nil
		b.serveInline()
		if err := <-b.attachAsync(b.fe); err != nil {
			t.Fatal(err)
		}
		b.dev.SetInline(nil)
		submitted := fuzzOps(b, in)
		b.fe.setHold(false)
		b.fe.deliver()
		b.close()
		b.fe.deliver()
		if n := b.fe.freedCount(); n != submitted {
			t.Errorf("I1: %d commands freed of %d", n, submitted)
		}
	})
}

// fuzzOps does what the input says and returns how many commands it submitted.
func fuzzOps(b *bench, in *fuzzInput) (submitted int) {
	var last Subcommand
	flushes := 4 // each waits for a timer if something is outstanding
	for len(in.b) > 0 {
		switch in.byte() % 10 {
		case 0:
			cdb := chaosCDBs[int(in.byte())%len(chaosCDBs)]
			c := b.initCmd(cdb)
			c.Tag = uint64(submitted)
			b.sess.Submit(c)
			submitted++
		case 1:
			if s, ok := b.tryGet(); ok {
				last = s
			}
		case 2:
			r := fuzzReply(b, in, last)
			_ = b.dev.Reply(&r)
		case 3:
			last.Handle = uint32(in.byte()) // somebody else's
		case 4:
			b.dev.Requeue(last.Handle)
		case 5:
			if flushes--; flushes >= 0 {
				_ = b.dev.FlushCache()
			}
		case 6:
			_, _ = b.dev.Prealloc(b.mem.alloc(8192)+uint64(in.byte()), int(int16(in.u64())), in.byte()%2 == 0)
		case 7:
			b.sess.TaskMgmt(&target.MgmtCmd{Fn: target.TMFunc(in.byte() % 10), Tag: uint64(in.byte())})
		case 8:
			b.fe.setHold(in.byte()%2 == 0)
			b.fe.deliver()
		case 9:
			_, _ = b.dev.ExtendedCDB(last.Handle)
			b.checkRefs()
		}
	}
	return submitted
}

// fuzzReply makes a good reply to s and then spoils what the input says.
func fuzzReply(b *bench, in *fuzzInput, s Subcommand) Reply {
	r := Reply{Handle: s.Handle, Code: s.Code}
	if s.Code == SubParse {
		r = goodParse(s, s.Dir, s.BufLen)
	}
	if s.AllocLen >= 0 {
		b.mem.answer(&s, &r)
	}
	spoil := in.byte()
	if spoil&1 == 0 {
		r.Type = ReplyType(in.byte() % 5)
	}
	if spoil&2 != 0 {
		r.Status, r.BadSense = scsi.Status(in.byte()), in.byte()%2 == 0
		r.Sense = make([]byte, int(in.byte())*2)
	}
	if spoil&4 != 0 {
		r.PBuf, r.RespDataLen = in.u64(), int32(in.u64())
	}
	if spoil&8 == 0 {
		r.Code = Subcode(in.byte())
	}
	if spoil&16 != 0 {
		r.Dir, r.QueueType, r.CDBLen, r.OpFlags = scsi.Dir(in.byte()), scsi.QueueType(in.byte()), uint16(in.u64()), uint32(in.u64())
	}
	if spoil&32 != 0 {
		r.LBA, r.DataLen, r.BufLen, r.OutBufLen = int64(in.u64()), int64(in.u64()), int32(in.u64()), int32(in.u64())
	}
	if spoil&64 != 0 {
		r.Result = int32(in.u64())
	}
	if spoil&128 != 0 {
		for range in.byte() % 4 {
			r.WriteSame = append(r.WriteSame, WriteSameDescr{LBA: in.u64(), Blocks: in.u64()})
		}
		r.WSLen = int32(16*len(r.WriteSame)) + int32(int8(in.byte()))/64
	}
	return r
}
