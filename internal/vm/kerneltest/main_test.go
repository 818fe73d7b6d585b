package kerneltest

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"scstuser/internal/proc"
)

// builder makes the server that runs on this host.
var builder proc.Builder

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "kerneltest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	builder.Dir = dir
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}
