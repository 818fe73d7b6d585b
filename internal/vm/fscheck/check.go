package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// compare requires the directory to hold just what the model does.
func (d *disk) compare(m *model) error {
	var found []string
	err := filepath.WalkDir(d.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(d.dir, path)
		switch {
		case err != nil:
			return err
		case e.IsDir() && e.Name() == "lost+found":
			return fs.SkipDir
		case !e.IsDir():
			found = append(found, name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.Sort(found)
	if names := m.names(); !slices.Equal(found, names) {
		return fmt.Errorf("the files are\n%q, they have to be\n%q", found, names)
	}
	var errs []error
	for _, name := range found {
		errs = append(errs, compareFile(d.path(name), m.files[name], true))
	}
	return errors.Join(errs...)
}

// compareFile requires a file to have that content. With forget what the page
// cache has of it is forgotten before, so that the disk is asked.
func compareFile(path string, want []byte, forget bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if forget {
		if err := f.Sync(); err != nil {
			return err
		}
		if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
			return err
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if bytes.Equal(got, want) {
		return nil
	}
	if len(got) != len(want) {
		return fmt.Errorf("%s has %d bytes, it has to have %d", path, len(got), len(want))
	}
	at := 0
	for got[at] == want[at] {
		at++
	}
	return fmt.Errorf("%s is wrong at byte %d: %#x, it has to be %#x", path, at, got[at], want[at])
}
