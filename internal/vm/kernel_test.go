package vm

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestModulesComeAfterWhatTheyNeed(t *testing.T) {
	needs := map[string][]string{
		"/k/ext4.ko": {"jbd2", "mbcache"}, "/k/jbd2.ko": {"crc"}, "/k/mbcache.ko": nil, "/k/crc.ko": nil, "/k/dm-mod.ko": {"crc"},
	}
	k := resolver{
		paths: map[string]string{
			"ext4": "/k/ext4.ko", "jbd2": "/k/jbd2.ko", "mbcache": "/k/mbcache.ko", "crc": "/k/crc.ko", "dm_mod": "/k/dm-mod.ko", "bad": "/k/bad.ko",
		},
		depends: func(path string) ([]string, error) {
			n, ok := needs[path]
			if !ok {
				return nil, errors.New("unreadable")
			}
			return n, nil
		},
		seen: make(map[string]bool),
	}
	for _, w := range [][2]string{{"dm_mod", "a=1"}, {"ext4", ""}, {"jbd2", ""}} {
		must(t, k.add(w[0], w[1]))
	}
	want := []module{{"/k/crc.ko", ""}, {"/k/dm-mod.ko", "a=1"}, {"/k/jbd2.ko", ""}, {"/k/mbcache.ko", ""}, {"/k/ext4.ko", ""}}
	if !slices.Equal(k.order, want) {
		t.Errorf("%v, want %v", k.order, want)
	}
	if err := k.add("nosuch", ""); err == nil || !strings.Contains(err.Error(), "no module nosuch") {
		t.Errorf("%v", err)
	}
	if err := k.add("bad", ""); err == nil || !strings.Contains(err.Error(), "bad: unreadable") {
		t.Errorf("%v", err)
	}
}

func TestModinfo(t *testing.T) {
	for info, want := range map[string][]string{
		"license=GPL\x00depends=virtio,virtio-ring\x00name=x\x00": {"virtio", "virtio_ring"},
		"depends=\x00": nil,
		"":             nil,
	} {
		if got := dependsOf(info); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", info, got, want)
		}
	}
	if _, err := moduleDepends("/bin/sh"); err == nil || !strings.Contains(err.Error(), "no kernel module") {
		t.Errorf("a program: %v", err)
	}
}

func TestTheCacheIsEmpty(t *testing.T) {
	t.Setenv("SCSTUSER_VM_CACHE", t.TempDir())
	if err := Available(); err == nil || !strings.Contains(err.Error(), "make vm-deps") {
		t.Errorf("%v", err)
	}
	if _, err := Start(t.Context(), Config{}); err == nil || !strings.Contains(err.Error(), "make vm-deps") {
		t.Errorf("%v", err)
	}
}

func TestLibraries(t *testing.T) {
	libs, err := libraries("/bin/sh")
	must(t, err)
	if len(libs) < 2 || !strings.Contains(libs[0], "ld-linux") {
		t.Errorf("what /bin/sh needs is %q", libs)
	}
	for _, l := range libs {
		if _, err := os.Stat(l); err != nil {
			t.Error(err)
		}
	}
	script := filepath.Join(t.TempDir(), "script")
	must(t, os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755))
	if libs, err := libraries(script); err != nil || len(libs) != 0 {
		t.Errorf("a script needs %q, %v", libs, err)
	}
	must(t, os.WriteFile(script, []byte("text"), 0o755))
	if _, err := libraries(script); err == nil {
		t.Error("a text is a program")
	}
	if _, err := findTool("no-such-tool"); err == nil || !strings.Contains(err.Error(), "make vm-deps") {
		t.Errorf("%v", err)
	}
}
