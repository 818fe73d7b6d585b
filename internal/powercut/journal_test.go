package powercut

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"scstuser/internal/powercut/volatiledisk"

	"pgregory.net/rapid"
)

// script is a random life of a disk of few sectors: requests that are sent,
// carried out and acknowledged in any order that can be, on several connections.
type script struct {
	t       *rapid.T
	j       *Journal
	disk    *volatiledisk.Disk
	rules   Rules
	sectors int
	// waiting were sent and not carried out, done not acknowledged.
	waiting, done []*Op
	all           []*Op
}

func (s *script) submit() {
	kind := rapid.SampledFrom([]Kind{Write, Write, Write, WriteZeroes, Trim, Flush}).Draw(s.t, "kind")
	first, count := 0, 0
	if kind != Flush {
		first = rapid.IntRange(0, s.sectors-1).Draw(s.t, "first")
		count = rapid.IntRange(1, s.sectors-first).Draw(s.t, "count")
	}
	op := s.j.Submit(rapid.IntRange(0, 1).Draw(s.t, "conn"), kind, rapid.Bool().Draw(s.t, "FUA"), first, count)
	s.waiting, s.all = append(s.waiting, op), append(s.all, op)
}

// carryOut does a request on the disk as a server does.
func (s *script) carryOut() {
	op := s.take(&s.waiting)
	if op == nil {
		return
	}
	s.done = append(s.done, op)
	off, n := int64(op.First)*SectorSize, int64(op.Count)*SectorSize
	var err error
	switch op.Kind {
	case Write:
		b := make([]byte, n)
		s.j.Fill(b, op)
		_, err = s.disk.WriteAt(b, off)
	case WriteZeroes:
		err = s.disk.Zero(off, n)
	case Trim:
		if s.rules.TrimZeroes || rapid.Bool().Draw(s.t, "trims") {
			err = s.disk.Punch(off, n)
		}
	}
	if err == nil && (op.Kind == Flush || op.FUA || s.rules.WriteThrough) {
		err = s.disk.Sync()
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *script) acknowledge() {
	if op := s.take(&s.done); op != nil {
		s.j.Acknowledge(op)
	}
}

func (s *script) take(from *[]*Op) *Op {
	if len(*from) == 0 {
		return nil
	}
	i := rapid.IntRange(0, len(*from)-1).Draw(s.t, "which")
	op := (*from)[i]
	*from = append((*from)[:i:i], (*from)[i+1:]...)
	return op
}

// play runs a number of steps.
func (s *script) play() {
	for range rapid.IntRange(0, 60).Draw(s.t, "steps") {
		switch rapid.IntRange(0, 2).Draw(s.t, "step") {
		case 0:
			s.submit()
		case 1:
			s.carryOut()
		case 2:
			s.acknowledge()
		}
	}
}

func drawRules(t *rapid.T) Rules {
	return Rules{
		WriteThrough: rapid.Bool().Draw(t, "write through"),
		MultiConn:    rapid.Bool().Draw(t, "multi-conn"),
		TrimZeroes:   rapid.Bool().Draw(t, "trim zeroes"),
	}
}

func newScript(t *rapid.T, m *volatiledisk.Medium, j *Journal, rules Rules) *script {
	d, err := m.PowerOn()
	if err != nil {
		t.Fatal(err)
	}
	return &script{t: t, j: j, disk: d, rules: rules, sectors: j.Sectors()}
}

// legalByDefinition is the package's documentation, word by word.
func legalByDefinition(all []*Op, rules Rules, sector int, v, before version) bool {
	durable := func(o *Op) bool {
		if o.acknowledged == 0 || o.Kind == Trim && !rules.TrimZeroes {
			return false
		}
		if o.FUA || rules.WriteThrough {
			return true
		}
		for _, f := range all {
			if f.Kind == Flush && f.acknowledged != 0 && f.submitted > o.acknowledged && (rules.MultiConn || f.Conn == o.Conn) {
				return true
			}
		}
		return false
	}
	var here []*Op
	for _, o := range all {
		if o.Kind != Flush && o.First <= sector && sector < o.end() {
			here = append(here, o)
		}
	}
	replaced := func(acknowledged uint64, never bool) bool {
		for _, y := range here {
			if durable(y) && !never && acknowledged < y.submitted {
				return true
			}
		}
		return false
	}
	if v == before && !replaced(0, false) {
		return true
	}
	for _, o := range here {
		if o.leaves() == v && !replaced(o.acknowledged, o.acknowledged == 0) {
			return true
		}
	}
	return false
}

// What the journal holds legal is what the definition says, for each sector and
// each thing that could be found there.
func TestLegalIsAsDefined(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const sectors = 4
		m, err := volatiledisk.NewMedium(sectors * SectorSize)
		if err != nil {
			t.Fatal(err)
		}
		rules := drawRules(t)
		j := NewJournal(1, sectors, rules)
		s := newScript(t, m, j, rules)
		defer s.disk.Close()
		s.play()
		for i := range sectors {
			versions := []version{zeroed, torn, foreign}
			for _, op := range s.all {
				versions = append(versions, version(op.Gen))
			}
			for _, v := range versions {
				if got, want := slices.Contains(j.sectors[i].legal(), v), legalByDefinition(s.all, rules, i, v, zeroed); got != want {
					t.Fatalf("sector %d, %v: legal %v, by definition %v\n%v", i, v, got, want, s.all)
				}
			}
		}
	})
}

