package interop

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// shortDir returns a new directory whose path is short enough for a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "io")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// emptyImage makes a file of size bytes with nothing in it.
func emptyImage(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "empty.img")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return path
}

// randomImage makes a file of size bytes that look random, always the same.
func randomImage(t *testing.T, size int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "random.img")
	if err := os.WriteFile(path, randomBytes(1, size), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// sparseImage makes a file of size bytes in which every eighth 64 KiB piece,
// and the last 4 KiB, hold data.
func sparseImage(t *testing.T, size int64) string {
	t.Helper()
	path := emptyImage(t, size)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for off := int64(0); off < size; off += 512 * kib {
		if _, err := f.WriteAt(randomBytes(uint64(off), 64*kib), off); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.WriteAt(randomBytes(2, 4*kib), size-4*kib); err != nil {
		t.Fatal(err)
	}
	return path
}

// randomBytes returns n bytes that depend on seed only.
func randomBytes(seed uint64, n int) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	p := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(p) // never fails
	return p
}

// content reads a whole file.
func content(t *testing.T, path string) []byte {
	t.Helper()
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// allocated returns how many bytes of the disk the file takes.
func allocated(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

// sameFiles fails the test unless two files hold the same bytes.
func sameFiles(t *testing.T, got, want string) {
	t.Helper()
	g, err := os.Open(got)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	w, err := os.Open(want)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	sameBytes(t, filepath.Base(got), g, w)
}

// sameBytes fails the test at the first byte in which two streams differ.
func sameBytes(t *testing.T, what string, got, want io.Reader) {
	t.Helper()
	g, w := make([]byte, mib), make([]byte, mib)
	for off := int64(0); ; off += mib {
		gn, gerr := io.ReadFull(got, g)
		wn, werr := io.ReadFull(want, w)
		for _, err := range []error{gerr, werr} {
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%s: %v", what, err)
			}
		}
		if !bytes.Equal(g[:gn], w[:wn]) {
			i := 0
			for i < min(gn, wn) && g[i] == w[i] {
				i++
			}
			t.Fatalf("%s differs from what is expected at byte %d (sizes here %d and %d): %x, want %x",
				what, off+int64(i), gn, wn, g[i:min(gn, i+16)], w[i:min(wn, i+16)])
		}
		if gn < mib {
			return
		}
	}
}
