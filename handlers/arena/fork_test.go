package arena_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"scstuser/handlers/arena"
	"scstuser/internal/proc"
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
		flags, err := proc.MappingFlags(addr)
		if errors.Is(err, fs.ErrNotExist) {
			t.Skip(err)
		}
		if err != nil || !strings.Contains(flags+" ", " dc ") {
			t.Errorf("the mapping of %d bytes has the flags%s: %v", size, flags, err)
		}
		if err := a.Free(addr); err != nil {
			t.Error(err)
		}
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}
