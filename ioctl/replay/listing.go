package replay

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"scstuser/ioctl/trace"
)

// A recorder may mark what the device's listing of commands (rule R73) says at
// that moment: COMMANDS(why): lines, or COMMANDS NAME: lines, separated by ;.
var (
	listingMark = regexp.MustCompile(`(?s)^COMMANDS(?:\([^)]*\)| ([^ :]+)): ?(.*)$`)
	listingLine = regexp.MustCompile(`^ucmd [0-9a-f]+ (\(state \d+, ref \d+\), sent_to_user \d, seen_by_user \d, aborted \d, jammed \d), scst_cmd (0*)([1-9a-f]?)`)
)

// mark compares a listing of commands with this host's, up to names and order.
func (r *run) mark(e *trace.Event) *Difference {
	m := listingMark.FindStringSubmatch(e.Text)
	if m == nil {
		return nil
	}
	d := r.named(m[1])
	if d == nil {
		return nil
	}
	want, ok := parseListing(strings.Split(m[2], ";"))
	if !ok {
		return nil // cut off, or an error of whoever wrote it
	}
	var b strings.Builder
	_ = d.dev.WriteCommands(&b) // a Builder takes everything
	got, _ := parseListing(strings.Split(b.String(), "\n"))
	if len(want) == 0 && len(got) > 0 && !r.plan.goesOn(d.plan, e) {
		return nil // the handler was gone, and the listing with it
	}
	r.res.Listings++
	if !slices.Equal(want, got) {
		return &Difference{What: "the listing of commands is another one",
			Fields: []trace.Field{{Path: "commands", A: strings.Join(want, "; "), B: strings.Join(got, "; ")}}}
	}
	return nil
}

// named finds a live device, the first one without a name.
func (r *run) named(name string) *device {
	for _, d := range r.devices {
		if r.live[d.plan.file] == d && (name == "" || d.dev.Desc().Name == name) {
			return d
		}
	}
	return nil
}

// parseListing makes lines comparable; ok is false if one is none.
func parseListing(lines []string) (l []string, ok bool) {
	for _, line := range lines {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		m := listingLine.FindStringSubmatch(line)
		if m == nil {
			return nil, false
		}
		has := 0
		if m[3] != "" {
			has = 1
		}
		l = append(l, fmt.Sprintf("%s, command %d", m[1], has))
	}
	slices.Sort(l)
	return l, true
}

// goesOn says whether anything is recorded of a device after e.
func (p *plan) goesOn(d *devicePlan, e *trace.Event) bool { return d.last > e.Seq }
