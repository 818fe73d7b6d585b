package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// The exit statuses of the program.
const (
	exitOK      = 0
	exitFailure = 1 // it could not serve, or could not stop cleanly
	exitUsage   = 2 // the command line is wrong; nothing was opened or created
)

// usageError says that the command line is wrong. It is decided from the
// command line alone, before anything is opened.
type usageError struct{ msg string }

// Error implements error.
func (e *usageError) Error() string { return e.msg }

// usagef makes a usageError.
func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// exitStatus says with which status the program ends after err.
func exitStatus(err error) int {
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	default:
		return exitFailure
	}
}

// report writes err to w as one line and returns the exit status.
func report(w io.Writer, err error) int {
	if err != nil {
		fmt.Fprintf(w, "%s: %s\n", programName, oneLine(err.Error()))
	}
	return exitStatus(err)
}

// oneLine keeps a message on one line, and keeps what a file name may carry
// (newlines, escape sequences) from reaching the terminal.
func oneLine(msg string) string {
	var b strings.Builder
	for _, r := range strings.ReplaceAll(strings.TrimSpace(msg), "\n", "; ") {
		if unicode.IsControl(r) {
			fmt.Fprintf(&b, `\x%02x`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
