package interop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"scstuser/internal/proc"
)

// pythonWithNBD returns a Python that can import libnbd's binding. The first
// one in the PATH need not be the one that the package is made for.
func pythonWithNBD(t *testing.T) string {
	t.Helper()
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		// From a directory without a folder called nbd: it would be
		// imported instead.
		if err := tool(t, context.Background(), python, "-c", "import nbd; nbd.NBD()").Run(); err == nil {
			return python
		}
	}
	missing(t, errors.New("no Python with libnbd is installed, run `apt-get install python3-libnbd`"))
	return ""
}

// runPython runs a script of testdata with additions to its environment.
func runPython(t *testing.T, script string, env ...string) {
	t.Helper()
	python := pythonWithNBD(t)
	path, err := filepath.Abs(filepath.Join("testdata", script))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), toolTimeout)
	defer cancel()
	cmd := tool(t, ctx, python, path)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			t.Fatal(err)
		}
		t.Fatalf("%s with %q: %v\n%s", script, env, err, out)
	}
	t.Logf("%s", out)
}

// modelRun sends random requests of random sizes, 64 in flight, to a server
// for image, stops it, and compares the file with a model.
func modelRun(t *testing.T, s *proc.Server, image string, block, connections int) {
	t.Helper()
	model := filepath.Join(t.TempDir(), "model")
	runPython(t, "model.py",
		"URI="+s.URI(""),
		"BLOCK="+strconv.Itoa(block),
		"CONNECTIONS="+strconv.Itoa(connections),
		"DEPTH=64",
		"REQUESTS=4000",
		"SEED="+strconv.FormatInt(time.Now().UnixNano(), 10),
		"MODEL="+model)
	stop(t, s)
	sameFiles(t, image, model)
}

func TestLibnbdModel(t *testing.T) {
	atBlockSizes(t, func(t *testing.T, block int) {
		for _, connections := range []int{1, 4} {
			t.Run(fmt.Sprintf("connections=%d", connections), func(t *testing.T) {
				image := randomImage(t, 16*mib)
				s := serve(t, proc.Config{Files: []string{image}, Block: block})
				modelRun(t, s, image, block, connections)
			})
		}
	})
}

func TestLibnbdLargeRequests(t *testing.T) {
	s := serveFile(t, randomImage(t, 40*mib))
	runPython(t, "large.py", "URI="+s.URI(""))
}
