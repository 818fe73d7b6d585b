package interop

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"scstuser/internal/proc"
)

// builder makes the binary under test, when the first test asks for it.
var builder proc.Builder

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "interop")
	if err == nil {
		// The server also runs as another user; see badinput_test.go.
		err = os.Chmod(dir, 0o755)
	}
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
