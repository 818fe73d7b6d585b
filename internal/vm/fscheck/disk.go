package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// disk is a directory of a real file system.
type disk struct {
	dir string
}

func (d *disk) path(name string) string { return filepath.Join(d.dir, name) }

// do does o. m is what is there before it.
func (d *disk) do(o op, m *model) error {
	path := d.path(o.name)
	switch o.kind {
	case opRename:
		to := d.path(o.to)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		return os.Rename(path, to)
	case opUnlink:
		return os.Remove(path)
	case opRead:
		return compareFile(path, m.files[o.name], true)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(change(f, o), f.Close())
}

// change does what is done to an open file.
func change(f *os.File, o op) error {
	switch o.kind {
	case opWrite:
		_, err := f.WriteAt(o.data, o.offset)
		return err
	case opTruncate:
		return f.Truncate(o.length)
	case opPunch:
		return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, o.offset, o.length)
	case opSync:
		return f.Sync()
	}
	return fmt.Errorf("there is no operation %q", o.kind)
}

// sync writes the whole file system to its disk.
func (d *disk) sync() error {
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("sync the file system: %w", err)
	}
	return nil
}
