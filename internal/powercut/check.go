package powercut

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxLosses bounds how many losses a Report describes.
const maxLosses = 20

// checkChunk is how much is read at once, in bytes.
const checkChunk = 1 << 20

// Loss is a sector that holds what it must not.
type Loss struct {
	// Sector is its number; it starts at byte Sector * SectorSize.
	Sector int
	// Found says what is there, and Promise what must not have been lost, and
	// who acknowledged it when.
	Found, Promise string
	// Legal are the versions that it may hold.
	Legal []string
}

// String tells the loss on one line.
func (l Loss) String() string {
	return fmt.Sprintf("sector %d (byte %d): found %s; promised was %s; legal: %s",
		l.Sector, int64(l.Sector)*SectorSize, l.Found, l.Promise, strings.Join(l.Legal, ", "))
}

// Report is what Check found.
type Report struct {
	// Sectors were compared, Lost of them are wrong.
	Sectors, Lost int
	// Kept of them hold what somebody promised to be durable, or something
	// newer.
	Kept int
	// Torn of them are not whole, and may be so ([Rules].Tears) or were already.
	Torn int
	// Losses describes the first of the wrong ones.
	Losses []Loss
}

// String is a line for each loss, or that there is none.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d sectors compared, %d of them under a promise, %d torn, %d lost", r.Sectors, r.Kept+r.Lost, r.Torn, r.Lost)
	for _, l := range r.Losses {
		fmt.Fprintf(&b, "\n%v", l)
	}
	if more := r.Lost - len(r.Losses); more > 0 {
		fmt.Fprintf(&b, "\nand %d more", more)
	}
	return b.String()
}

// Check compares an image after a power cut with what may be there, and
// remembers what it found for Begin. Its only errors are the image's own.
func (j *Journal) Check(image io.ReaderAt) (Report, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var r Report
	buf := make([]byte, checkChunk)
	for first := 0; first < len(j.sectors); first += checkChunk / SectorSize {
		n := min(len(j.sectors)-first, checkChunk/SectorSize)
		if got, err := image.ReadAt(buf[:n*SectorSize], int64(first)*SectorSize); got < n*SectorSize {
			return r, fmt.Errorf("read the image at sector %d: %w", first, err)
		}
		for i := range n {
			j.checkSector(&r, first+i, buf[i*SectorSize:(i+1)*SectorSize])
		}
	}
	return r, nil
}

// checkSector judges one. The caller holds mu.
func (j *Journal) checkSector(r *Report, i int, data []byte) {
	s := &j.sectors[i]
	v, what := j.identify(i, data)
	ok := slices.Contains(s.legal(), v)
	var bytes []byte
	if !v.whole() {
		ok = s.floor == nil && string(data) == string(s.bytes)
		if !ok && v == torn {
			ok, what = j.checkTorn(i, data)
		}
		bytes = slices.Clone(data)
	}
	r.Sectors++
	switch {
	case !ok:
		r.Lost++
		if len(r.Losses) < maxLosses {
			r.Losses = append(r.Losses, j.loss(i, what))
		}
	case s.floor != nil:
		r.Kept++
	}
	if ok && v == torn {
		r.Torn++
	}
	s.found, s.bytes = v, bytes
}

// identify says which version a sector's data is, and in words. The caller holds
// mu.
func (j *Journal) identify(i int, data []byte) (version, string) {
	stamp, content := Decode(data)
	switch content {
	case Zeroes:
		return zeroed, zeroed.String()
	case Torn:
		return torn, torn.String()
	case Foreign:
		return foreign, foreign.String()
	}
	if stamp.ID != j.id || stamp.Sector != uint64(i) {
		return foreign, fmt.Sprintf("what belongs to sector %d of journal %#x (generation %d)", stamp.Sector, stamp.ID, stamp.Gen)
	}
	if op := j.ops[stamp.Gen]; op != nil {
		return version(stamp.Gen), op.String()
	}
	return version(stamp.Gen), fmt.Sprintf("generation %d of an earlier run", stamp.Gen)
}

// loss describes what is wrong with a sector. The caller holds mu.
func (j *Journal) loss(i int, found string) Loss {
	s := &j.sectors[i]
	l := Loss{Sector: i, Found: found, Promise: "what was there before: " + s.found.String()}
	if s.floor != nil {
		l.Promise = s.floor.String()
	}
	for _, v := range s.legal() {
		l.Legal = append(l.Legal, v.String())
	}
	return l
}
