package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// The documents for users. A test here fails when an option is missing in one
// of them, or is there with another letter, argument or default.
const (
	readme    = "../../README.md"
	optionsMD = "../../docs/options.md"
	manPage   = "../../docs/fileio_tgt.8"
)

// The README's table is made from the table of options, between these lines.
const (
	tableBegin = "<!-- options:begin (go test ./cli/fileio_tgt -rewrite) -->\n"
	tableEnd   = "<!-- options:end -->\n"
)

func TestREADMEHasTheOptionTable(t *testing.T) {
	text := readFile(t, readme)
	head, rest, ok := strings.Cut(text, tableBegin)
	if !ok {
		t.Fatalf("%s has no line %q", readme, tableBegin)
	}
	table, tail, ok := strings.Cut(rest, tableEnd)
	if !ok {
		t.Fatalf("%s has no line %q", readme, tableEnd)
	}
	want := optionTable()
	switch {
	case table == want:
	case *rewrite:
		if err := os.WriteFile(readme, []byte(head+tableBegin+want+tableEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the option table of %s is out of date: go test ./cli/fileio_tgt -rewrite", readme)
	}
}

// optionTable is the README's table: what each option is for, in a sentence.
func optionTable() string {
	var b strings.Builder
	b.WriteString("\n| option | default | what it does |\n|---|---|---|\n")
	for _, cat := range categories {
		fmt.Fprintf(&b, "| **%s** | | |\n", cat)
		for i := range options {
			opt := &options[i]
			if opt.category != cat {
				continue
			}
			sentence, _, _ := strings.Cut(opt.usage, ". ")
			fmt.Fprintf(&b, "| %s | %s | %s. |\n", markdownNames(opt), opt.defaultText(), strings.TrimSuffix(sentence, "."))
		}
	}
	return b.String() + "\n"
}

// markdownNames is an option with its letter and argument: `-b`, `--block BYTES`.
func markdownNames(opt *option) string {
	long := "`--" + opt.name + "`"
	if opt.arg != "" {
		long = "`--" + opt.name + " " + opt.arg + "`"
	}
	if opt.short == "" {
		return long
	}
	return "`-" + opt.short + "`, " + long
}

func TestOptionsDocumentHasEveryOption(t *testing.T) {
	text := readFile(t, optionsMD)
	for i := range options {
		opt := &options[i]
		want := "\n### " + markdownNames(opt) + "\n"
		if def := opt.defaultText(); def != "" {
			want += "\nDefault: " + def + ".\n"
		}
		if strings.Count(text, want) != 1 {
			t.Errorf("%s should have, once: %q", optionsMD, want)
		}
	}
	if got := strings.Count(text, "\n### "); got != len(options) {
		t.Errorf("%s has %d options, the program %d", optionsMD, got, len(options))
	}
}

func TestManualPageHasEveryOption(t *testing.T) {
	text := readFile(t, manPage)
	all := append(slices.Clone(options), hostOnly...)
	for i := range all {
		opt := &all[i]
		want := "\n.It "
		if opt.short != "" {
			want += "Fl " + opt.short + " , "
		}
		want += "Fl -" + opt.name
		if opt.arg != "" {
			want += " Ar " + opt.arg
		}
		want += "\n"
		item, found := cutItem(text, want)
		if !found {
			t.Errorf("%s has no item %q", manPage, want)
			continue
		}
		if def := opt.defaultText(); def != "" && !strings.Contains(item, "\nDefault: "+def+".\n") {
			t.Errorf("%s: --%s should have the line %q", manPage, opt.name, "Default: "+def+".")
		}
	}
	if got := strings.Count(text, "\n.It Fl "); got != len(all) {
		t.Errorf("%s has %d options, the program %d", manPage, got, len(all))
	}
}

// cutItem is the text of a list item, up to the next one.
func cutItem(text, head string) (item string, found bool) {
	_, rest, found := strings.Cut(text, head)
	item, _, _ = strings.Cut(rest, "\n.It ")
	return "\n" + item + "\n", found
}
