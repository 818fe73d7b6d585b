package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// pidFile is the file that --pid-file names. Its zero value is none.
type pidFile struct {
	path    string
	content []byte // nil until written
}

// write writes this process's ID. A file that is there, from a process that
// could not clean up, is replaced: readers see the old content or the new one.
func (p *pidFile) write() error {
	if p.path == "" {
		return nil
	}
	content := fmt.Appendf(nil, "%d\n", os.Getpid())
	if err := replaceFile(p.path, content); err != nil {
		return fmt.Errorf("write the process ID to %s: %w", p.path, pathCause(err))
	}
	p.content = content
	return nil
}

// remove removes the file if it is still the one that was written.
func (p *pidFile) remove() error {
	if p.content == nil {
		return nil
	}
	found, err := os.ReadFile(p.path)
	if err != nil || !bytes.Equal(found, p.content) {
		return nil // gone already, or another process's by now
	}
	return os.Remove(p.path)
}

// replaceFile puts a file with this content in path's place.
func replaceFile(path string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails once it has been renamed
	if _, err := tmp.Write(content); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Chmod(0o644); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
