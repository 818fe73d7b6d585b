package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files and generated parts of the documents anew")

func TestMain(m *testing.M) {
	becomeAnotherProcess()
	// The runtime keeps the goroutine that hands signals out.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("os/signal.loop"))
}

// outcomeOf is a run of the whole program with a server that only looks at
// its config.
type outcomeOf struct {
	cfg            *config // nil: serve was not called
	stdout, stderr string
	status         int
}

// runWith runs the program with these arguments.
func runWith(args ...string) outcomeOf {
	var o outcomeOf
	var stdout, stderr bytes.Buffer
	serve := func(_ context.Context, cfg *config, _ *logrus.Logger, _ func(served)) error {
		o.cfg = cfg
		return nil
	}
	o.status = run(append([]string{programName}, args...), &stdout, &stderr, serve)
	o.stdout, o.stderr = stdout.String(), stderr.String()
	return o
}

// golden compares got with a file, or writes the file under -rewrite.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *rewrite {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("differs from %s (go test ./cli/fileio_tgt -rewrite writes it anew); got:\n%s", path, got)
	}
}
