package volatiledisk

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"scstuser/handlers"
	"scstuser/handlers/backingtest"

	"pgregory.net/rapid"
)

func powerOn(t testing.TB, m *Medium) *Disk {
	t.Helper()
	d, err := m.PowerOn()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func newMedium(t testing.TB, size int64) *Medium {
	t.Helper()
	m, err := NewMedium(size)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestConformance(t *testing.T) {
	backingtest.Run(t, func(t *testing.T, size int64) handlers.Backing {
		return powerOn(t, newMedium(t, size))
	}, backingtest.Opts{Reopen: func(t *testing.T, b handlers.Backing) handlers.Backing {
		d := b.(*Disk)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		return powerOn(t, d.m)
	}})
}

// sectorModel is a disk as one slow, obvious thing: for each sector what is on the
// medium, and all that was written to it since.
type sectorModel struct {
	stable []byte
	cached []cachedSector
}

// cachedSector is one write to a sector. seq numbers the changes of a disk.
type cachedSector struct {
	data []byte
	seq  int
}

func (s *sectorModel) write(data []byte, seq int) {
	s.cached = append(s.cached, cachedSector{data, seq})
}

// flush makes stable what was written up to seq.
func (s *sectorModel) flush(seq int) {
	for len(s.cached) > 0 && s.cached[0].seq <= seq {
		s.stable, s.cached = s.cached[0].data, s.cached[1:]
	}
}

// now is what it reads as.
func (s *sectorModel) now() []byte {
	if n := len(s.cached); n > 0 {
		return s.cached[n-1].data
	}
	return s.stable
}

// After a cut each sector holds, whole, what was made stable last, or something
// that was written to it since, and what the policy promises besides.
func TestCutKeepsWhatWasFlushed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const sectors = 3 * chunkSize / SectorSize / 2
		m, err := NewMedium(sectors * SectorSize)
		if err != nil {
			t.Fatal(err)
		}
		model := make([]sectorModel, sectors)
		for i := range model {
			model[i].stable = make([]byte, SectorSize)
		}
		gen := byte(0)
		for range rapid.IntRange(1, 3).Draw(t, "cuts") {
			d, err := m.PowerOn()
			if err != nil {
				t.Fatal(err)
			}
			seq, mark := 0, 0
			for range rapid.IntRange(0, 30).Draw(t, "commands") {
				first := rapid.OneOf(rapid.IntRange(0, 2), rapid.IntRange(0, sectors-1)).Draw(t, "first")
				n := rapid.OneOf(rapid.IntRange(1, 4), rapid.IntRange(1, sectors)).Draw(t, "n")
				n = min(n, sectors-first)
				off := int64(first) * SectorSize
				gen++
				data := bytes.Repeat([]byte{gen}, n*SectorSize)
				switch rapid.SampledFrom([]string{"write", "write", "durable", "zero", "flush", "read", "begin flush", "end flush"}).Draw(t, "command") {
				case "write":
					_, err = d.WriteAt(data, off)
					seq++
					for i := range n {
						model[first+i].write(data[:SectorSize], seq)
					}
				case "durable":
					_, err = d.WriteAtDurable(data, off)
					seq++
					for i := range n {
						model[first+i] = sectorModel{stable: data[:SectorSize]}
					}
				case "zero":
					err = d.Zero(off, int64(n)*SectorSize)
					seq++
					for i := range n {
						model[first+i].write(make([]byte, SectorSize), seq)
					}
				case "flush":
					err = d.Sync()
					for i := range model {
						model[i].flush(seq)
					}
				case "begin flush":
					mark = seq
				case "end flush":
					if n := mark - d.first; n > 0 {
						d.flush(n)
					}
					for i := range model {
						model[i].flush(mark)
					}
				case "read":
					got := make([]byte, len(data))
					_, err = d.ReadAt(got, off)
					for i := range n {
						want := model[first+i].now()
						if !bytes.Equal(got[i*SectorSize:(i+1)*SectorSize], want) {
							t.Fatalf("sector %d reads as %d, want %d", first+i, got[i*SectorSize], want[0])
						}
					}
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			policy := Policy(rapid.IntRange(0, int(numPolicies)-1).Draw(t, "policy"))
			if policy == LoseAll && rapid.Bool().Draw(t, "nobody decides") {
				d.PullPlug()
			} else {
				d.CutAs(policy, rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)))
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			after := contents(t, m)
			for i := range model {
				got := after[i*SectorSize : (i+1)*SectorSize]
				s := model[i]
				legal := [][]byte{s.stable}
				for _, c := range s.cached {
					legal = append(legal, c.data)
				}
				switch policy {
				case LoseAll:
					legal = legal[:1]
				case KeepAll:
					legal = legal[len(legal)-1:]
				}
				if !contains(legal, got) {
					t.Fatalf("sector %d holds %d after a cut with %v; stable was %d, cached %d writes", i, got[0], policy, s.stable[0], len(s.cached))
				}
				model[i] = sectorModel{stable: append([]byte(nil), got...)}
			}
		}
	})
}

func contains(all [][]byte, b []byte) bool {
	for _, a := range all {
		if bytes.Equal(a, b) {
			return true
		}
	}
	return false
}

