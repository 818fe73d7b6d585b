package arena_test

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"scstuser/handlers/arena"
)

// A forked child does not get the buffers (R54): the mappings have the flag "dc"
// (don't copy).
func TestR54BuffersAreNotInherited(t *testing.T) {
	a := arena.New(arena.Options{})
	for _, size := range []int{4096, 8 << 20} { // in a slab, and a mapping of its own
		addr, err := a.Alloc(size)
		if err != nil {
			t.Fatal(err)
		}
		if flags := vmFlags(t, addr); !strings.Contains(flags+" ", " dc ") {
			t.Errorf("the mapping of %d bytes has the flags%s", size, flags)
		}
		if err := a.Free(addr); err != nil {
			t.Error(err)
		}
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

// vmFlags are the flags of the mapping that holds addr.
func vmFlags(t *testing.T, addr uint64) string {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	here := false
	for s := bufio.NewScanner(f); s.Scan(); {
		var from, to uint64
		if n, _ := fmt.Sscanf(s.Text(), "%x-%x ", &from, &to); n == 2 {
			here = from <= addr && addr < to
		}
		if flags, ok := strings.CutPrefix(s.Text(), "VmFlags:"); ok && here {
			return flags
		}
	}
	t.Fatalf("no mapping holds %#x", addr)
	return ""
}
