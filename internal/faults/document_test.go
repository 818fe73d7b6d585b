package faults

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// document says what the table says, between these lines.
const (
	document   = "../../docs/faults.md"
	tableBegin = "<!-- faults:begin (go test ./internal/faults -run Document -rewrite) -->\n"
	tableEnd   = "<!-- faults:end -->\n"
)

// chapters are the rows, as the document groups them.
var chapters = []struct {
	title string
	rows  []row
}{
	{"Reading", readRows},
	{"Writing", writeRows},
	{"Making durable", slices.Concat(syncRows, ext4Rows)},
	{"Space", spaceRows},
	{"Time", slowRows},
	{"Handlers in processes of their own", hostRows},
}

// The document has the very table that TestFaults runs.
func TestDocument(t *testing.T) {
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(b), tableBegin)
	table, tail, found2 := strings.Cut(rest, tableEnd)
	if !found || !found2 {
		t.Fatalf("%s has no lines %q and %q", document, tableBegin, tableEnd)
	}
	switch want := render(); {
	case table == want:
	case *rewrite:
		if err := os.WriteFile(document, []byte(head+tableBegin+want+tableEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the table of %s is out of date: go test ./internal/faults -run Document -rewrite", document)
	}
}

func render() string {
	var b strings.Builder
	for _, c := range chapters {
		fmt.Fprintf(&b, "\n### %s\n\n| fault | disk | options | what clients see, in this order | what the log says |\n|---|---|---|---|---|\n", c.title)
		for _, w := range c.rows {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", w.fault, w.media(), w.options(), w.story(), w.log())
		}
	}
	b.WriteString("\n")
	return b.String()
}

// media are what the row is tested on.
func (w row) media() string {
	var texts []string
	for _, m := range w.on {
		texts = append(texts, m.text)
	}
	return strings.Join(texts, "; ")
}

// options are those it is tested with.
func (w row) options() string {
	var texts []string
	for _, m := range w.modes {
		texts = append(texts, m.text)
	}
	return strings.Join(texts, ", ")
}

// story is what is done and seen.
func (w row) story() string {
	var texts []string
	for _, s := range w.steps {
		if s.text != "" {
			texts = append(texts, s.text)
		}
	}
	return strings.Join(texts, " · ")
}

func (w row) log() string {
	var texts []string
	for _, l := range slices.Concat(w.logs, w.says) {
		texts = append(texts, l.String())
	}
	if texts == nil {
		return "nothing"
	}
	return strings.Join(texts, "<br>")
}
