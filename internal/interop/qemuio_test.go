package interop

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"scstuser/internal/proc"
)

// qemuIO runs qemu-io commands on the default export and returns what they
// print. -d unmap lets its discards through.
func qemuIO(t *testing.T, s *proc.Server, commands ...string) string {
	t.Helper()
	args := []string{"-f", "raw", "-d", "unmap"}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	out := run(t, "qemu-io", append(args, s.URI(""))...)
	if strings.Contains(out, "failed") {
		t.Fatalf("qemu-io %q:\n%s", commands, out)
	}
	return out
}

// script is a list of qemu-io commands with what the disk must hold after
// them.
type script struct {
	commands []string
	disk     []byte
}

// newScript is an empty script for a disk with this content.
func newScript(disk []byte) *script { return &script{disk: bytes.Clone(disk)} }

// does adds a command that has no effect on the content.
func (s *script) does(command string) { s.commands = append(s.commands, command) }

// fills adds a command that sets n bytes at off to a pattern. Its format gets
// off and n.
func (s *script) fills(pattern byte, off, n int, format string) {
	s.does(fmt.Sprintf(format, off, n))
	for i := range s.disk[off : off+n] {
		s.disk[off+i] = pattern
	}
}

// reads adds a check that n bytes at off hold a pattern.
func (s *script) reads(pattern byte, off, n int) {
	s.does(fmt.Sprintf("read -P %#x %d %d", pattern, off, n))
}

// runOn runs the script against a new server on image, compares what the file
// holds in the end, and returns what qemu-io printed.
func (s *script) runOn(t *testing.T, image string, c proc.Config) string {
	t.Helper()
	c.Files = []string{image}
	srv := serve(t, c)
	out := qemuIO(t, srv, s.commands...)
	stop(t, srv)
	sameBytes(t, "the image", bytes.NewReader(content(t, image)), bytes.NewReader(s.disk))
	return out
}

func TestQemuIOWriteZeroDiscard(t *testing.T) {
	atBlockSizes(t, func(t *testing.T, block int) {
		image := randomImage(t, 8*mib)
		s := newScript(content(t, image))
		s.fills(0xab, 0, mib, "write -P 0xab %d %d")
		s.fills(0xcd, mib, 64*kib, "write -f -P 0xcd %d %d") // FUA
		s.fills(0xef, 2*mib, 4*kib, "writev -P 0xef %d %d")
		s.does("flush")
		s.fills(0, 256*kib, 128*kib, "write -z %d %d")
		s.fills(0, 512*kib, 128*kib, "write -z -u %d %d") // may unmap
		s.fills(0, 768*kib, 4*kib, "write -z -f %d %d")
		s.reads(0xab, 0, 256*kib)
		s.reads(0, 256*kib, 128*kib)
		s.reads(0xab, 384*kib, 128*kib)
		s.reads(0, 512*kib, 128*kib)
		s.reads(0xab, 640*kib, 128*kib)
		s.reads(0, 768*kib, 4*kib)
		s.reads(0xab, 772*kib, 252*kib)
		s.reads(0xcd, mib, 64*kib)
		s.reads(0xef, 2*mib, 4*kib)
		// What a discard leaves is not defined until it is written again.
		s.does(fmt.Sprintf("discard %d %d", 4*mib, mib))
		s.fills(0x11, 4*mib, mib, "write -P 0x11 %d %d")
		s.does(fmt.Sprintf("discard %d %d", 4*mib, mib))
		s.fills(0x22, 4*mib, mib, "write -P 0x22 %d %d")
		s.reads(0x22, 4*mib, mib)
		s.fills(0x77, 8*mib-block, block, "write -P 0x77 %d %d") // the last block
		s.reads(0x77, 8*mib-block, block)
		s.runOn(t, image, proc.Config{Block: block})
	})
}

// TestQemuIODiscardKeepsItsBounds: what a discard leaves in its own range is
// not defined (the old bytes or zeroes), but around it nothing changes.
func TestQemuIODiscardKeepsItsBounds(t *testing.T) {
	image := emptyImage(t, 2*mib)
	s := newScript(make([]byte, 2*mib))
	s.fills(0x5a, 0, 2*mib, "write -P 0x5a %d %d")
	const off, n = 1000 * 512, 333 * 512
	s.does(fmt.Sprintf("discard %d %d", off, n))
	s.reads(0x5a, 0, off)
	s.reads(0x5a, off+n, 2*mib-off-n)
	srv := serveFile(t, image)
	qemuIO(t, srv, s.commands...)
	stop(t, srv)
	for i, b := range content(t, image) {
		if inside := i >= off && i < off+n; b != 0x5a && (b != 0 || !inside) {
			t.Fatalf("byte %d is %#x after a discard of [%d, %d)", i, b, off, off+n)
		}
	}
}

// TestQemuIOInFlight has many writes under way at once, then many reads.
func TestQemuIOInFlight(t *testing.T) {
	atBlockSizes(t, func(t *testing.T, block int) {
		const pieces, piece = 64, 36 * kib
		image := emptyImage(t, pieces*piece)
		s := newScript(make([]byte, pieces*piece))
		for i := range pieces {
			at := (i * 37 % pieces) * piece
			pattern := byte(i + 1)
			s.fills(pattern, at, piece, fmt.Sprintf("aio_write -q -P %d %%d %%d", pattern))
		}
		s.does("aio_flush")
		for i := range pieces {
			s.does(fmt.Sprintf("aio_read -q -P %d %d %d", i+1, (i*37%pieces)*piece, piece))
		}
		s.does("aio_flush")
		out := s.runOn(t, image, proc.Config{Block: block})
		if strings.Contains(out, "Pattern verification") {
			t.Errorf("qemu-io read something else than it wrote:\n%s", out)
		}
	})
}

// TestQemuIOMisaligned writes pieces that are not whole blocks: qemu reads the
// blocks around them first, according to the minimum size that the server
// announces.
func TestQemuIOMisaligned(t *testing.T) {
	atBlockSizes(t, func(t *testing.T, block int) {
		image := randomImage(t, mib)
		s := newScript(content(t, image))
		s.fills(0x11, 513, 1000, "write -P 0x11 %d %d")
		s.fills(0x22, 4095, 2, "write -P 0x22 %d %d")
		s.fills(0x33, 100_001, 77_777, "write -P 0x33 %d %d")
		s.fills(0, 120_003, 9_999, "write -z %d %d")
		s.fills(0x44, mib-1, 1, "write -f -P 0x44 %d %d")
		s.reads(0x11, 513, 1000)
		s.reads(0x22, 4095, 2)
		s.reads(0x33, 100_001, 20_002)
		s.reads(0, 120_003, 9_999)
		s.reads(0x33, 130_002, 47_776)
		s.reads(0x44, mib-1, 1)
		s.runOn(t, image, proc.Config{Block: block})
	})
}

// TestQemuIOPastTheEnd: the client refuses what goes past the end, and the
// file does not grow.
func TestQemuIOPastTheEnd(t *testing.T) {
	image := emptyImage(t, mib)
	s := serveFile(t, image)
	needTool(t, "qemu-io")
	out, stderr, err := try(t, "qemu-io", "-f", "raw", "-c", "write -P 1 1048064 1024", s.URI(""))
	if err == nil && !strings.Contains(out+stderr, "failed") {
		t.Errorf("a write past the end succeeded:\n%s%s", out, stderr)
	}
	stop(t, s)
	if got := len(content(t, image)); got != mib {
		t.Errorf("the image has %d bytes now, want %d", got, mib)
	}
}
