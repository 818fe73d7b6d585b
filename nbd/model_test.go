package nbd

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"scstuser/nbd/nbdtest"
	"scstuser/scsi"
	"scstuser/target"
	"scstuser/ucmd"
)

// region is a part of an export that one client uses, and what it has to hold.
// Blocks whose content is not known, because they were never written or have been
// trimmed, are marked in dunno.
type region struct {
	offset uint64
	block  int
	data   []byte
	dunno  []bool
	mode   nbdtest.Mode // of the client
}

func newRegion(offset uint64, block, n int) *region {
	return &region{offset: offset, block: block, data: make([]byte, n), dunno: slices.Repeat([]bool{true}, n/block)}
}

// op is one request within a region.
type op struct {
	nbdtest.Request
	at, n int // within the region, in bytes
}

// random makes a request that does not touch the blocks in busy, and marks its
// own there; ok is false if it found none.
func (g *region) random(rnd *rand.Rand, cookie uint64, busy []bool) (o op, ok bool) {
	blocks := len(busy)
	n := 1 + rnd.IntN(8)
	if rnd.IntN(10) == 0 {
		n = 1 + rnd.IntN(blocks/2)
	}
	first := rnd.IntN(blocks - n + 1)
	for i := range n {
		if busy[first+i] {
			return op{}, false
		}
	}
	o = op{at: first * g.block, n: n * g.block}
	o.Cookie, o.Offset, o.Length = cookie, g.offset+uint64(o.at), uint32(o.n)
	if rnd.IntN(4) == 0 {
		o.Flags = nbdtest.CmdFlagFUA
	}
	switch rnd.IntN(10) {
	case 0, 1, 2, 3:
		o.Type = nbdtest.CmdRead
	case 4, 5, 6:
		o.Type = nbdtest.CmdWrite
		o.Payload = make([]byte, o.n)
		for i := range o.Payload {
			o.Payload[i] = byte(rnd.Uint32())
		}
	case 7:
		o.Type = nbdtest.CmdWriteZeroes
		o.Flags |= nbdtest.CmdFlagNoHole * uint16(rnd.IntN(2))
	case 8:
		o.Type = nbdtest.CmdTrim
	case 9:
		o.Type = nbdtest.CmdCache
		switch k := rnd.IntN(4); {
		case k == 0:
			o.Type, o.Offset, o.Length = nbdtest.CmdFlush, 0, 0
		case k > 1 && g.mode != nbdtest.Simple:
			o.Type = nbdtest.CmdBlockStatus
			o.Flags |= nbdtest.CmdFlagReqOne * uint16(rnd.IntN(2))
		}
	}
	if o.Type == nbdtest.CmdRead && g.mode != nbdtest.Simple && rnd.IntN(4) == 0 {
		o.Flags |= nbdtest.CmdFlagDF
	}
	for i := range n {
		busy[first+i] = true
	}
	return o, true
}

// answered applies a request that went well, and checks what it read.
func (g *region) answered(o op, reply nbdtest.Reply) error {
	if o.Type == nbdtest.CmdBlockStatus {
		return g.mapped(o, reply.Extents)
	}
	got := reply.Data
	for i := o.at; i < o.at+o.n; i += g.block {
		b, known := g.data[i:i+g.block], !g.dunno[i/g.block]
		switch o.Type {
		case nbdtest.CmdRead:
			if at := i - o.at; known && !bytes.Equal(got[at:at+g.block], b) {
				return fmt.Errorf("block at %d is not what was written", g.offset+uint64(i))
			}
		case nbdtest.CmdWrite:
			copy(b, o.Payload[i-o.at:])
			g.dunno[i/g.block] = false
		case nbdtest.CmdWriteZeroes:
			clear(b)
			g.dunno[i/g.block] = false
		case nbdtest.CmdTrim:
			g.dunno[i/g.block] = true
		}
	}
	return nil
}

// mapped checks that nothing is told to be zeroes that is not.
func (g *region) mapped(o op, l []nbdtest.Extent) error {
	at := o.at
	for _, x := range l {
		end := min(at+int(x.Length), o.at+o.n)
		if x.State&nbdtest.StateZero == 0 {
			at = end
			continue
		}
		for ; at < end; at++ {
			if g.data[at] != 0 && !g.dunno[at/g.block] {
				return fmt.Errorf("the byte at %d is told to be zero, and is not", g.offset+uint64(at))
			}
		}
	}
	return nil
}

// volley sends a number of random requests that do not touch each other, and
// checks the replies.
func (g *region) volley(t testing.TB, rnd *rand.Rand, c *nbdtest.Conn, depth int) {
	ops := g.draw(rnd, depth)
	var requests []nbdtest.Request
	for _, o := range ops {
		requests = append(requests, o.Request)
	}
	for i, r := range c.Exchange(requests...) {
		if r.Errno != nbdtest.OK {
			t.Fatalf("command %d of %d bytes at %d: %v", ops[i].Type, ops[i].Length, ops[i].Offset, r.Errno)
		}
		if err := g.answered(ops[i], r); err != nil {
			t.Fatal(err)
		}
	}
}

