package ucmd

import (
	"context"
	"testing"

	"scstuser/scsi"
	"scstuser/target"
)

// The cost of a command's whole way through the lifecycle, without any I/O:
// what the fast path adds to a front end and a backing.

// benchCommands are the commands that are measured. Once the pool has a
// buffer READ and WRITE are hits.
var benchCommands = []struct {
	name string
	cdb  scsi.CDB
}{
	{"WriteHit", scsi.EncodeWrite16(0, 8, false)},
	{"ReadHit", scsi.EncodeRead16(0, 8, false)},
	{"NoData", scsi.EncodeSyncCache16(0, 0)},
}

// echoFront delivers every response at once.
type echoFront struct{ testFront }

func (*echoFront) RdyToXfer(*target.Cmd) target.Verdict { return target.Continue }
func (*echoFront) XmitResponse(c *target.Cmd)           { c.Delivered(target.Delivered) }
func (*echoFront) Freed(c *target.Cmd) {
	if freed, ok := c.Front.(chan struct{}); ok {
		freed <- struct{}{}
	}
}

// answer is a handler that does nothing, well.
func (m *testMemory) answer(s *Subcommand, r *Reply) {
	switch s.Code {
	case SubAllocMem:
		r.PBuf = m.alloc(int(s.AllocLen))
	case SubExec:
		r.Type = ReplyCompleted
		if s.Dir == scsi.DirRead {
			r.RespDataLen = s.BufLen
			if s.PBuf == 0 {
				r.PBuf = m.alloc(int(s.AllocLen))
			}
		}
	}
}

func newQuietBench(b *testing.B) *bench {
	x := newBench(b)
	x.dev.obs = nil
	x.sess = x.attach(&echoFront{})
	return x
}

func BenchmarkInline(b *testing.B) {
	for _, cmd := range benchCommands {
		b.Run(cmd.name, func(b *testing.B) {
			x := newQuietBench(b)
			defer x.close()
			x.dev.SetInline(func(s *Subcommand, r *Reply) bool { x.mem.answer(s, r); return true })
			var c target.Cmd
			b.ReportAllocs()
			for b.Loop() {
				c.Init(cmd.cdb.Slice(), scsi.QueueSimple)
				x.sess.Submit(&c)
			}
			if c.Status != scsi.Good {
				b.Fatalf("the last command ended with %v", c.Status)
			}
		})
	}
}

// BenchmarkInlineParallel is as many connections as there are processors.
func BenchmarkInlineParallel(b *testing.B) {
	for _, cmd := range benchCommands {
		b.Run(cmd.name, func(b *testing.B) {
			x := newQuietBench(b)
			defer x.close()
			x.dev.SetInline(func(s *Subcommand, r *Reply) bool { x.mem.answer(s, r); return true })
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				// Another connection's goroutine may carry our command out.
				freed := make(chan struct{}, 1)
				c := &target.Cmd{Front: freed}
				for pb.Next() {
					c.Init(cmd.cdb.Slice(), scsi.QueueSimple)
					x.sess.Submit(c)
					<-freed
				}
			})
		})
	}
}

// BenchmarkReplyAndGet drives the device as an external handler does: each
// call gives the reply to the last subcommand and gets the next.
func BenchmarkReplyAndGet(b *testing.B) {
	for _, cmd := range benchCommands {
		b.Run(cmd.name, func(b *testing.B) {
			x := newQuietBench(b)
			defer x.close()
			ctx := context.Background()
			subs, replies := make([]Subcommand, 1), make([]Reply, 1)
			var c target.Cmd
			b.ReportAllocs()
			for b.Loop() {
				c.Init(cmd.cdb.Slice(), scsi.QueueSimple)
				x.sess.Submit(&c)
				_, n, _ := x.dev.ReplyAndGet(ctx, nil, subs)
				for n == 1 {
					replies[0] = Reply{Handle: subs[0].Handle, Code: subs[0].Code}
					x.mem.answer(&subs[0], &replies[0])
					more := subs[:0]
					if subs[0].Code == SubAllocMem {
						more = subs
					}
					_, n, _ = x.dev.ReplyAndGet(ctx, replies, more)
				}
			}
			if c.Status != scsi.Good {
				b.Fatalf("the last command ended with %v", c.Status)
			}
		})
	}
}
