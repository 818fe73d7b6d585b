package main

import (
	"io"
	"strings"
)

// textColumns are the columns that hold words; all others hold numbers and are
// aligned on the right.
var textColumns = map[string]bool{"point": true, "load": true, "unit": true, "best peer": true}

// writeMarkdown prints a result for a document.
func writeMarkdown(w io.Writer, r *Result) error {
	var b strings.Builder
	for _, t := range tables(r) {
		b.WriteString("### " + r.Client + ": " + t.title + "\n\n")
		markdownRow(&b, t.head)
		rule := make([]string, len(t.head))
		for i, name := range t.head {
			rule[i] = "---:"
			if textColumns[name] {
				rule[i] = "---"
			}
		}
		markdownRow(&b, rule)
		for _, row := range t.rows {
			markdownRow(&b, row)
		}
		b.WriteByte('\n')
	}
	for _, line := range r.conditions() {
		b.WriteString("- " + line + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func markdownRow(b *strings.Builder, cells []string) {
	for _, cell := range cells {
		b.WriteString("| " + strings.ReplaceAll(cell, "|", `\|`) + " ")
	}
	b.WriteString("|\n")
}
