package nbd

import (
	"testing"
	"time"

	"scstuser/nbd/nbdtest"
	"scstuser/ucmd"
)

// usualFlags are what a disk over a file offers.
const usualFlags = nbdtest.FlagHasFlags | nbdtest.FlagSendFlush | nbdtest.FlagSendFUA | nbdtest.FlagSendTrim |
	nbdtest.FlagSendWriteZeroes | nbdtest.FlagSendCache | nbdtest.FlagCanMultiConn

// The rules of nbd.md against the whole stack, for every way in which a
// command can go through it.
func TestConformance(t *testing.T) {
	for _, tc := range []struct {
		name string
		set  func(c *rigConfig, w *nbdtest.Expect)
	}{
		{"inline", func(*rigConfig, *nbdtest.Expect) {}},
		{"workers", func(c *rigConfig, _ *nbdtest.Expect) { c.noNowaits = true }},
		{"getters", func(c *rigConfig, _ *nbdtest.Expect) { c.inline = false }},
		{"reuse none, on_free call", func(c *rigConfig, _ *nbdtest.Expect) {
			c.opt.Reuse, c.opt.OnFree = uint8(ucmd.ReuseNone), uint8(ucmd.OnFreeCall)
		}},
		{"parse call", func(c *rigConfig, _ *nbdtest.Expect) { c.opt.Parse = uint8(ucmd.ParseCall) }},
		{"blocks of 4096", func(c *rigConfig, w *nbdtest.Expect) {
			c.disk.BlockSize, c.file.BlockSize = 4096, 4096
			w.Blocks.Min = 4096
		}},
		{"write through", func(c *rigConfig, _ *nbdtest.Expect) {
			c.file.WriteThrough, c.disk.WriteThrough = true, true
		}},
		{"read only", func(c *rigConfig, w *nbdtest.Expect) {
			c.file.ReadOnly = true
			w.Flags = nbdtest.FlagHasFlags | nbdtest.FlagReadOnly | nbdtest.FlagSendFlush | nbdtest.FlagSendFUA |
				nbdtest.FlagSendCache | nbdtest.FlagCanMultiConn
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := oneDisk()
			cfg.names = []string{"disk", "second"}
			cfg.size = 68 << 20
			want := nbdtest.Expect{
				Export: "disk", Size: uint64(cfg.size), Flags: usualFlags,
				Blocks:  nbdtest.Blocks{Min: 512, Preferred: 4096, Max: 32 << 20},
				Exports: cfg.names, Modes: nbdtest.Modes, Unaligned: true,
			}
			tc.set(&cfg, &want)
			r := newRig(t, cfg)
			want.Flags |= r.fastZero(want.Flags)
			want.Sparse = r.sparse(t)
			nbdtest.Conformance(t, r.dial, want)
		})
	}
}

func TestConformanceShutdown(t *testing.T) {
	cfg := oneDisk()
	cfg.server.Grace = time.Second // stuck clients get it
	want := nbdtest.Expect{
		Export: "disk", Size: uint64(cfg.size), Flags: usualFlags,
		Blocks:  nbdtest.Blocks{Min: 512, Preferred: 4096, Max: 32 << 20},
		Exports: cfg.names, Modes: nbdtest.Modes,
	}
	nbdtest.ConformanceShutdown(t, func(t testing.TB) nbdtest.Running {
		r := newRig(t, cfg)
		return nbdtest.Running{
			Dial: r.dial, Stall: r.disks[0].stall.Stall,
			Shutdown: func() {
				go r.stop()
				<-r.srv.quit.Done()
			},
			Stopped: r.stopped, Socket: r.socket,
		}
	}, want)
}

// fastZero is FlagSendFastZero, if the file system of the images is fast at it
// and the export is not read-only.
func (r *rig) fastZero(flags uint16) uint16 {
	if punch, zero := r.disks[0].stall.FastZero(); flags&nbdtest.FlagReadOnly == 0 && (punch || zero) {
		return nbdtest.FlagSendFastZero
	}
	return 0
}

// sparse says whether the file system of the images has holes and tells them.
func (r *rig) sparse(t testing.TB) bool {
	e, err := r.disks[0].stall.NextExtent(0)
	if err != nil {
		t.Fatal(err)
	}
	punch, _ := r.disks[0].stall.FastZero()
	return e.Hole && punch
}
