package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// nodeLink is the symbolic link to the node. Its zero value is none.
type nodeLink struct{ path, target string }

// make makes the link. One that leads to the same node is what a crashed
// process left; anything else at that place stays and is an error.
func (l *nodeLink) make(path, target string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("--link: %w", err)
	}
	err = os.Symlink(target, path)
	if errors.Is(err, fs.ErrExist) {
		if found, rerr := os.Readlink(path); rerr != nil || found != target {
			return fmt.Errorf("--link %s: something is there already that is no link to %s; remove it or choose another path", path, target)
		}
		err = nil
	}
	if err != nil {
		return fmt.Errorf("--link: %w", err)
	}
	l.path, l.target = path, target
	return nil
}

// remove removes the link if it still leads to the node.
func (l *nodeLink) remove() error {
	if l.path == "" {
		return nil
	}
	if found, err := os.Readlink(l.path); err != nil || found != l.target {
		return nil // somebody else's by now
	}
	if err := os.Remove(l.path); err != nil {
		return fmt.Errorf("--link: %w", err)
	}
	return nil
}
