package proc

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// fileioTgtPackage is the import path of the command under test.
const fileioTgtPackage = "scstuser/cli/fileio_tgt"

// goNbdPackage is the import path of go-nbd's file server.
const goNbdPackage = "github.com/pojntfx/go-nbd/cmd/go-nbd-example-server-file"

// Builder builds fileio_tgt from the source tree around the working directory,
// at most once for each way of building it, however often it is asked. It may
// be used from several goroutines.
type Builder struct {
	// Dir is where the binaries are written. The owner of the Builder creates
	// it before the first use and removes it after the last.
	Dir string

	// mu guards builds. It is held during a build, so that a second caller
	// waits for the first one's result.
	mu     sync.Mutex
	builds map[bool]build
}

// build is how one `go build` ended.
type build struct {
	path string
	err  error
}

// Binary returns the path of the fileio_tgt binary, with the race detector in
// it if race is set, building it if this is the first call for that kind. A
// build that failed is not tried again: every later call returns its error,
// which holds the compiler's output.
func (b *Builder) Binary(ctx context.Context, race bool) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if done, ok := b.builds[race]; ok {
		return done.path, done.err
	}
	path, err := b.build(ctx, race)
	if b.builds == nil {
		b.builds = make(map[bool]build)
	}
	b.builds[race] = build{path: path, err: err}
	return path, err
}

func (b *Builder) build(ctx context.Context, race bool) (string, error) {
	path := filepath.Join(b.Dir, "fileio_tgt")
	if race {
		return path + "-race", goBuild(ctx, path+"-race", fileioTgtPackage, "-race")
	}
	return path, goBuild(ctx, path, fileioTgtPackage)
}

// GoNbd builds go-nbd's file server, of the version that this module uses, and
// returns its path.
func (b *Builder) GoNbd(ctx context.Context) (string, error) {
	path := filepath.Join(b.Dir, "go-nbd")
	return path, goBuild(ctx, path, goNbdPackage)
}

// goBuild builds a package.
func goBuild(ctx context.Context, path, pkg string, args ...string) error {
	args = append(append([]string{"build"}, args...), "-o", path, pkg)
	out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}