// A disk that keeps its promises loses nothing, however often its power is cut.
func TestHonestDiskLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const sectors = 8
		m, err := volatiledisk.NewMedium(sectors * SectorSize)
		if err != nil {
			t.Fatal(err)
		}
		rules := drawRules(t)
		j := NewJournal(1, sectors, rules)
		for range rapid.IntRange(1, 3).Draw(t, "cuts") {
			s := newScript(t, m, j, rules)
			s.play()
			s.disk.Cut(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)))
			s.disk.Close()
			r, err := j.Check(m)
			if err != nil || r.Lost != 0 {
				t.Fatalf("%v, %v\n%v", err, r, s.all)
			}
			rules = drawRules(t)
			j.Begin(rules)
		}
	})
}

// A disk that ignores flushes, and loses its cache, is found out in each sector
// that it made a promise about, and in no other.
func TestLyingDiskIsFoundOut(t *testing.T) {
	found := 0
	rapid.Check(t, func(t *rapid.T) {
		const sectors = 8
		m, err := volatiledisk.NewMedium(sectors * SectorSize)
		if err != nil {
			t.Fatal(err)
		}
		rules := drawRules(t)
		j := NewJournal(1, sectors, rules)
		s := newScript(t, m, j, rules)
		s.disk.Lie()
		s.play()
		s.disk.CutAs(volatiledisk.LoseAll, nil)
		s.disk.Close()
		want := 0
		for i := range sectors {
			if !legalByDefinition(s.all, rules, i, zeroed, zeroed) {
				want++
			}
		}
		r, err := j.Check(m)
		if err != nil || r.Lost != want {
			t.Fatalf("%v, %v; want %d lost\n%v", err, r, want, s.all)
		}
		found += want
	})
	if found == 0 {
		t.Error("there was nothing to find: the test shows nothing")
	}
}

// image is an image of stamps, generation 0 for zeroes.
func image(id uint64, gens ...uint64) *strings.Reader {
	b := make([]byte, len(gens)*SectorSize)
	for i, g := range gens {
		if g != 0 {
			Stamp{ID: id, Sector: uint64(i), Gen: g}.Encode(b[i*SectorSize:])
		}
	}
	return strings.NewReader(string(b))
}

