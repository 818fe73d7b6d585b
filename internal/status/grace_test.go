package status

import (
	"strings"
	"testing"
	"time"

	"scstuser/ucmd"
)

// A device between two handlers says so, in both forms.
func TestGrace(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tt := range []struct {
		name string
		st   ucmd.GraceStatus
		want string // "" if the device has a handler
	}{
		{"served", ucmd.GraceStatus{}, ""},
		{"waiting", ucmd.GraceStatus{Waiting: true, Since: now.Add(-10 * time.Second), Until: now.Add(20 * time.Second), Held: 3},
			"gone for 10s, waiting 20s more for another, 3 commands held"},
		{"adopting", ucmd.GraceStatus{Adopting: true, Held: 1}, "a new one takes over, 1 commands held"},
	} {
		g := graceOf(tt.st)
		if g == nil {
			if tt.want != "" {
				t.Errorf("%s: nothing is told", tt.name)
			}
			continue
		}
		if got := g.text(now); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		s := &Snapshot{Time: now, Devices: []Device{{Name: "d", Grace: g}}}
		if text := s.Text(); !strings.Contains(text, tt.want) {
			t.Errorf("%s: not in\n%s", tt.name, text)
		}
	}
}
