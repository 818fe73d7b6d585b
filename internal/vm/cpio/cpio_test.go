package cpio

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// entries returns the names in an archive, as the format says that they are
// found, and requires everything to begin at a multiple of four.
func entries(t *testing.T, b []byte) (names []string) {
	t.Helper()
	for at := 0; ; {
		if at%4 != 0 || at+110 > len(b) || string(b[at:at+6]) != "070701" {
			t.Fatalf("no header at %d", at)
		}
		field := func(i int) (n int) {
			for _, c := range b[at+6+8*i : at+14+8*i] {
				n = n<<4 + strings.IndexByte("0123456789abcdef", c)
			}
			return n
		}
		size, nameSize := field(6), field(11)
		names = append(names, string(b[at+110:at+110+nameSize-1]))
		at += (110 + nameSize + 3) &^ 3
		at += (size + 3) &^ 3
		if names[len(names)-1] == "TRAILER!!!" {
			if at != len(b) {
				t.Errorf("%d bytes behind the end", len(b)-at)
			}
			return names
		}
	}
}

func TestArchive(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	for _, e := range []Entry{
		{Path: "/dev/console", Mode: TypeCharacter | 0o600, Major: 5, Minor: 1},
		{Path: "/dev", Mode: TypeDirectory | 0o755}, // is there already
		{Path: "/a/b/c", Mode: TypeFile | 0o644, Data: []byte("hello")},
		{Path: "/a/link", Mode: TypeSymlink | 0o777, Data: []byte("b/c")},
	} {
		if err := w.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	want := []string{"dev", "dev/console", "a", "a/b", "a/b/c", "a/link", "TRAILER!!!"}
	if got := entries(t, b.Bytes()); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	const golden = "07070100000005000081a400000000000000000000000100000000000000050000000000000000000000000000000000000006" +
		"00000000a/b/c\x00" + "hello\x00\x00\x00"
	if !bytes.Contains(b.Bytes(), []byte(golden)) {
		t.Errorf("there is no\n%q in\n%q", golden, b.Bytes())
	}
}

// busybox's cpio, which others wrote, takes it.
func TestArchiveForBusybox(t *testing.T) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("there is no busybox")
	}
	var b bytes.Buffer
	w := NewWriter(&b)
	big := bytes.Repeat([]byte("0123456789"), 10000)
	for _, e := range []Entry{
		{Path: "/d/big", Mode: TypeFile | 0o600, Data: big},
		{Path: "/d/empty", Mode: TypeFile | 0o600},
	} {
		if err := w.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command(busybox, "cpio", "-i", "-d")
	cmd.Dir, cmd.Stdin = dir, &b
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var got []byte
	for _, name := range []string{"d/big", "d/empty"} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, content...)
	}
	if !bytes.Equal(got, big) {
		t.Errorf("%d bytes came out, want %d", len(got), len(big))
	}
}

func TestRefusals(t *testing.T) {
	for _, tc := range []struct {
		name string
		add  []Entry
		want string
	}{
		{"relative", []Entry{{Path: "a", Mode: TypeFile}}, "absolute and clean"},
		{"unclean", []Entry{{Path: "/a/../b", Mode: TypeFile}}, "absolute and clean"},
		{"root", []Entry{{Path: "/", Mode: TypeDirectory}}, "absolute and clean"},
		{"twice", []Entry{{Path: "/a", Mode: TypeFile}, {Path: "/a", Mode: TypeFile}}, "has it already"},
		{"a file for a directory", []Entry{{Path: "/a/b", Mode: TypeFile}, {Path: "/a", Mode: TypeFile}}, "has it already"},
		{"below a file", []Entry{{Path: "/a", Mode: TypeFile}, {Path: "/a/b", Mode: TypeFile}}, "has it already"},
	} {
		w := NewWriter(&bytes.Buffer{})
		var err error
		for _, e := range tc.add {
			err = errors.Join(err, w.Add(e))
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
		if again := w.Close(); again == nil {
			t.Errorf("%s: Close has forgotten the error", tc.name)
		}
	}
}