// What a loss looks like to people.
func TestReportTellsWhatWasLost(t *testing.T) {
	for _, tc := range []struct {
		name string
		run  func(j *Journal)
		// found are the generations in a disk of one sector
		found uint64
		want  []string // parts of the report; none: no loss
	}{
		{"a FUA write", func(j *Journal) {
			j.Acknowledge(j.Submit(0, Write, true, 0, 1))
		}, 0, []string{"1 lost", "sector 0 (byte 0): found zeroes", "promised was WRITE with FUA (generation 1,", "acknowledged as durable at 2", "legal: generation 1"}},
		{"an older generation than the flushed one", func(j *Journal) {
			j.Acknowledge(j.Submit(0, Write, true, 0, 1))
			j.Acknowledge(j.Submit(1, Write, false, 0, 1))
			j.Acknowledge(j.Submit(0, Flush, false, 0, 0))
			j.Submit(0, Write, false, 0, 1)
		}, 1, []string{"1 lost", "found WRITE with FUA (generation 1,", "promised was WRITE (generation 2, connection 1", "durable at 6 by the FLUSH of connection 0 that was sent at 5", "legal: generation 2, generation 4"}},
		{"what was never acknowledged may be there", func(j *Journal) {
			j.Acknowledge(j.Submit(0, Write, true, 0, 1))
			j.Submit(0, Write, false, 0, 1)
		}, 2, nil},
		{"a flush that was sent too early", func(j *Journal) {
			w := j.Submit(0, Write, false, 0, 1)
			f := j.Submit(0, Flush, false, 0, 0)
			j.Acknowledge(w)
			j.Acknowledge(f)
		}, 0, nil},
		{"zeroes that are not there", func(j *Journal) {
			j.Acknowledge(j.Submit(0, Write, true, 0, 1))
			j.Acknowledge(j.Submit(0, WriteZeroes, true, 0, 1))
		}, 1, []string{"promised was WRITE_ZEROES with FUA", "legal: zeroes"}},
		{"a trim promises nothing", func(j *Journal) {
			j.Acknowledge(j.Submit(0, Write, true, 0, 1))
			j.Acknowledge(j.Submit(0, Trim, true, 0, 1))
		}, 1, nil},
		{"a trim may zero", func(j *Journal) {
			j.Acknowledge(j.Submit(0, Write, true, 0, 1))
			j.Submit(0, Trim, false, 0, 1)
		}, 0, nil},
		{"what nobody wrote", func(*Journal) {}, 9, []string{"found generation 9 of an earlier run", "promised was what was there before: zeroes"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			j := NewJournal(1, 1, Rules{MultiConn: true})
			tc.run(j)
			r, err := j.Check(image(1, tc.found))
			if err != nil {
				t.Fatal(err)
			}
			if (r.Lost == 0) != (tc.want == nil) {
				t.Fatal(r)
			}
			for _, want := range tc.want {
				if !strings.Contains(r.String(), want) {
					t.Errorf("%q is not in\n%v", want, r)
				}
			}
		})
	}
}

// A sector of another place or another disk is lost, also if the generation is
// right.
func TestMisplacedSectorIsALoss(t *testing.T) {
	write := func() *Journal {
		j := NewJournal(1, 2, Rules{})
		j.Acknowledge(j.Submit(0, Write, true, 0, 2))
		return j
	}
	swapped := make([]byte, 2*SectorSize)
	Stamp{ID: 1, Sector: 1, Gen: 1}.Encode(swapped)
	Stamp{ID: 1, Sector: 0, Gen: 1}.Encode(swapped[SectorSize:])
	if r, err := write().Check(strings.NewReader(string(swapped))); err != nil || r.Lost != 2 {
		t.Errorf("swapped: %v, %v", r, err)
	}
	if r, err := write().Check(image(2, 1, 1)); err != nil || r.Lost != 2 {
		t.Errorf("another disk's: %v, %v", r, err)
	}
	if r, err := write().Check(image(1, 1, 1)); err != nil || r.Lost != 0 || r.Kept != 2 {
		t.Errorf("its own: %v, %v", r, err)
	}
}

// An image that can't be read whole is no image without losses.
func TestShortImageIsAnError(t *testing.T) {
	j := NewJournal(1, 2, Rules{})
	if r, err := j.Check(image(1, 0)); err == nil {
		t.Errorf("half an image: %v", r)
	}
}