func (g *region) draw(rnd *rand.Rand, depth int) (ops []op) {
	busy := make([]bool, len(g.dunno))
	for range depth {
		if o, ok := g.random(rnd, uint64(len(ops)), busy); ok {
			ops = append(ops, o)
		}
	}
	return ops
}

// abandon sends random requests and hangs up at some byte of them, perhaps after
// some replies. The region can't be used any more: who knows when and how far
// the requests are carried out.
func (g *region) abandon(rnd *rand.Rand, c *nbdtest.Conn, depth int) {
	var b []byte
	for _, o := range g.draw(rnd, depth) {
		b = append(b, c.Encode(o.Request)...)
	}
	_ = c.TrySend(b[:rnd.IntN(len(b)+1)])
	if rnd.IntN(2) == 0 {
		c.Timeout = time.Millisecond
		_, _ = c.TryRecv(rnd.IntN(100))
	}
	c.Close()
}

// Clients on their own connections, each with its part of the export, do
// whatever comes to mind with several requests in flight, and vanish at any
// moment; what is read is always what was written.
func TestModel(t *testing.T) {
	for _, tc := range []struct {
		name string
		set  func(*rigConfig)
	}{
		{"inline", func(*rigConfig) {}},
		{"workers", func(c *rigConfig) { c.noNowaits = true }},
		{"getters", func(c *rigConfig) { c.inline = false }},
		{"reuse none, on_free call, parse call", func(c *rigConfig) {
			c.opt.Reuse, c.opt.OnFree, c.opt.Parse = uint8(ucmd.ReuseNone), uint8(ucmd.OnFreeCall), uint8(ucmd.ParseCall)
		}},
		{"few of everything", func(c *rigConfig) {
			c.noNowaits = true
			c.limits.MaxUcmds = 8
			// An idle buffer would count as a ucmd.
			c.opt.Reuse, c.opt.OnFree = uint8(ucmd.ReuseNone), uint8(ucmd.OnFreeCall)
			c.server.MaxInflight, c.server.MaxInflightBytes = 3, 20<<10
		}},
		{"write through, blocks of 4096", func(c *rigConfig) {
			c.file.WriteThrough, c.disk.WriteThrough, c.disk.BlockSize, c.file.BlockSize = true, true, 4096, 4096
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := oneDisk()
			cfg.size = 16 << 20
			tc.set(&cfg)
			r := newRig(t, cfg)
			rounds := 120
			if testing.Short() {
				rounds = 20
			}
			modelClients(t, rand.Uint64(), r.open, r.disks[0].export, 4, rounds)
		})
	}
}

// modelClients runs n clients, each on regions of its own, with requests of whole
// blocks.
func modelClients(t *testing.T, seed uint64, open func(testing.TB) *nbdtest.Conn, e *Export, n, rounds int) {
	modelClientsOf(t, seed, open, e, n, rounds, int(e.BlockSize()))
}

// modelClientsOf is that for requests of multiples of block bytes.
func modelClientsOf(t *testing.T, seed uint64, open func(testing.TB) *nbdtest.Conn, e *Export, n, rounds, block int) {
	const size = 64 << 10
	regions := e.Size() / size
	t.Logf("seed %#x", seed)
	var wg sync.WaitGroup
	for i := range n {
		rnd := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() {
			at := uint64(i)
			c, g := open(t), newRegion(at*size, block, size)
			g.mode = c.Mode()
			for range rounds {
				g.volley(t, rnd, c, 1+rnd.IntN(24))
				if rnd.IntN(8) == 0 && at+uint64(n) < regions {
					g.abandon(rnd, c, 1+rnd.IntN(24))
					at += uint64(n)
					c, g = open(t), newRegion(at*size, block, size)
					g.mode = c.Mode()
				}
			}
			c.Disc(0)
		})
	}
	wg.Wait()
}

// The same against a device that is busy, slow and out of order at random.
func TestModelOfAMoodyDevice(t *testing.T) {
	f := newMoody(t)
	modelClients(t, rand.Uint64(), f.open, f.export, 3, 60)
}

// FuzzModel is that for a seed.
func FuzzModel(f *testing.F) {
	moody := newMoody(f)
	f.Add(uint64(0))
	f.Fuzz(func(t *testing.T, seed uint64) {
		modelClients(t, seed, moody.open, moody.export, 2, 5)
		// What was abandoned may still be under way.
		eventually(t, "all clients' sessions end", func() bool { return len(moody.dev.Sessions()) == 1 })
	})
}

func newMoody(t testing.TB) *fakeRig {
	f := newFakeRig(t, fakeTraits{noFUA: true, limits: scsi.BlockLimits{MaxUnmapBlocks: 16, MaxWriteSame: 9}}, Options{MaxInflight: 16})
	f.mood = func(c *target.Cmd) bool {
		switch rand.IntN(12) {
		case 0:
			status(scsi.Busy)(c)
		case 1:
			sense(scsi.SensePowerOnReset)(c)
		case 2, 3, 4:
			go f.carryOut(c)
		case 5:
			if op := c.Op(); op != scsi.OpWriteSame16 && op != scsi.OpUnmap && op != scsi.OpPreFetch16 {
				return false
			}
			sense(scsi.SenseInvalidOpcode)(c)
		default:
			return false
		}
		return true
	}
	return f
}
