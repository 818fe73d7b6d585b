package main

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

func TestReport(t *testing.T) {
	tests := []struct {
		name   string
		err    error
		line   string
		status int
	}{
		{"nothing", nil, "", exitOK},
		{"a failure", errors.New("no such file"), "fileio_tgt: no such file\n", exitFailure},
		{"wrong usage", usagef("bad %s", "x"), "fileio_tgt: bad x\n", exitUsage},
		{"wrapped usage", fmt.Errorf("start: %w", usagef("bad")), "fileio_tgt: start: bad\n", exitUsage},
		{"several errors", errors.Join(errors.New("one"), errors.New("two")), "fileio_tgt: one; two\n", exitFailure},
		{"a file name with an escape sequence", errors.New("open \x1b[31mred: no"), `fileio_tgt: open \x1b[31mred: no` + "\n", exitFailure},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			if status := report(&out, test.err); status != test.status || out.String() != test.line {
				t.Errorf("got %d %q, want %d %q", status, out.String(), test.status, test.line)
			}
		})
	}
}