func contents(t interface{ Fatal(...any) }, m *Medium) []byte {
	b := make([]byte, m.Size())
	if _, err := m.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

// Without power nobody is answered, until the disk is closed.
func TestNobodyIsAnsweredWithoutPower(t *testing.T) {
	p := make([]byte, SectorSize)
	for name, op := range map[string]func(*Disk) error{
		"read":          func(d *Disk) error { _, err := d.ReadAt(p, 0); return err },
		"write":         func(d *Disk) error { _, err := d.WriteAt(p, 0); return err },
		"durable write": func(d *Disk) error { _, err := d.WriteAtDurable(p, 0); return err },
		"zero":          func(d *Disk) error { return d.Zero(0, SectorSize) },
		"flush":         (*Disk).Sync,
	} {
		t.Run(name, func(t *testing.T) {
			d := powerOn(t, newMedium(t, 1<<20))
			d.PullPlug()
			done := make(chan error, 1)
			go func() { done <- op(d) }()
			select {
			case err := <-done:
				t.Fatalf("answered: %v", err)
			case <-time.After(20 * time.Millisecond):
			}
			if err := d.TryReadAt(p, 0); !errors.Is(err, handlers.ErrWouldBlock) {
				t.Errorf("TryReadAt: %v", err)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if err := <-done; !errors.Is(err, ErrOff) {
				t.Errorf("after Close: %v", err)
			}
		})
	}
}

// CutAfter counts changes and flushes, and the one after them does not happen.
func TestCutAfterSoManyCommands(t *testing.T) {
	for _, n := range []int{0, 1, 5} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			m := newMedium(t, 1<<20)
			d := powerOn(t, m)
			d.CutAfter(n)
			for i := range n {
				if _, err := d.WriteAtDurable(bytes.Repeat([]byte{1}, SectorSize), int64(i)*SectorSize); err != nil {
					t.Fatal(err)
				}
			}
			done := make(chan error, 1)
			go func() {
				_, err := d.WriteAtDurable(bytes.Repeat([]byte{1}, SectorSize), int64(n)*SectorSize)
				done <- err
			}()
			<-d.HasCut()
			d.CutAs(KeepAll, nil)
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if err := <-done; !errors.Is(err, ErrOff) {
				t.Fatalf("the write after the cut: %v", err)
			}
			after := contents(t, m)
			for i := range n + 1 {
				if got, want := after[i*SectorSize] == 1, i < n; got != want {
					t.Errorf("write %d is on the medium: %v, want %v", i, got, want)
				}
			}
		})
	}
}

// A flush that takes time is over when it is, and covers nothing that was written
// after it had begun.
func TestSlowFlush(t *testing.T) {
	m := newMedium(t, 1<<20)
	d := powerOn(t, m)
	d.SlowFlush(50 * time.Millisecond)
	write := func(sector int64) {
		if _, err := d.WriteAt(bytes.Repeat([]byte{1}, SectorSize), sector*SectorSize); err != nil {
			t.Fatal(err)
		}
	}
	write(0)
	d.CutAfter(1000) // counts down
	flushed := make(chan error, 1)
	began := time.Now()
	go func() { flushed <- d.Sync() }()
	for begun := false; !begun; time.Sleep(time.Millisecond) {
		d.mu.Lock()
		begun = d.until == 999
		d.mu.Unlock()
	}
	write(1)
	if err := <-flushed; err != nil || time.Since(began) < 50*time.Millisecond {
		t.Errorf("flushed after %v: %v", time.Since(began), err)
	}
	d.CutAs(LoseAll, nil)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if b := contents(t, m); b[0] != 1 || b[SectorSize] != 0 {
		t.Errorf("on the medium: %d, %d; want 1, 0", b[0], b[SectorSize])
	}
}

// What is to stay whole stays whole: a write over one part and a half is found in
// none, one or both of its parts, never in a piece of one.
func TestCutKeepsPartsWhole(t *testing.T) {
	const whole = 4096
	seen := map[[3]bool]bool{}
	for seed := range uint64(200) {
		m := newMedium(t, 1<<20)
		d := powerOn(t, m)
		d.KeepWhole(whole)
		if _, err := d.WriteAt(bytes.Repeat([]byte{1}, whole+whole/2), whole/2); err != nil {
			t.Fatal(err)
		}
		d.CutAs(SomeParts, rand.New(rand.NewPCG(seed, 1)))
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		b := contents(t, m)
		var parts [3]bool
		for i := range parts {
			part := b[i*whole:][:whole]
			if i == 0 {
				part = part[whole/2:]
			}
			switch n := bytes.Count(part, []byte{1}); n {
			case 0:
			case len(part):
				parts[i] = true
			default:
				t.Fatalf("part %d is torn: %d of %d bytes", i, n, len(part))
			}
		}
		seen[parts] = true
	}
	if len(seen) != 4 {
		t.Errorf("%d different outcomes, want 4: %v", len(seen), seen)
	}
}

// A disk that is closed with the power on loses nothing.
func TestCloseFlushes(t *testing.T) {
	m := newMedium(t, 1<<20)
	d := powerOn(t, m)
	want := bytes.Repeat([]byte{7}, SectorSize)
	if _, err := d.WriteAt(want, 4096); err != nil {
		t.Fatal(err)
	}
	if _, err := m.PowerOn(); err == nil {
		t.Error("a medium was switched on twice")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, m)[4096:][:SectorSize]; !bytes.Equal(got, want) {
		t.Error("the write is lost")
	}
}
