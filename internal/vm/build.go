package vm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// agentPackage is the import path of what runs in the guest as /init.
const agentPackage = "scstuser/internal/vm/agent"

// built holds the programs that this process has built, so that the second
// machine need not wait for the linker. They are few and small enough to stay in
// memory, where nobody has to remove them.
var built struct {
	mu       sync.Mutex // guards programs; held during a build
	programs map[string][]byte
}

// StaticProgram builds a command of this module, without cgo, and returns the
// binary. It builds each only once. It may be called from any goroutine of a
// process whose working directory is in the source tree.
func StaticProgram(ctx context.Context, pkg string) ([]byte, error) {
	built.mu.Lock()
	defer built.mu.Unlock()
	if p, ok := built.programs[pkg]; ok {
		return p, nil
	}
	dir, err := os.MkdirTemp("", "vm-build")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "program")
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", path, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build %s: %w\n%s", pkg, err, bytes.TrimSpace(out))
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if built.programs == nil {
		built.programs = make(map[string][]byte)
	}
	built.programs[pkg] = program
	return program, nil
}
