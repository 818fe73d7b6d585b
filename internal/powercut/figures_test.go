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

// table is what the documentation has.
func (b *rig) table() string {
	var s strings.Builder
	s.WriteString("| server | image | cuts | requests acknowledged | changes promised to be durable | lost |\n|---|---|---:|---:|---:|---:|\n")
	for _, m := range modes {
		for _, p := range places {
			if f := b.figures[[2]string{m.name, p.name}]; f != nil {
				fmt.Fprintf(&s, "| %s | %s | %d | %d | %d | %d |\n", m.name, p.name, f.cuts, f.counts.Acknowledged, f.counts.Durable, f.lost)
			}
		}
	}
	return s.String()
}
