package interop

import (
	"context"
	"encoding/binary"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"scstuser/internal/proc"
)

// garbageTime is how long bad clients are at it.
const garbageTime = 3 * time.Second

// vandals are clients that break the protocol in one way each. They send
// nothing that, taken literally, would change the disk.
var vandals = []struct {
	name   string
	attack func(rng *rand.Rand, e proc.Endpoint) error
}{
	{"noise instead of a handshake", func(rng *rand.Rand, e proc.Endpoint) error {
		return spray(e, noise(rng, 1+rng.IntN(4*kib)))
	}},
	{"noise instead of an option", func(rng *rand.Rand, e proc.Endpoint) error {
		return spray(e, append(binary.BigEndian.AppendUint32(nil, fixedNoZeroes), noise(rng, 1+rng.IntN(4*kib))...))
	}},
	{"an option that claims to be huge", func(rng *rand.Rand, e proc.Endpoint) error {
		p := binary.BigEndian.AppendUint32(nil, fixedNoZeroes)
		p = binary.BigEndian.AppendUint64(p, optMagic)
		p = binary.BigEndian.AppendUint32(p, rng.Uint32N(16))
		p = binary.BigEndian.AppendUint32(p, math.MaxUint32-rng.Uint32N(1<<20))
		return spray(e, append(p, noise(rng, 64*kib)...))
	}},
	{"options of any kind", func(rng *rand.Rand, e proc.Endpoint) error {
		p := binary.BigEndian.AppendUint32(nil, fixedNoZeroes)
		for range 20 {
			data := noise(rng, rng.IntN(64))
			p = binary.BigEndian.AppendUint64(p, optMagic)
			p = binary.BigEndian.AppendUint32(p, 3+rng.Uint32N(20))
			p = binary.BigEndian.AppendUint32(p, uint32(len(data)))
			p = append(p, data...)
		}
		return spray(e, p)
	}},
	{"silence", func(_ *rand.Rand, e proc.Endpoint) error { return spray(e, nil) }},
	{"noise instead of a request", func(rng *rand.Rand, e proc.Endpoint) error {
		return after(e, noise(rng, 1+rng.IntN(64*kib)))
	}},
	{"half a request", func(rng *rand.Rand, e proc.Endpoint) error {
		return after(e, request(cmdRead, 0, 1, 0, 4*kib)[:1+rng.IntN(requestSize-1)])
	}},
	{"unknown commands and flags", func(rng *rand.Rand, e proc.Endpoint) error {
		var p []byte
		for i := range uint64(50) {
			p = append(p, request(uint16(8+rng.IntN(60000)), uint16(rng.Uint32()), i, rng.Uint64(), rng.Uint32())...)
		}
		return after(e, p)
	}},
	{"reads far outside", func(rng *rand.Rand, e proc.Endpoint) error {
		var p []byte
		for i := range uint64(50) {
			p = append(p, request(cmdRead, 0, i, math.MaxUint64-rng.Uint64N(1<<20), rng.Uint32())...)
		}
		return after(e, p)
	}},
	{"reads whose replies nobody takes", func(_ *rand.Rand, e proc.Endpoint) error {
		var p []byte
		for i := range uint64(64) {
			p = append(p, request(cmdRead, 0, i, 0, mib)...)
		}
		return after(e, p)
	}},
	{"a write outside, cut off in its payload", func(rng *rand.Rand, e proc.Endpoint) error {
		p := request(cmdWrite, 0, 1, 1<<50, mib)
		return after(e, append(p, noise(rng, rng.IntN(512*kib))...))
	}},
	{"a write that claims to be huge", func(rng *rand.Rand, e proc.Endpoint) error {
		p := request(cmdWrite, 0, 1, 1<<50, math.MaxUint32)
		return after(e, append(p, noise(rng, rng.IntN(512*kib))...))
	}},
}

// noise is n bytes without meaning.
func noise(rng *rand.Rand, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	return p
}

// spray sends p instead of a handshake, listens for a moment and hangs up. Only
// a server that does not accept is an error: it may well hang up first.
func spray(e proc.Endpoint, p []byte) error {
	conn, err := e.Dial(context.Background())
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Millisecond))
	_, _ = conn.Write(p)
	_, _ = io.CopyN(io.Discard, conn, 64*kib)
	return nil
}

// after is spray for a connection that has been through a good handshake.
func after(e proc.Endpoint, p []byte) error {
	conn, err := negotiate(e)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Millisecond))
	_, _ = conn.Write(p)
	_, _ = io.CopyN(io.Discard, conn, 64*kib)
	return nil
}

// TestGarbageHurtsNobodyElse: clients that send garbage lose their own
// connections; the copies that run meanwhile are right, and the server's memory
// stays bounded.
func TestGarbageHurtsNobodyElse(t *testing.T) {
	fileioOnly(t)
	needTool(t, "nbdcopy")
	image := randomImage(t, 32*mib)
	s := serveFile(t, image)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)

	var bad sync.WaitGroup
	until := time.Now().Add(garbageTime)
	for i, v := range vandals {
		bad.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			for time.Now().Before(until) {
				if err := v.attack(rng, s.Endpoint(0)); err != nil {
					t.Errorf("%s: %v", v.name, err)
					return
				}
			}
		})
	}
	t.Cleanup(bad.Wait)
	copies := 0
	for time.Now().Before(until) && !t.Failed() {
		out := filepath.Join(t.TempDir(), "out")
		nbdcopy(t, s.URI(""), out, "--connections=2")
		sameFiles(t, out, image)
		nbdcopy(t, image, s.URI(""), "--connections=2")
		copies++
	}
	bad.Wait()
	t.Logf("%d copies each way", copies)

	u, err := s.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if limit := int64(512 * mib); u.PeakRSS > limit {
		t.Errorf("the server needed %d MiB at a time, want at most %d", u.PeakRSS/mib, limit/mib)
	}
	before := content(t, image)
	stop(t, s)
	if string(content(t, image)) != string(before) || string(before) != string(randomBytes(1, 32*mib)) {
		t.Error("the image has changed")
	}
}
