package powercut

import (
	"fmt"
	"strings"
)

// figures are what the cuts of one mode and place came to.
type figures struct {
	cuts, lost int
	counts     Counts
}

// table is what the documentation has. Servers without a mode of the test's are
// not in it.
func (b *rig) table() string {
	var s strings.Builder
	s.WriteString("| server | image | cuts | requests acknowledged | changes promised to be durable | lost |\n|---|---|---:|---:|---:|---:|\n")
	var all figures
	for _, m := range modes {
		for _, p := range places {
			if f := b.figures[[2]string{m.name, p.name}]; f != nil {
				f.row(&s, m.name, p.name)
				all.cuts += f.cuts
				all.lost += f.lost
				all.counts.Add(f.counts)
			}
		}
	}
	all.row(&s, "all", fmt.Sprintf("%d cuts of the machine", all.cuts/len(places)))
	return s.String()
}

func (f *figures) row(s *strings.Builder, mode, place string) {
	fmt.Fprintf(s, "| %s | %s | %d | %d | %d | %d |\n", mode, place, f.cuts, f.counts.Acknowledged, f.counts.Durable, f.lost)
}
