package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// shmDir is where Linux has a tmpfs that everyone may use.
const shmDir = "/dev/shm"

// images are the files that are served.
type images struct {
	// read is the image that is only read, write the scratch copy that is
	// written to.
	read, write string
	// onTmpfs says that the scratch copy is on a tmpfs.
	onTmpfs bool

	dirs []string // to be removed
}

// makeImages makes an image of size bytes below dir, and its scratch copy.
func makeImages(dir string, size int64) (_ *images, err error) {
	im := new(images)
	defer func() {
		if err != nil {
			im.remove()
		}
	}()
	readDir, err := im.mkdir(dir)
	if err != nil {
		return nil, err
	}
	im.read = filepath.Join(readDir, "image")
	if err := fillImage(im.read, size); err != nil {
		return nil, fmt.Errorf("make the image: %w", err)
	}
	writeDir := readDir
	if im.onTmpfs = tmpfsHasRoom(shmDir, size); im.onTmpfs {
		if writeDir, err = im.mkdir(shmDir); err != nil {
			return nil, err
		}
	}
	im.write = filepath.Join(writeDir, "scratch")
	if err := copyFile(im.write, im.read); err != nil {
		return nil, fmt.Errorf("make the scratch copy: %w", err)
	}
	return im, nil
}

// mkdir makes a directory that goes with the images.
func (im *images) mkdir(parent string) (string, error) {
	dir, err := os.MkdirTemp(parent, "nbdbench")
	if err == nil {
		im.dirs = append(im.dirs, dir)
	}
	return dir, err
}

// remove removes the images.
func (im *images) remove() {
	for _, dir := range im.dirs {
		os.RemoveAll(dir)
	}
}

// tmpfsHasRoom says whether dir is on a tmpfs with room for size bytes and a
// quarter more: it takes memory, which should not run out for a benchmark.
func tmpfsHasRoom(dir string, size int64) bool {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return false
	}
	return st.Type == unix.TMPFS_MAGIC && st.Bavail > uint64(size+size/4)/uint64(st.Bsize)
}

// fillImage writes size bytes that can't be compressed or guessed. They are on
// the disk when it returns, so that no write-back runs during the measurements.
func fillImage(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	if _, err := io.CopyN(w, rand.NewChaCha8([32]byte{}), size); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

// copyFile copies a file.
func copyFile(to, from string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	defer dst.Close()
	if _, err := io.Copy(dst, src); err != nil {
		return err
	}
	return dst.Sync()
}

// errDiffer is what sameBytes returns for streams that differ, wrapped.
var errDiffer = errors.New("the data differs")

// sameBytes returns errDiffer with the place if two streams are not the same.
func sameBytes(got, want io.Reader) error {
	g, w := make([]byte, 1<<20), make([]byte, 1<<20)
	for off := int64(0); ; {
		gn, gerr := io.ReadFull(got, g)
		wn, werr := io.ReadFull(want, w)
		for _, err := range []error{gerr, werr} {
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return err
			}
		}
		if !bytes.Equal(g[:gn], w[:wn]) {
			i := 0
			for i < min(gn, wn) && g[i] == w[i] {
				i++
			}
			return fmt.Errorf("%w at byte %d", errDiffer, off+int64(i))
		}
		if gn < len(g) {
			return nil
		}
		off += int64(gn)
	}
}
