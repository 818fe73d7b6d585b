package interop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scstuser/internal/proc"
)

// stopTimeout is how long a server may take to drain. Tests on a busy machine
// with the race detector are the slow case.
const stopTimeout = 20 * time.Second

// serverEnv chooses the server under test; see the package comment.
const serverEnv = "INTEROP_SERVER"

// program returns the server under test; race asks for one that was built with
// the race detector, if it is built here.
func program(t *testing.T, race bool) proc.Program {
	t.Helper()
	switch name := os.Getenv(serverEnv); {
	case strings.Contains(name, "/"):
		return proc.FileioTgt{Bin: name}
	case name == "":
		bin, err := builder.Binary(context.Background(), race)
		if err != nil {
			t.Fatal(err)
		}
		return proc.FileioTgt{Bin: bin}
	case name == "nbdkit":
		needTool(t, name)
		return proc.Nbdkit{}
	case name == "qemu-nbd":
		needTool(t, name)
		return proc.QemuNbd{AIO: "threads"}
	default:
		t.Fatalf("%s=%s: must be nbdkit, qemu-nbd or the path of a fileio_tgt", serverEnv, name)
		return nil
	}
}

// againstPeer says that the server under test is not fileio_tgt.
func againstPeer() bool {
	name := os.Getenv(serverEnv)
	return name != "" && !strings.Contains(name, "/")
}

// fileioOnly skips a test of what only this project's server has.
func fileioOnly(t *testing.T) {
	t.Helper()
	if againstPeer() {
		t.Skipf("this is about fileio_tgt, and %s=%s", serverEnv, os.Getenv(serverEnv))
	}
}

// serve starts the server under test. It listens on a unix socket if c names
// no endpoint. At the end of the test it must stop cleanly.
func serve(t *testing.T, c proc.Config) *proc.Server {
	t.Helper()
	s := start(t, program(t, false), c)
	t.Cleanup(func() { stop(t, s) })
	return s
}

// serveFile is serve for one image with all else left at its default.
func serveFile(t *testing.T, image string) *proc.Server {
	t.Helper()
	return serve(t, proc.Config{Files: []string{image}})
}

// start starts p. The test itself decides how the server ends; if it leaves it
// running, it is killed.
func start(t *testing.T, p proc.Program, c proc.Config) *proc.Server {
	t.Helper()
	if len(c.Listen) == 0 {
		c.Listen = []proc.Endpoint{proc.Unix(filepath.Join(shortDir(t), "s"))}
	}
	s, err := proc.Start(context.Background(), p, c)
	if errors.Is(err, proc.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("the server printed:\n%s", s.Output())
		}
	})
	return s
}

// stop ends the server with SIGTERM and fails the test if it does not drain.
func stop(t *testing.T, s *proc.Server) {
	t.Helper()
	if err := s.Stop(stopTimeout); err != nil {
		t.Error(err)
	}
}

// exportName is the name under which the server under test exports image.
func exportName(image string) string {
	if againstPeer() {
		return "" // the peers know only the default export
	}
	return filepath.Base(image)
}

// atBlockSizes runs a test with each block size that people use.
func atBlockSizes(t *testing.T, test func(t *testing.T, block int)) {
	t.Helper()
	for _, block := range []int{512, 4096} {
		t.Run(fmt.Sprintf("block=%d", block), func(t *testing.T) { test(t, block) })
	}
}

// toolTimeout is how long one run of a client may take.
const toolTimeout = 2 * time.Minute

// needTool skips the test if a client is not installed, or fails it in CI.
func needTool(t *testing.T, name string) {
	t.Helper()
	if err := proc.FindTool(name); err != nil {
		missing(t, err)
	}
}

// missing ends a test that lacks something that a package would bring.
func missing(t *testing.T, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	fmt.Fprintf(os.Stderr, "NOT TESTED: %s: %v\n", t.Name(), err)
	t.Skip(err)
}

// run runs a client to its end and returns its standard output. The test fails
// if the client does.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	needTool(t, name)
	stdout, stderr, err := try(t, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, stdout, stderr)
	}
	return stdout
}

// try is run for a client that may fail.
func try(t *testing.T, name string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), toolTimeout)
	defer cancel()
	cmd := tool(t, ctx, name, args...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("did not end within %v: %w", toolTimeout, err)
	}
	return out.String(), errs.String(), err
}

// tool returns a command that runs in a directory of its own, so that nothing
// it finds or leaves there matters.
func tool(t *testing.T, ctx context.Context, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = t.TempDir()
	cmd.WaitDelay = time.Second
	return cmd
}
