package handlers_test

import (
	"sync"
	"testing"

	"scstuser/handlers"
	"scstuser/handlers/disk"
	"scstuser/handlers/nullio"
	"scstuser/scsi"
	"scstuser/target"
	"scstuser/ucmd"
)

// What the lifecycle costs: a command from Session.Submit to Freed, through
// target, ucmd, Serve and handlers/disk, over a medium that costs nothing but
// the clearing of a read's buffer.

// quickFront delivers every response at once and tells whoever waits.
type quickFront struct{ freed chan struct{} }

func (*quickFront) RdyToXfer(*target.Cmd) target.Verdict           { return target.Continue }
func (*quickFront) XmitResponse(c *target.Cmd)                     { c.Delivered(target.Delivered) }
func (*quickFront) AEN(*target.Session, target.UnitAttention) bool { return true }
func (*quickFront) SessionGone(*target.Session)                    {}
func (*quickFront) TMDone(*target.MgmtCmd)                         {}
func (f *quickFront) Freed(*target.Cmd) {
	if f.freed != nil {
		f.freed <- struct{}{}
	}
}

func newDisk(t testing.TB) *disk.Disk {
	d, err := disk.New(nullio.New(1<<30, false), disk.Options{Name: "disk1"})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var benchCommands = []struct {
	name string
	cdb  scsi.CDB
}{
	{"Read4K", scsi.EncodeRead16(0, 8, false)},
	{"Write4K", scsi.EncodeWrite16(0, 8, false)},
	{"NoData", scsi.EncodeTestUnitReady()},
}

// BenchmarkInline runs commands on the goroutine that submits them, one at a
// time: the fast path.
func BenchmarkInline(b *testing.B) {
	for _, tc := range benchCommands {
		b.Run(tc.name, func(b *testing.B) {
			r := newRig(b, newDisk(b), rigConfig{serve: handlers.Options{Inline: true}})
			run(b, r, &quickFront{}, tc.cdb)
		})
	}
}

// BenchmarkInlineOnFree is the same with an upcall when a command is freed.
func BenchmarkInlineOnFree(b *testing.B) {
	r := newRig(b, newDisk(b), rigConfig{
		opt:   func(o *ucmd.Opt) { o.OnFree = uint8(ucmd.OnFreeCall) },
		serve: handlers.Options{Inline: true},
	})
	run(b, r, &quickFront{}, scsi.EncodeRead16(0, 8, false))
}

// BenchmarkInlineUncached is the same without reuse of buffers: an ALLOC_MEM
// or an allocation for each command.
func BenchmarkInlineUncached(b *testing.B) {
	for _, tc := range benchCommands[:2] {
		b.Run(tc.name, func(b *testing.B) {
			r := newRig(b, newDisk(b), rigConfig{
				opt: func(o *ucmd.Opt) {
					o.OnFree, o.Reuse = uint8(ucmd.OnFreeCall), uint8(ucmd.ReuseNone)
				},
				serve: handlers.Options{Inline: true},
			})
			run(b, r, &quickFront{}, tc.cdb)
		})
	}
}

// BenchmarkGetter hands every command to a getter's goroutine and waits for it.
func BenchmarkGetter(b *testing.B) {
	r := newRig(b, newDisk(b), rigConfig{})
	run(b, r, &quickFront{freed: make(chan struct{}, 1)}, scsi.EncodeRead16(0, 8, false))
}

// run submits the same command again and again.
func run(b *testing.B, r *rig, f *quickFront, cdb scsi.CDB) {
	sess := r.attachFront(f)
	c := new(target.Cmd)
	once := func() {
		c.Init(cdb.Slice(), scsi.QueueSimple)
		sess.Submit(c)
		if f.freed != nil {
			<-f.freed
		}
		if c.Status != scsi.Good {
			b.Fatalf("the command ended with %v", c.Status)
		}
	}
	once() // the first one brings the buffer
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}

// BenchmarkInlineParallel is BenchmarkInline from every processor at once, on a
// session each.
func BenchmarkInlineParallel(b *testing.B) {
	r := newRig(b, newDisk(b), rigConfig{serve: handlers.Options{Inline: true}})
	cdb := scsi.EncodeRead16(0, 8, false)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		// A command may run on another goroutine than the one that made it.
		f := &quickFront{freed: make(chan struct{}, 1)}
		sess := r.attachFront(f)
		c := new(target.Cmd)
		for pb.Next() {
			c.Init(cdb.Slice(), scsi.QueueSimple)
			sess.Submit(c)
			<-f.freed
		}
	})
}

// In steady state a command allocates nothing, whatever way it takes.
func TestNoAllocations(t *testing.T) {
	if poolsForget() {
		t.Skip("with the race detector a sync.Pool drops some of what it is given")
	}
	call := func(reuse ucmd.ReuseType) func(*ucmd.Opt) {
		return func(o *ucmd.Opt) { o.OnFree, o.Reuse = uint8(ucmd.OnFreeCall), uint8(reuse) }
	}
	for name, cfg := range map[string]rigConfig{
		"inline":              {serve: handlers.Options{Inline: true}},
		"inline, ON_FREE_CMD": {serve: handlers.Options{Inline: true}, opt: call(ucmd.ReuseAll)},
		"inline, no reuse":    {serve: handlers.Options{Inline: true}, opt: call(ucmd.ReuseNone)},
		"getters":             {},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, newDisk(t), cfg)
			f := &quickFront{freed: make(chan struct{}, 1)}
			sess := r.attachFront(f)
			c := new(target.Cmd)
			for _, tc := range benchCommands {
				once := func() {
					c.Init(tc.cdb.Slice(), scsi.QueueSimple)
					sess.Submit(c)
					<-f.freed
				}
				once() // the first one brings the buffer
				if n := testing.AllocsPerRun(200, once); n != 0 {
					t.Errorf("%s: %v allocations", tc.name, n)
				}
			}
		})
	}
}

// poolsForget says whether a sync.Pool does not keep what it is given.
func poolsForget() bool {
	made := 0
	p := sync.Pool{New: func() any { made++; return new(int) }}
	for range 100 {
		p.Put(p.Get())
	}
	return made > 1
}
