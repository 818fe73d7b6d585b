package powercut

import (
	"fmt"
	"strings"
)

// maxParts is into how many parts a sector may be torn: each needs an overwrite
// within the time in which half a kilobyte is copied.
const maxParts = 4

// part is a part of a torn sector: from a version, up to a byte.
type part struct {
	from version
	end  int
}

// checkTorn judges a sector that is not whole. It may be what nothing but legal
// versions came together in. The caller holds mu.
func (j *Journal) checkTorn(i int, data []byte) (ok bool, what string) {
	parts, all := j.takeApart(i, data)
	var b strings.Builder
	b.WriteString("a torn sector:")
	start := 0
	for _, p := range parts {
		fmt.Fprintf(&b, " bytes %d to %d of %v,", start, p.end-1, p.from)
		start = p.end
	}
	if !all {
		fmt.Fprintf(&b, " what begins at byte %d is of nothing that is legal", start)
	}
	return all && j.rules.Tears, strings.TrimSuffix(b.String(), ",")
}

// takeApart finds the fewest parts of legal versions that a sector consists of,
// from its start. all: there is nothing else in it. The caller holds mu.
func (j *Journal) takeApart(i int, data []byte) (parts []part, all bool) {
	versions := j.sectors[i].legal()
	legal := make([][]byte, len(versions))
	for k, v := range versions {
		legal[k] = j.contents(i, v)
	}
	for at := 0; at < len(data); {
		longest := part{end: at}
		for k, b := range legal {
			end := at
			for end < len(data) && data[end] == b[end] {
				end++
			}
			if end > longest.end {
				longest = part{versions[k], end}
			}
		}
		if longest.end == at || len(parts) == maxParts {
			return parts, false
		}
		parts, at = append(parts, longest), longest.end
	}
	return parts, true
}

// contents is what a sector of a version holds, which is legal there. The caller
// holds mu.
func (j *Journal) contents(i int, v version) []byte {
	if !v.whole() {
		return j.sectors[i].bytes
	}
	b := make([]byte, SectorSize)
	if v != zeroed {
		Stamp{ID: j.id, Sector: uint64(i), Gen: uint64(v)}.Encode(b)
	}
	return b
}
