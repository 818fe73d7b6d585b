package interop

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"scstuser/internal/proc"
)

func TestQemuImgInfo(t *testing.T) {
	s := serveFile(t, emptyImage(t, 7*mib))
	out := run(t, "qemu-img", "info", "--output=json", s.URI(""))
	var info struct {
		Size   int64  `json:"virtual-size"`
		Format string `json:"format"`
	}
	if err := json.Unmarshal([]byte(out), &info); err != nil {
		t.Fatalf("qemu-img printed something else than JSON: %v\n%s", err, out)
	}
	if info.Size != 7*mib || info.Format != "raw" {
		t.Errorf("got %+v, want a raw image of 7 MiB", info)
	}
}

func TestQemuImgConvertIn(t *testing.T) {
	atBlockSizes(t, func(t *testing.T, block int) {
		from, image := sparseImage(t, 32*mib), randomImage(t, 32*mib)
		s := serve(t, proc.Config{Files: []string{image}, Block: block})
		// -n: the target exists; -W: out of order; -m: requests in flight.
		run(t, "qemu-img", "convert", "-n", "-W", "-m", "16", "-f", "raw", "-O", "raw", from, s.URI(""))
		run(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", from, s.URI(""))
		stop(t, s)
		sameFiles(t, image, from)
	})
}

func TestQemuImgConvertOut(t *testing.T) {
	image := sparseImage(t, 32*mib)
	s := serve(t, proc.Config{Files: []string{image}, ReadOnly: true})
	for _, format := range []string{"raw", "qcow2"} {
		t.Run(format, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			run(t, "qemu-img", "convert", "-f", "raw", "-O", format, s.URI(""), out)
			run(t, "qemu-img", "compare", "-f", "raw", "-F", format, s.URI(""), out)
			if format == "raw" {
				sameFiles(t, out, image)
			}
		})
	}
}

// TestQemuImgHoldsQcow2 keeps an image of another format on the export: its
// metadata is written in small pieces and flushed in a certain order.
func TestQemuImgHoldsQcow2(t *testing.T) {
	from := sparseImage(t, 16*mib)
	s := serveFile(t, emptyImage(t, 32*mib))
	run(t, "qemu-img", "create", "-f", "qcow2", s.URI(""), "16M")
	run(t, "qemu-img", "convert", "-n", "-f", "raw", "-O", "qcow2", from, s.URI(""))
	run(t, "qemu-img", "check", "-f", "qcow2", s.URI(""))
	run(t, "qemu-img", "compare", "-f", "raw", "-F", "qcow2", from, s.URI(""))
}

func TestQemuImgCompareFindsADifference(t *testing.T) {
	image := randomImage(t, 4*mib)
	s := serveFile(t, image)
	needTool(t, "qemu-img")
	if out, _, err := try(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", emptyImage(t, 4*mib), s.URI("")); err == nil {
		t.Errorf("qemu-img took different images for identical: %s", out)
	}
}
