package nbd

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"scstuser/nbd/nbdtest"
)

// openIn connects a client in a mode, with base:allocation if the mode has it.
// The client does not ask for the size constraints.
func openIn(m nbdtest.Mode, export string, dial func(testing.TB) *nbdtest.Conn) func(testing.TB) *nbdtest.Conn {
	return func(t testing.TB) *nbdtest.Conn {
		t.Helper()
		c := dial(t)
		c.Hello()
		c.Negotiate(m)
		if m != nbdtest.Simple {
			c.SetAllocation(export)
		}
		c.Go(export)
		return c
	}
}

// inModes runs a test in each mode.
func inModes(t *testing.T, f func(t *testing.T, m nbdtest.Mode)) {
	for _, m := range nbdtest.Modes {
		t.Run(m.String(), func(t *testing.T) { f(t, m) })
	}
}

// TestModel in the other modes, with whole blocks and with any bytes. The image is
// sparse to begin with.
func TestModelInModes(t *testing.T) {
	inModes(t, func(t *testing.T, m nbdtest.Mode) {
		for _, tc := range []struct {
			name      string
			block     int // of the disk
			unaligned bool
			set       func(*rigConfig)
		}{
			{"inline", 512, false, func(*rigConfig) {}},
			{"workers", 512, false, func(c *rigConfig) { c.noNowaits = true }},
			{"unaligned", 512, true, func(*rigConfig) {}},
			{"unaligned, blocks of 4096, few of everything", 4096, true, func(c *rigConfig) {
				c.noNowaits = true
				c.server.MaxInflight, c.server.MaxInflightBytes = 4, 64<<10
			}},
		} {
			t.Run(tc.name, func(t *testing.T) {
				cfg := oneDisk()
				cfg.size = 16 << 20
				cfg.disk.BlockSize, cfg.file.BlockSize = tc.block, tc.block
				tc.set(&cfg)
				r := newRig(t, cfg)
				rounds := 60
				if testing.Short() {
					rounds = 10
				}
				grain := tc.block
				if tc.unaligned {
					grain = 1
				}
				modelClientsOf(t, rand.Uint64(), openIn(m, "disk", r.dial), r.disks[0].export, 4, rounds, grain)
			})
		}
	})
}

// The same against a device that is busy, slow and out of order at random.
func TestModelOfAMoodyDeviceInModes(t *testing.T) {
	inModes(t, func(t *testing.T, m nbdtest.Mode) {
		for _, grain := range []int{1, 512} {
			t.Run(fmt.Sprint(grain), func(t *testing.T) {
				f := newMoody(t)
				modelClientsOf(t, rand.Uint64(), openIn(m, "fake", f.dial), f.export, 3, 40, grain)
			})
		}
	})
}

// FuzzModelInModes is that for a seed and a mode.
func FuzzModelInModes(f *testing.F) {
	moody := newMoody(f)
	for m := range uint8(6) {
		f.Add(uint64(m), m)
	}
	f.Fuzz(func(t *testing.T, seed uint64, mode uint8) {
		m, grain := nbdtest.Modes[mode%3], 512
		if mode/3%2 == 1 {
			grain = 1
		}
		modelClientsOf(t, seed, openIn(m, "fake", moody.dial), moody.export, 2, 5, grain)
		// What was abandoned may still be under way.
		eventually(t, "all clients' sessions end", func() bool { return len(moody.dev.Sessions()) == 1 })
	})
}
