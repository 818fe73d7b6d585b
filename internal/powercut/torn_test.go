package powercut

import (
	"strings"
	"testing"

	"scstuser/internal/powercut/volatiledisk"

	"pgregory.net/rapid"
)

// patchwork is sector 0 of journal 1, made of generations up to bytes.
func patchwork(parts ...part) string {
	var b []byte
	for _, p := range parts {
		whole := make([]byte, SectorSize)
		if p.from != zeroed {
			Stamp{ID: 1, Gen: uint64(p.from)}.Encode(whole)
		}
		b = append(b, whole[len(b):p.end]...)
	}
	return string(b)
}

func TestTornSector(t *testing.T) {
	// Generation 1 is replaced for good by 2, while 3 and 4 are on their way.
	overwritten := func(j *Journal) {
		j.Acknowledge(j.Submit(0, Write, false, 0, 1))
		j.Acknowledge(j.Submit(0, Write, true, 0, 1))
		j.Submit(0, Write, false, 0, 1)
		j.Submit(0, Write, false, 0, 1)
	}
	first := func(j *Journal) { j.Submit(0, Write, false, 0, 1) }
	for _, tc := range []struct {
		name  string
		rules Rules
		run   func(j *Journal)
		found string
		torn  int
		want  string // in the report of a loss; "": none
	}{
		{"two legal versions", Rules{Tears: true}, overwritten, patchwork(part{3, 300}, part{2, 512}), 1, ""},
		{"three legal versions", Rules{Tears: true}, overwritten, patchwork(part{3, 40}, part{4, 41}, part{2, 512}), 1, ""},
		{"a whole one, where sectors tear", Rules{Tears: true}, overwritten, patchwork(part{3, 512}), 0, ""},
		{"where sectors do not tear", Rules{}, overwritten, patchwork(part{3, 300}, part{2, 512}), 0,
			"found a torn sector: bytes 0 to 299 of generation 3, bytes 300 to 511 of generation 2; promised"},
		{"with one that is replaced for good", Rules{Tears: true}, overwritten, patchwork(part{3, 300}, part{1, 512}), 0,
			"found a torn sector: bytes 0 to 299 of generation 3, what begins at byte 300 is of nothing that is legal; promised"},
		{"with zeroes that are replaced for good", Rules{Tears: true}, overwritten, patchwork(part{2, 300}, part{0, 512}), 0, "what begins at byte 300"},
		{"with one that nobody wrote", Rules{Tears: true}, overwritten, patchwork(part{2, 300}, part{77, 512}), 0, "what begins at byte 300"},
		{"too many parts", Rules{Tears: true}, overwritten, patchwork(part{2, 50}, part{3, 60}, part{2, 70}, part{3, 80}, part{2, 512}), 0, "what begins at byte 80"},
		{"what was there before", Rules{Tears: true}, first, patchwork(part{0, 99}, part{1, 512}), 1, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			j := NewJournal(1, 1, tc.rules)
			tc.run(j)
			r, err := j.Check(strings.NewReader(tc.found))
			if err != nil {
				t.Fatal(err)
			}
			if (r.Lost == 0) != (tc.want == "") || r.Torn != tc.torn || !strings.Contains(r.String(), tc.want) {
				t.Error(r)
			}
		})
	}
}

// What was found torn has to stay as it was, and is what the next sector on its way
// may be torn with.
func TestTornSectorIsRemembered(t *testing.T) {
	before := patchwork(part{2, 300}, part{1, 512})
	for _, tc := range []struct {
		name  string
		run   func(j *Journal)
		found string
		lost  int
	}{
		{"the same", func(*Journal) {}, before, 0},
		{"torn elsewhere", func(*Journal) {}, patchwork(part{2, 301}, part{1, 512}), 1},
		{"torn again", func(j *Journal) { j.Submit(0, Write, false, 0, 1) }, patchwork(part{3, 100}, part{2, 300}, part{1, 512}), 0},
		{"replaced for good", func(j *Journal) { j.Acknowledge(j.Submit(0, Write, true, 0, 1)) }, before, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rules := Rules{Tears: true}
			j := NewJournal(1, 1, rules)
			j.Submit(0, Write, false, 0, 1)
			j.Submit(0, Write, false, 0, 1)
			if r, err := j.Check(strings.NewReader(before)); err != nil || r.Lost != 0 || r.Torn != 1 {
				t.Fatal(r, err)
			}
			j.Begin(rules)
			tc.run(j)
			if r, err := j.Check(strings.NewReader(tc.found)); err != nil || r.Lost != tc.lost {
				t.Error(r, err)
			}
		})
	}
}

// A sector of two parts is legal if each of them is, by the definition.
func TestTornIsAsDefined(t *testing.T) {
	legal, illegal := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		m, err := volatiledisk.NewMedium(SectorSize)
		if err != nil {
			t.Fatal(err)
		}
		rules := drawRules(t)
		rules.Tears = true
		j := NewJournal(1, 1, rules)
		s := newScript(t, m, j, rules)
		defer s.disk.Close()
		s.play()
		var writes []version
		for _, op := range s.all {
			if op.Kind == Write {
				writes = append(writes, version(op.Gen))
			}
		}
		if len(writes) < 2 {
			t.Skip("nothing to be torn")
		}
		two := rapid.SliceOfNDistinct(rapid.SampledFrom(writes), 2, 2, rapid.ID[version]).Draw(t, "versions")
		// Both have bytes of their own: the stamps begin alike.
		at := rapid.IntRange(fillStart+8, SectorSize-8).Draw(t, "at")
		want := legalByDefinition(s.all, rules, 0, two[0], zeroed) && legalByDefinition(s.all, rules, 0, two[1], zeroed)
		r, err := j.Check(strings.NewReader(patchwork(part{two[0], at}, part{two[1], SectorSize})))
		if err != nil || (r.Lost == 0) != want {
			t.Fatalf("%v, %v; by definition %v\n%v", err, r, want, s.all)
		}
		if want {
			legal++
		} else {
			illegal++
		}
	})
	if legal == 0 || illegal == 0 {
		t.Errorf("%d legal, %d not: the test shows nothing", legal, illegal)
	}
}
