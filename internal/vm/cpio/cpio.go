// Package cpio writes the archives that the Linux kernel unpacks as its first
// root file system ("newc" of Documentation/driver-api/early-userspace). It only
// writes; the kernel reads. internal/vm calls it.
package cpio

import (
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strings"
)

// Types of entries, the part of Entry.Mode above the permissions.
const (
	TypeFile      = 0o100000
	TypeDirectory = 0o040000
	TypeSymlink   = 0o120000
	TypeCharacter = 0o020000
)

// Entry is a file, directory, symbolic link or device in an archive.
type Entry struct {
	// Path is absolute. Directories above it that no entry has made yet are
	// made, with mode 0755.
	Path string
	// Mode is one of the types and the permissions.
	Mode uint32
	// Data is a file's content or a symbolic link's target.
	Data []byte
	// Major and Minor are a device's numbers.
	Major, Minor uint32
}

// Writer writes an archive. It may be used from one goroutine. After the first
// error every method returns it.
type Writer struct {
	w     io.Writer
	err   error
	inode uint32
	made  map[string]bool // directories that are in the archive
	names map[string]bool // everything else that is
}

// NewWriter returns a Writer. w should be buffered.
func NewWriter(w io.Writer) *Writer {
	return &Writer{w: w, made: map[string]bool{"/": true}, names: map[string]bool{}}
}

// errTwice: the kernel would take the second entry, and nobody notice.
var errTwice = errors.New("the archive has it already")

// Add writes one entry. A directory may be added again, anything else not.
func (w *Writer) Add(e Entry) error {
	if w.err != nil {
		return w.err
	}
	if err := w.add(e); err != nil {
		w.err = fmt.Errorf("archive %s: %w", e.Path, err)
	}
	return w.err
}

func (w *Writer) add(e Entry) error {
	if !path.IsAbs(e.Path) || path.Clean(e.Path) != e.Path || e.Path == "/" {
		return errors.New("the path has to be absolute and clean")
	}
	if uint64(len(e.Data)) > math.MaxUint32 {
		return errors.New("a file can have at most 4 GiB")
	}
	directory := e.Mode&0o170000 == TypeDirectory
	if directory && w.made[e.Path] {
		return nil
	}
	if w.made[e.Path] || w.names[e.Path] {
		return errTwice
	}
	if parent := path.Dir(e.Path); !w.made[parent] {
		if err := w.add(Entry{Path: parent, Mode: TypeDirectory | 0o755}); err != nil {
			return err
		}
	}
	if directory {
		w.made[e.Path] = true
	} else {
		w.names[e.Path] = true
	}
	return w.write(strings.TrimPrefix(e.Path, "/"), e)
}

// Close writes the end of the archive. It does not close what is below.
func (w *Writer) Close() error {
	if w.err == nil {
		w.err = w.write("TRAILER!!!", Entry{})
	}
	return w.err
}

// write writes an entry's header, name and data, each padded to four bytes.
func (w *Writer) write(name string, e Entry) error {
	w.inode++
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		w.inode, e.Mode, 0, 0, 1, 0, len(e.Data), 0, 0, e.Major, e.Minor, len(name)+1, 0, name)
	if _, err := io.WriteString(w.w, header+padding(len(header))); err != nil {
		return err
	}
	if _, err := w.w.Write(e.Data); err != nil {
		return err
	}
	_, err := io.WriteString(w.w, padding(len(e.Data)))
	return err
}

// padding is what is missing to a multiple of four.
func padding(n int) string { return "\x00\x00\x00"[:-n&3] }
