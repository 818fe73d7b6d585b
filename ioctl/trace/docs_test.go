package trace

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"scstuser/ioctl/abi"
)

// The example in docs/traces.md is a trace.
func TestDocsExample(t *testing.T) {
	b, err := os.ReadFile("../../docs/traces.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), "\n## An example\n")
	section, _, _ = strings.Cut(section, "\n## ")
	parts := strings.Split(section, "```")
	if len(parts) != 3 {
		t.Fatalf("%d parts, want one example", len(parts))
	}
	text := strings.ReplaceAll(strings.TrimPrefix(parts[1], "\n"), "\n  ", "")
	events, truncated := readAll(t, []byte(text))
	if len(events) != 3 || truncated {
		t.Fatalf("%d events, truncated %v", len(events), truncated)
	}
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		var into any = new(Event)
		if i == 0 {
			into = new(Header)
		}
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(into); err != nil {
			t.Errorf("line %d: %v", i+1, err)
		}
	}
	r, c := events[1].In.Replies[0], events[2].Out.Cmds[0]
	if int(r.Exec.SenseLen) != len(r.Sense) || c.Subcode != abi.SubcodeExec || c.Exec.CDB[0] != 0x12 || c.Exec.SessH != 0xffff88800769e580 {
		t.Errorf("%+v %+v", r, c)
	}
}
