package interop

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"scstuser/internal/proc"
)

func TestSeveralExports(t *testing.T) {
	fileioOnly(t)
	a, b := randomImage(t, 2*mib), sparseImage(t, 3*mib)
	s := serve(t, proc.Config{Files: []string{a, b}})
	out := t.TempDir()
	for name, want := range map[string]string{
		"random.img": a,
		"empty.img":  b, // where sparseImage starts from
		"":           a, // the first one is the default export
	} {
		got := filepath.Join(out, "out")
		nbdcopy(t, s.URI(name), got)
		sameFiles(t, got, want)
	}
}

// TestNamedExports gives the names with the files, as SCST's program has it.
func TestNamedExports(t *testing.T) {
	fileioOnly(t)
	a, b := randomImage(t, mib), sparseImage(t, 2*mib)
	s := serve(t, proc.Config{Args: []string{"system", a, "data disk", b}})
	for name, want := range map[string]string{"system": a, "data disk": b, "": a} {
		got := filepath.Join(t.TempDir(), "out")
		nbdcopy(t, s.URI(name), got)
		sameFiles(t, got, want)
	}
}

// TestExportsAreSeparate writes to one export while the other one is read.
func TestExportsAreSeparate(t *testing.T) {
	fileioOnly(t)
	a, b := randomImage(t, 4*mib), emptyImage(t, 4*mib)
	before := content(t, a)
	s := serve(t, proc.Config{Files: []string{a, b}})
	nbdcopy(t, a, s.URI("empty.img"), "--connections=4")
	sameFiles(t, b, a)
	run(t, "qemu-io", "-f", "raw", "-c", "write -z 0 4M", s.URI("empty.img"))
	stop(t, s)
	sameBytes(t, "the other export", bytes.NewReader(content(t, a)), bytes.NewReader(before))
	sameBytes(t, "the export", bytes.NewReader(content(t, b)), bytes.NewReader(make([]byte, 4*mib)))
}

func TestSeveralEndpoints(t *testing.T) {
	fileioOnly(t)
	image := randomImage(t, mib)
	s := serve(t, proc.Config{Files: []string{image}, Listen: []proc.Endpoint{
		proc.Unix(filepath.Join(shortDir(t), "a")),
		proc.Unix(filepath.Join(shortDir(t), "b")),
		proc.TCP("127.0.0.1:0"),
	}})
	for i := range 3 {
		out := filepath.Join(t.TempDir(), "out")
		nbdcopy(t, s.Endpoint(i).URI(""), out)
		sameFiles(t, out, image)
	}
}

// TestEndpointsSeeEachOthersWrites: endpoints are ways to the same disk.
func TestEndpointsSeeEachOthersWrites(t *testing.T) {
	fileioOnly(t)
	from := randomImage(t, 4*mib)
	s := serve(t, proc.Config{Files: []string{emptyImage(t, 4*mib)}, Listen: []proc.Endpoint{
		proc.Unix(filepath.Join(shortDir(t), "a")),
		proc.TCP("127.0.0.1:0"),
	}})
	nbdcopy(t, from, s.Endpoint(0).URI(""))
	out := filepath.Join(t.TempDir(), "out")
	nbdcopy(t, s.Endpoint(1).URI(""), out)
	sameFiles(t, out, from)
}

func TestBlockDevice(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("attaching a loop device needs root")
	}
	image := randomImage(t, 8*mib)
	stdout, stderr, err := try(t, "losetup", "--find", "--show", image)
	if err != nil {
		t.Skipf("no loop device here: %v\n%s", err, stderr)
	}
	device := strings.TrimSpace(stdout)
	t.Cleanup(func() { run(t, "losetup", "--detach", device) })

	for _, direct := range []bool{false, true} {
		var args []string
		if direct {
			fileioOnly(t)
			args = []string{"--direct"}
		}
		s := start(t, program(t, false), proc.Config{Files: []string{device}, Args: args})
		if got := size(t, s.URI(exportName(device))); got != "8388608" {
			t.Errorf("size %s, want 8388608", got)
		}
		from := sparseImage(t, 8*mib)
		nbdcopy(t, from, s.URI(""), "--connections=4")
		out := filepath.Join(t.TempDir(), "out")
		nbdcopy(t, s.URI(""), out)
		sameFiles(t, out, from)
		stop(t, s)
		sameFiles(t, device, from)
	}
}
