package backingtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"scstuser/handlers"
)

// testParallel lets goroutines work on interleaved small pieces of one area, so
// that each sector and page has several owners. Each must always find its own
// bytes as it left them.
func (s *suite) testParallel(t *testing.T) {
	b := s.start(t)
	defer s.stop(t, b)
	const owners, rounds = 6, 60
	piece := max(512, s.o.Grain)
	pieces := 8 * owners
	var others, work sync.WaitGroup
	done := make(chan struct{})
	others.Go(func() { s.meddle(t, b, done) })
	for owner := range owners {
		work.Go(func() {
			if err := s.own(b, owner, owners, pieces, piece, rounds); err != nil {
				t.Errorf("owner %d: %v", owner, err)
			}
		})
	}
	work.Wait()
	close(done)
	others.Wait()
}

// own writes and checks the pieces of one owner.
func (s *suite) own(b handlers.Backing, owner, owners, pieces, size, rounds int) error {
	r := rand.New(rand.NewPCG(uint64(owner), 7))
	want := make([][]byte, pieces)
	for i := owner; i < pieces; i += owners {
		want[i] = make([]byte, size)
	}
	got := buffer(size, 0)
	for round := range rounds {
		i := owner + owners*r.IntN(pieces/owners)
		off := int64(i * size)
		if err := s.change(b, r.IntN(5), want[i], off, uint64(owner*rounds+round)); err != nil {
			return fmt.Errorf("change piece %d: %w", i, err)
		}
		i = owner + owners*r.IntN(pieces/owners)
		off = int64(i * size)
		if _, err := b.ReadAt(got, off); err != nil {
			return err
		}
		if at := firstDifference(want[i], got); at >= 0 {
			return fmt.Errorf("round %d: byte %d of piece %d is %#02x, want %#02x", round, at, i, got[at], want[i][at])
		}
	}
	return nil
}

// change does one change to a piece, and to want.
func (s *suite) change(b handlers.Backing, what int, want []byte, off int64, seed uint64) error {
	p := pattern(len(want), seed)
	var err error
	switch what {
	case 0, 1:
		if x, ok := b.(handlers.Puncher); ok && what == 0 {
			err = x.Punch(off, int64(len(p)))
		} else if x, ok := b.(handlers.Zeroer); ok {
			err = x.Zero(off, int64(len(p)))
		} else {
			err = handlers.ErrNotSupported
		}
		if err == nil {
			clear(want)
			return nil
		}
		if !errors.Is(err, handlers.ErrNotSupported) {
			return err
		}
		_, err = b.WriteAt(p, off)
	case 2:
		_, ok := b.(handlers.NonBlocker)
		if ok {
			err = tryWrite(b, p, off)
		} else {
			_, err = b.WriteAt(p, off)
		}
	default:
		_, err = b.WriteAt(p, off)
	}
	copy(want, s.expected(p))
	return err
}

// meddle does what others may do at the same time: it must disturb nobody.
func (s *suite) meddle(t *testing.T, b handlers.Backing, done chan struct{}) {
	p := buffer(mediumSize, 0)
	for {
		select {
		case <-done:
			return
		default:
		}
		if _, err := b.ReadAt(p, 0); err != nil {
			t.Errorf("ReadAt: %v", err)
		}
		if x, ok := b.(handlers.Resizer); ok {
			if _, err := x.Refresh(); err != nil {
				t.Errorf("Refresh: %v", err)
			}
		}
		if x, ok := b.(handlers.Mapper); ok {
			if e, err := x.NextExtent(0); err != nil || e.Len <= 0 {
				t.Errorf("NextExtent: %+v, %v", e, err)
			}
		}
		if x, ok := b.(handlers.Syncer); ok {
			if err := x.Sync(); err != nil {
				t.Errorf("Sync: %v", err)
			}
		}
	}
}

// testParallelSync mixes writers who each want their bytes durable.
func (s *suite) testParallelSync(t *testing.T) {
	b := s.start(t)
	defer s.stop(t, b)
	x, ok := b.(handlers.Syncer)
	if !ok {
		t.Skip("no volatile cache")
	}
	var wg sync.WaitGroup
	const writers = 16
	size := max(4096, s.o.Grain)
	for i := range writers {
		wg.Go(func() {
			p := pattern(size, uint64(i))
			for range 5 {
				if _, err := b.WriteAt(p, int64(i*size)); err != nil {
					t.Errorf("WriteAt: %v", err)
				}
				if err := x.Sync(); err != nil {
					t.Errorf("Sync: %v", err)
				}
			}
		})
	}
	wg.Wait()
	for i := range writers {
		mustHold(t, b, s.expected(pattern(size, uint64(i))), int64(i*size))
	}
}
