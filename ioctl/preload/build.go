package preload

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed library/preload.c
var source string

// flags build the library. Everything is hidden but what it wraps.
var flags = []string{"-std=gnu11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-U_FORTIFY_SOURCE", "-x", "c", "-", "-ldl"}

// CacheDir is where the library is kept by default: scstuser in the user's
// cache directory.
func CacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place for the recording library: %w (set XDG_CACHE_HOME)", err)
	}
	return filepath.Join(dir, "scstuser"), nil
}

// Build returns the path of the library in dir, which it makes and builds the
// library in unless it is there: with $CC, or cc. The name has a sum of the
// source, so that another version is another file.
func Build(ctx context.Context, dir string) (string, error) {
	sum := sha256.Sum256([]byte(source + strings.Join(flags, " ")))
	path := filepath.Join(dir, fmt.Sprintf("scst-record-%x.so", sum[:8]))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make a place for the recording library: %w", err)
	}
	tmp, err := os.CreateTemp(dir, "scst-record-*.tmp")
	if err != nil {
		return "", fmt.Errorf("build the recording library: %w", err)
	}
	_ = tmp.Close()
	defer os.Remove(tmp.Name()) // is renamed if all went well
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	cmd := exec.CommandContext(ctx, cc, append([]string{"-o", tmp.Name()}, flags...)...)
	cmd.Stdin = strings.NewReader(source)
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("build the recording library: there is no C compiler %q; install one, or name it in CC: %w", cc, err)
	case err != nil:
		return "", fmt.Errorf("build the recording library with %s: %w: %s", cc, err, strings.TrimSpace(string(out)))
	}
	if err := os.Chmod(tmp.Name(), 0o755); err != nil {
		return "", fmt.Errorf("build the recording library: %w", err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return "", fmt.Errorf("build the recording library: %w", err)
	}
	return path, nil
}
