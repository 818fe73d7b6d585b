package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// hostMD is the document of the subcommand host. Its table is made from the
// table of options, between the same lines as the README's.
const hostMD = "../../docs/host.md"

func TestHostDocumentHasTheOptionTable(t *testing.T) {
	text := readFile(t, hostMD)
	head, rest, ok := strings.Cut(text, tableBegin)
	_, tail, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no lines %q and %q", hostMD, tableBegin, tableEnd)
	}
	var b strings.Builder
	b.WriteString("\n| option | default | what it does |\n|---|---|---|\n")
	for i := range hostOnly {
		opt := &hostOnly[i]
		fmt.Fprintf(&b, "| %s | %s | %s |\n", markdownNames(opt), opt.defaultText(), opt.usage)
	}
	want := head + tableBegin + b.String() + "\n" + tableEnd + tail
	switch {
	case text == want:
	case *rewrite:
		if err := os.WriteFile(hostMD, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the option table of %s is out of date: go test ./cli/fileio_tgt -rewrite", hostMD)
	}
	for _, name := range hostShares {
		if !strings.Contains(text, "`--"+name+"`") {
			t.Errorf("%s does not name --%s", hostMD, name)
		}
	}
}
