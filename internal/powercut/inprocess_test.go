package powercut

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"scstuser/internal/powercut/volatiledisk"
)

var seed = flag.Uint64("powercut.seed", 0, "repeat the power cuts of this seed (0: a new one)")

// newSeed is printed, so that what went wrong can be tried again.
func newSeed(t testing.TB) uint64 {
	s := *seed
	if s == 0 {
		s = rand.Uint64()>>1 | 1
	}
	t.Logf("seed %d; again with -powercut.seed %d", s, s)
	return s
}

// makeLoad is a load for a disk of so many sectors.
func makeLoad(rng *rand.Rand, export string, sectors, blockSize int) Load {
	return Load{
		Export: export, Connections: 1 + rng.IntN(4), Depth: 1 + rng.IntN(16),
		BlockSize: blockSize, MaxBlocks: 1 + rng.IntN(max(2, []int{2, 8, 64}[rng.IntN(3)]<<10/blockSize)),
		Hot: 32 + rng.IntN(sectors*SectorSize/blockSize/4),
		Mix: Mixes[rng.IntN(len(Mixes))], Seed: rng.Uint64(),
	}
}

// cutInProcess cuts the power of a disk that is served by this process, at a
// command of its own choice, and says what Check found.
func cutInProcess(t *testing.T, m *volatiledisk.Medium, j *Journal, rng *rand.Rand, cfg volatiledisk.Config) Report {
	t.Helper()
	d, err := m.PowerOn()
	if err != nil {
		t.Fatal(err)
	}
	d.SlowFlush(time.Duration(rng.IntN(3)) * time.Millisecond)
	socket := filepath.Join(t.TempDir(), "s")
	server, err := volatiledisk.Serve(d, socket, cfg)
	if err != nil {
		t.Fatal(err)
	}
	load := makeLoad(rng, volatiledisk.Export, j.Sectors(), SectorSize)
	d.CutAfter(rng.IntN(400))
	ran := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	go func() { ran <- Run(ctx, Dial("unix", socket), j, load) }()
	select {
	case <-d.HasCut():
	case err := <-ran:
		t.Fatalf("%v ended before the cut: %v", load, err)
	}
	loss := d.Cut(rng)
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	// The disk fails what it had not answered, and the client hears of that.
	if err := <-ran; err == nil || !errors.Is(err, ErrGone) && ctx.Err() != nil {
		t.Fatalf("%v: %v", load, err)
	}
	r, err := j.Check(m)
	if err != nil {
		t.Fatal(err)
	}
	if r.Lost > 0 {
		t.Logf("%v; %+v; %v", load, cfg, loss)
	}
	return r
}

// The front end and the disk handler keep what they promised, on a disk that keeps
// to what it is told (I6).
func TestI6CutsInThisProcess(t *testing.T) {
	for _, cfg := range []volatiledisk.Config{{}, {Inline: true}, {WriteThrough: true}, {WriteThrough: true, Inline: true}} {
		t.Run(fmt.Sprintf("%+v", cfg), func(t *testing.T) {
			const sectors = 2048
			rng := rand.New(rand.NewPCG(newSeed(t), 1))
			m, err := volatiledisk.NewMedium(sectors * SectorSize)
			if err != nil {
				t.Fatal(err)
			}
			rules := Rules{WriteThrough: cfg.WriteThrough, MultiConn: true, TrimZeroes: true}
			j := NewJournal(rng.Uint64(), sectors, rules)
			var sum Counts
			for range 25 {
				if r := cutInProcess(t, m, j, rng, cfg); r.Lost > 0 {
					t.Fatal(r)
				}
				sum.Add(j.Counts())
				j.Begin(rules)
			}
			t.Logf("25 cuts, %d requests acknowledged, %d changes durable, %d flushes; lost: 0", sum.Acknowledged, sum.Durable, sum.Flushes)
			if sum.Durable == 0 {
				t.Error("nothing was promised: the test shows nothing")
			}
		})
	}
}

// With --nv_cache nothing is flushed, and on a disk with a volatile cache that
// loses writes: the test notices.
func TestCutsInThisProcessFindLosses(t *testing.T) {
	const sectors = 2048
	rng := rand.New(rand.NewPCG(newSeed(t), 1))
	lost := 0
	for range 10 {
		m, err := volatiledisk.NewMedium(sectors * SectorSize)
		if err != nil {
			t.Fatal(err)
		}
		j := NewJournal(rng.Uint64(), sectors, Rules{MultiConn: true, TrimZeroes: true})
		r := cutInProcess(t, m, j, rng, volatiledisk.Config{NVCache: true})
		lost += r.Lost
	}
	t.Logf("10 cuts, %d sectors lost", lost)
	if lost == 0 {
		t.Error("a disk that is never flushed lost nothing: the test shows nothing")
	}
}
