package powercut

import (
	"testing"

	"pgregory.net/rapid"
)

func TestStampIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Stamp{ID: rapid.Uint64().Draw(t, "id"), Sector: rapid.Uint64().Draw(t, "sector"), Gen: rapid.Uint64Min(1).Draw(t, "gen")}
		var b [SectorSize]byte
		want.Encode(b[:])
		if got, c := Decode(b[:]); got != want || c != Stamped {
			t.Fatalf("%+v is read back as %v, %+v", want, c, got)
		}
	})
}

// A sector of which one part is one generation's and the rest another's, cut
// anywhere but where nothing was left of one of them, is torn.
func TestTornSectorIsNoticed(t *testing.T) {
	old, young := make([]byte, SectorSize), make([]byte, SectorSize)
	zeroes := make([]byte, SectorSize)
	Stamp{ID: 1, Sector: 2, Gen: 3}.Encode(old)
	Stamp{ID: 1, Sector: 2, Gen: 4}.Encode(young)
	for _, halves := range [][2][]byte{{old, young}, {young, old}, {zeroes, old}, {old, zeroes}} {
		for at := 32; at < SectorSize; at += 4 {
			b := append(append([]byte{}, halves[0][:at]...), halves[1][at:]...)
			if s, c := Decode(b); c != Torn {
				t.Fatalf("torn at %d: %v, %+v", at, c, s)
			}
		}
	}
}

func TestForeignDataIsNotTaken(t *testing.T) {
	b := make([]byte, SectorSize)
	Stamp{ID: 1, Sector: 2, Gen: 0}.Encode(b)
	if _, c := Decode(b); c != Foreign {
		t.Errorf("generation 0 is %v", c)
	}
	if _, c := Decode(make([]byte, SectorSize)); c != Zeroes {
		t.Errorf("zeroes are %v", c)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(make([]byte, SectorSize))
	b := make([]byte, SectorSize)
	Stamp{ID: 1, Sector: 2, Gen: 3}.Encode(b)
	f.Add(b)
	f.Add(append([]byte{1}, b[1:]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != SectorSize {
			return
		}
		s, c := Decode(b)
		if c != Stamped {
			return
		}
		again := make([]byte, SectorSize)
		s.Encode(again)
		if got, c := Decode(again); c != Stamped || got != s {
			t.Fatalf("%+v is read back as %v, %+v", s, c, got)
		}
	})
}
