package ucmd

import (
	"math"
	"syscall"
	"testing"
)

// R38, fact 34: every case of the recording, and each uses up a handle.
func TestR38Prealloc(t *testing.T) {
	for _, x := range []struct {
		name string
		pbuf func(m *testMemory) uint64
		n    int
		want error
		kept bool
	}{
		{"unaligned", func(m *testMemory) uint64 { return m.alloc(65536) + 16 }, 4096, errEINVAL, false},
		{"unmapped", func(*testMemory) uint64 { return 0x1000 }, 65536, errEFAULT, false},
		{"length 0", func(m *testMemory) uint64 { return m.alloc(4096) }, 0, errENOMEM, false},
		{"negative length", func(m *testMemory) uint64 { return m.alloc(4096) }, -1, errENOMEM, false},
		{"length that overflows", func(m *testMemory) uint64 { return m.alloc(4096) }, math.MaxInt, errENOMEM, false},
		{"one page", func(m *testMemory) uint64 { return m.alloc(4096) }, 4096, nil, true},
		{"64 KiB", func(m *testMemory) uint64 { return m.alloc(65536) }, 65536, nil, true},
		{"odd length", func(m *testMemory) uint64 { return m.alloc(8192) }, 5000, nil, true},
		{"not a whole class", func(m *testMemory) uint64 { return m.alloc(12288) }, 12288, errENOMEM, false},
		{"4 MiB", func(m *testMemory) uint64 { return m.alloc(4 << 20) }, 4 << 20, nil, true},
		{"16 MiB", func(m *testMemory) uint64 { return m.alloc(16 << 20) }, 16 << 20, nil, false},
		{"address 0", func(*testMemory) uint64 { return 0 }, 4096, errEFAULT, false},
	} {
		for _, clust := range []bool{false, true} {
			b := newBareBench(t)
			pbuf := x.pbuf(b.mem)
			h, err := b.dev.Prealloc(pbuf, x.n, clust)
			if err != x.want || h != 0 {
				t.Errorf("%s: handle %d, %v, want %v", x.name, h, err, x.want)
			}
			stats := b.dev.PoolStats()
			idle := [2]int{stats[0].IdleObjects, stats[1].IdleObjects}
			var want [2]int
			if x.kept {
				want[map[bool]int{false: 0, true: 1}[clust]] = 1
				b.only(t, Command{Handle: 0, State: StateNew, Ref: 1, Owners: "sgv"}) // fact 24
				b.refused(Reply{Handle: 0, Code: SubOnCachedMemFree}, errEINVAL)      // fact 26
			}
			if idle != want {
				t.Errorf("%s: idle buffers %v, want %v", x.name, idle, want)
			}
			switch {
			case x.want == nil && !x.kept: // too large for the cache
				if s := b.get(SubOnCachedMemFree); s.Handle != 0 || s.PBuf != pbuf {
					t.Errorf("%s: %+v", x.name, s)
				}
				b.reply(Reply{Handle: 0, Code: SubOnCachedMemFree})
			case x.want != nil:
				if l := b.dev.Commands(); len(l) > 0 || b.mem.mapped() > 0 {
					t.Errorf("%s: left %v, %d mapped", x.name, l, b.mem.mapped())
				}
			}
			b.none()
			if h, _ := b.dev.Prealloc(1, 1, clust); h != 1 {
				t.Errorf("%s: the next handle is %d", x.name, h)
			}
			b.close()
		}
	}
}

// Fact 34: the same buffer twice is accepted.
func TestFact34SameBufferTwice(t *testing.T) {
	b := newBareBench(t)
	defer b.close()
	pbuf := b.mem.alloc(4096)
	for want := range uint32(2) {
		if h, err := b.dev.Prealloc(pbuf, 4096, false); h != want || err != nil {
			t.Fatalf("handle %d, %v", h, err)
		}
	}
	if n := len(b.dev.Commands()); n != 2 {
		t.Errorf("%d ucmds", n)
	}
}

func TestR38SingleAllocPages(t *testing.T) {
	b := newBareBench(t, withDesc(func(d *Desc) { d.SGVSinglePages = 4 }))
	defer b.close()
	for _, x := range []struct {
		n    int
		want error
		idle int
	}{{4096, errENOMEM, 0}, {16384, nil, 1}, {20480, nil, 1}} {
		if _, err := b.dev.Prealloc(b.mem.alloc(x.n), x.n, false); err != x.want {
			t.Errorf("%d bytes: %v, want %v", x.n, err, x.want)
		}
		if s := b.dev.PoolStats()[0]; s.IdleObjects != x.idle {
			t.Errorf("%d bytes: %d idle", x.n, s.IdleObjects)
		}
	}
}

// A preallocated buffer serves the first command: no ALLOC_MEM.
func TestR38ServesTheFirstCommand(t *testing.T) {
	b := newBench(t)
	defer b.close()
	pbuf := b.mem.alloc(65536)
	h, err := b.dev.Prealloc(pbuf, 65536, false)
	if err != nil {
		t.Fatal(err)
	}
	_, s := b.writeExec(128)
	if s.PBuf != pbuf || s.Handle == h {
		t.Errorf("EXEC %+v", s)
	}
	b.execDone(s)
	if err := b.dev.FlushCache(); err != nil {
		t.Fatal(err)
	}
	if s := b.get(SubOnCachedMemFree); s.Handle != h || s.PBuf != pbuf {
		t.Errorf("ON_CACHED_MEM_FREE %+v", s)
	}
	b.reply(Reply{Handle: h, Code: SubOnCachedMemFree})
}

func TestR38AtThePoolLimit(t *testing.T) {
	b := newBareBench(t, withLimits(Limits{MaxPages: 2}))
	defer b.close()
	if _, err := b.dev.Prealloc(b.mem.alloc(16384), 16384, false); err != errENOMEM {
		t.Errorf("more than the limit: %v", err)
	}
	// Within it older ones make room.
	for range 3 {
		if _, err := b.dev.Prealloc(b.mem.alloc(8192), 8192, false); err != nil {
			t.Error(err)
		}
	}
	for range 2 {
		s := b.get(SubOnCachedMemFree)
		b.reply(Reply{Handle: s.Handle, Code: s.Code})
	}
	b.none()
}

func TestR38AfterRelease(t *testing.T) {
	b := newBareBench(t)
	b.close()
	if _, err := b.dev.Prealloc(b.mem.alloc(4096), 4096, false); err != syscall.ENODEV {
		t.Errorf("%v, want ENODEV", err)
	}
}
