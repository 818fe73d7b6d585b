package proc

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
)

// fileioTgtPackage is the import path of the command under test.
const fileioTgtPackage = "scstuser/cli/fileio_tgt"

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
	args := []string{"build"}
	if race {
		path += "-race"
		args = append(args, "-race")
	}
	args = append(args, "-o", path, fileioTgtPackage)
	out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build %s (race detector: %v): %w\n%s",
			fileioTgtPackage, race, err, bytes.TrimSpace(out))
	}
	return path, nil
}
