package sgv

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// busyOwner's memory must have one user at a time.
type busyOwner struct {
	users             atomic.Int32
	mapped, destroyed atomic.Int32
	total             *atomic.Int64 // owners whose memory a pool has
}

func (w *busyOwner) SGVMapped()    { w.mapped.Add(1); w.total.Add(1) }
func (w *busyOwner) SGVDestroyed() { w.destroyed.Add(1); w.total.Add(-1) }

// Many goroutines use the pool while others flush and the timer purges: the
// memory in an object never serves two of them (I3), owners are told exactly
// once, and nothing is left at the end (I4).
func TestI3ManyUsers(t *testing.T) {
	const users, rounds = 8, 3000
	p := New(Options{MaxPages: 48, MaxIdlePages: 24, PurgeInterval: time.Millisecond})
	var total atomic.Int64
	var mu sync.Mutex
	var owners []*busyOwner

	var wg sync.WaitGroup
	for range users {
		wg.Go(func() {
			for range rounds {
				o, hit := p.Get(1+rand.IntN(6*PageSize), rand.IntN(8) != 0)
				if !hit {
					w := &busyOwner{total: &total}
					mu.Lock()
					owners = append(owners, w)
					mu.Unlock()
					if p.Fill(o, w, nil) != nil {
						p.Put(o, true)
						continue
					}
				}
				w := o.Owner.(*busyOwner)
				if w.users.Add(1) != 1 {
					t.Error("two users have the same memory")
				}
				if w.destroyed.Load() != 0 {
					t.Error("the memory was given back before")
				}
				w.users.Add(-1)
				p.Put(o, rand.IntN(16) != 0)
			}
		})
	}
	stop := make(chan struct{})
	var flusher sync.WaitGroup
	flusher.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Microsecond):
				p.Flush()
				if s := p.Stats(); s.TotalPages > 48 || s.IdlePages > 24 || s.TotalPages < s.IdlePages {
					t.Errorf("a limit does not hold: %+v", s)
				}
			}
		}
	})
	wg.Wait()
	close(stop)
	flusher.Wait()
	p.Close()
	// A purge that Close did not stop may still be telling its owners.
	for deadline := time.Now().Add(10 * time.Second); p.Stats().Leaving > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}

	s := p.Stats()
	if s.IdleObjects != 0 || s.IdlePages != 0 || s.TotalPages != 0 || s.Leaving != 0 || s.Filled != s.Destroyed {
		t.Errorf("the pool is not empty: %+v", s)
	}
	if n := total.Load(); n != 0 {
		t.Errorf("%d owners were not told", n)
	}
	var fills uint64
	for _, w := range owners {
		m, d := w.mapped.Load(), w.destroyed.Load()
		if m != d || m > 1 {
			t.Fatalf("an owner was mapped %d times and destroyed %d times", m, d)
		}
		fills += uint64(m)
	}
	if fills != s.Filled {
		t.Errorf("%d owners were mapped, %d objects filled", fills, s.Filled)
	}
}
