package interop

import (
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"scstuser/internal/proc"
)

// copyWays are the ways of running nbdcopy that differ for a server: how many
// connections, and how many requests in flight on each.
var copyWays = []struct {
	name    string
	options []string
}{
	{"one connection", []string{"--connections=1"}},
	{"four connections", []string{"--connections=4", "--threads=4"}},
	{"64 requests", []string{"--connections=1", "--requests=64", "--request-size=65536"}},
	{"synchronous", []string{"--synchronous"}},
}

// copySources are images that differ for a server: how they are filled, and
// where they end.
var copySources = []struct {
	name  string
	image func(t *testing.T) string
}{
	{"random", func(t *testing.T) string { return randomImage(t, 24*mib) }},
	{"sparse", func(t *testing.T) string { return sparseImage(t, 64*mib) }},
	{"odd size", func(t *testing.T) string { return randomImage(t, 3*mib+12*kib) }},
}

// forEachCopy runs a test with each source in each way.
func forEachCopy(t *testing.T, test func(t *testing.T, source string, options []string)) {
	t.Helper()
	for _, source := range copySources {
		for _, way := range copyWays {
			t.Run(source.name+"/"+way.name, func(t *testing.T) {
				test(t, source.image(t), way.options)
			})
		}
	}
}

// nbdcopy copies and has the result made durable.
func nbdcopy(t *testing.T, from, to string, options ...string) {
	t.Helper()
	run(t, "nbdcopy", append(append([]string{"--flush"}, options...), from, to)...)
}

func TestNbdcopyOut(t *testing.T) {
	forEachCopy(t, func(t *testing.T, image string, options []string) {
		s := serveFile(t, image)
		out := filepath.Join(t.TempDir(), "out")
		nbdcopy(t, s.URI(""), out, options...)
		sameFiles(t, out, image)
	})
}

func TestNbdcopyIn(t *testing.T) {
	forEachCopy(t, func(t *testing.T, from string, options []string) {
		// What was there before has to go, holes of the source included.
		image := randomImage(t, len(content(t, from)))
		s := serveFile(t, image)
		nbdcopy(t, from, s.URI(""), options...)
		stop(t, s)
		sameFiles(t, image, from)
	})
}

func TestNbdcopyAtBlockSizes(t *testing.T) {
	atBlockSizes(t, func(t *testing.T, block int) {
		from, image := sparseImage(t, 16*mib), emptyImage(t, 16*mib)
		s := serve(t, proc.Config{Files: []string{image}, Block: block})
		nbdcopy(t, from, s.URI(""), "--connections=4")
		out := filepath.Join(t.TempDir(), "out")
		nbdcopy(t, s.URI(""), out, "--connections=4")
		sameFiles(t, out, from)
	})
}

func TestNbdcopyKeepsHoles(t *testing.T) {
	from, image := sparseImage(t, 64*mib), randomImage(t, 64*mib)
	s := serveFile(t, image)
	nbdcopy(t, from, s.URI(""))
	stop(t, s)
	sameFiles(t, image, from)
	// An eighth holds data. Zeroing may leave the ends of a hole allocated.
	if got, limit := allocated(t, image), int64(32*mib); got > limit {
		t.Errorf("the image takes %d bytes, want at most %d: the zeroes were written", got, limit)
	}
}

func TestNbdcopyOverTCP(t *testing.T) {
	image := randomImage(t, 8*mib)
	s := serve(t, proc.Config{Files: []string{image}, Listen: []proc.Endpoint{proc.TCP("127.0.0.1:0")}})
	out := filepath.Join(t.TempDir(), "out")
	nbdcopy(t, s.URI(""), out, "--connections=4")
	sameFiles(t, out, image)
}

func TestNbdcopyIntoReadOnlyFails(t *testing.T) {
	image := randomImage(t, mib)
	before := content(t, image)
	s := serve(t, proc.Config{Files: []string{image}, ReadOnly: true})
	needTool(t, "nbdcopy")
	if _, _, err := try(t, "nbdcopy", emptyImage(t, mib), s.URI("")); err == nil {
		t.Error("nbdcopy into a read-only export succeeded")
	}
	stop(t, s)
	if string(content(t, image)) != string(before) {
		t.Error("a read-only image has changed")
	}
}

func TestNbddump(t *testing.T) {
	image := randomImage(t, 64*kib)
	s := serveFile(t, image)
	out := run(t, "nbddump", s.URI(""))
	data := content(t, image)
	for _, off := range []int{0, 16, 32 * kib, 64*kib - 16} {
		octets := make([]string, 16)
		for i := range octets {
			octets[i] = hex.EncodeToString(data[off+i : off+i+1])
		}
		line := fmt.Sprintf("%010x: %s  %s", off, strings.Join(octets[:8], " "), strings.Join(octets[8:], " "))
		if !strings.Contains(out, line) {
			t.Errorf("dump lacks %q", line)
		}
	}
}
