package replay

import (
	"os"
	"strings"
	"testing"
)

// docs/traces.md has what is expected and what can't be replayed, with the
// reasons, and nothing else.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/traces.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Replay\n")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := strings.Count(section, "\n| ") - 2 // heads
	for _, x := range Expectations {
		if !strings.Contains(section, "\n| "+x.Name+" | "+x.Reason+" |\n") {
			t.Errorf("docs/traces.md should have: | %s | %s |", x.Name, x.Reason)
		}
	}
	for _, o := range obstacles {
		if !strings.Contains(section, "\n| "+o.name+" | "+o.reason+" |\n") {
			t.Errorf("docs/traces.md should have: | %s | %s |", o.name, o.reason)
		}
	}
	if want := len(Expectations) + len(obstacles); rows != want {
		t.Errorf("docs/traces.md has %d rows, want %d", rows, want)
	}
}
