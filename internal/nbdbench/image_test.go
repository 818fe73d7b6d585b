package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

func TestSameBytes(t *testing.T) {
	const chunk = 1 << 20
	long := strings.Repeat("x", 2*chunk)
	tests := []struct {
		name      string
		got, want string
		says      string // "" if they are the same
	}{
		{"empty", "", "", ""},
		{"whole chunks", long, long, ""},
		{"a tail", long + "y", long + "y", ""},
		{"first byte", "a", "b", "at byte 0"},
		{"in the second chunk", long + "a", long + "b", "at byte 2097152"},
		{"got ends early", long[:chunk+5], long, "at byte 1048581"},
		{"want ends early", long, long[:chunk], "at byte 1048576"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := sameBytes(iotest.HalfReader(strings.NewReader(tt.got)), strings.NewReader(tt.want))
			if tt.says == "" && err != nil {
				t.Error(err)
			}
			if tt.says != "" && (!errors.Is(err, errDiffer) || !strings.HasSuffix(err.Error(), tt.says)) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
	broken := iotest.ErrReader(io.ErrClosedPipe)
	if err := sameBytes(broken, strings.NewReader("")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a read error: got %v", err)
	}
}

func TestMakeImages(t *testing.T) {
	dir := t.TempDir()
	im, err := makeImages(dir, 3<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer im.remove()
	r, err := os.ReadFile(im.read)
	if err != nil {
		t.Fatal(err)
	}
	w, err := os.ReadFile(im.write)
	if err != nil {
		t.Fatal(err)
	}
	if len(r) != 3<<20 || string(r) != string(w) {
		t.Errorf("%d bytes and %d bytes, want 3 MiB of the same", len(r), len(w))
	}
	if onShm := strings.HasPrefix(im.write, shmDir); onShm != im.onTmpfs {
		t.Errorf("scratch copy at %s, on a tmpfs: %v", im.write, im.onTmpfs)
	}
	im.remove()
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
	if _, err := os.Stat(filepath.Dir(im.write)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the scratch directory is left: %v", err)
	}
}

func TestMakeImagesFails(t *testing.T) {
	if _, err := makeImages(filepath.Join(t.TempDir(), "nowhere"), 1<<20); err == nil {
		t.Error("images were made in a directory that does not exist")
	}
}

func TestTmpfsHasRoom(t *testing.T) {
	if tmpfsHasRoom(filepath.Join(t.TempDir(), "nowhere"), 1) {
		t.Error("a directory that does not exist has room")
	}
	if tmpfsHasRoom(shmDir, 1<<60) {
		t.Error("there is room for an exbibyte")
	}
}
