package vm

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// shellTimeout is how long one script of Shell may take.
const shellTimeout = 2 * time.Minute

// Boot is Start for a test: it skips or fails as Need does, the console goes to
// the test's log, and is kept in the test's artifacts if the test fails, and the
// machine is closed at the end. A test that kills the machine may do so.
func Boot(t testing.TB, c Config) *Machine {
	t.Helper()
	Need(t)
	if c.Console == nil {
		c.Console = t.Output()
	} else {
		c.Console = io.MultiWriter(t.Output(), c.Console)
	}
	began := time.Now()
	m, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("Linux %s is up after %v", m.Release(), time.Since(began).Round(10*time.Millisecond))
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			keepConsole(t, m)
		}
	})
	return m
}

// keepConsole writes the console to the test's artifacts (go test -artifacts).
func keepConsole(t testing.TB, m *Machine) {
	t.Helper()
	path := filepath.Join(t.ArtifactDir(), "console.txt")
	if err := os.WriteFile(path, []byte(m.Console()), 0o644); err != nil {
		t.Error(err)
		return
	}
	t.Logf("the console is in %s", path)
}

// Shell runs a script with a shell in the guest, which ends at the first
// command that fails, and returns its standard output. The test fails if the
// script does, or takes longer than 2 minutes. It must be called from the test's
// own goroutine.
func (m *Machine) Shell(t testing.TB, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), shellTimeout)
	defer cancel()
	r, err := m.Run(ctx, Command{Args: []string{"sh", "-euc", script}})
	if err != nil {
		t.Fatal(err)
	}
	return r.Stdout
}
