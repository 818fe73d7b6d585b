package interop

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"scstuser/internal/proc"
)

// exportInfo is what nbdinfo --json says about one export.
type exportInfo struct {
	Name         string `json:"export-name"`
	Description  string `json:"description"`
	Size         int64  `json:"export-size"`
	ReadOnly     bool   `json:"is_read_only"`
	CanCache     bool   `json:"can_cache"`
	CanFlush     bool   `json:"can_flush"`
	CanFUA       bool   `json:"can_fua"`
	CanMultiConn bool   `json:"can_multi_conn"`
	CanTrim      bool   `json:"can_trim"`
	CanZero      bool   `json:"can_zero"`
	BlockMin     int    `json:"block_size_minimum"`
	BlockPref    int    `json:"block_size_preferred"`
	BlockMax     int    `json:"block_size_maximum"`
}

// serverInfo is what nbdinfo --json says in all.
type serverInfo struct {
	Protocol string       `json:"protocol"`
	Exports  []exportInfo `json:"exports"`
}

func nbdinfo(t *testing.T, args ...string) serverInfo {
	t.Helper()
	out := run(t, "nbdinfo", append([]string{"--json"}, args...)...)
	var info serverInfo
	if err := json.Unmarshal([]byte(out), &info); err != nil {
		t.Fatalf("nbdinfo printed something else than JSON: %v\n%s", err, out)
	}
	return info
}

// nbdinfoOne is nbdinfo of one export.
func nbdinfoOne(t *testing.T, uri string) exportInfo {
	t.Helper()
	info := nbdinfo(t, uri)
	if len(info.Exports) != 1 {
		t.Fatalf("nbdinfo shows %d exports, want 1", len(info.Exports))
	}
	return info.Exports[0]
}

// size is nbdinfo --size.
func size(t *testing.T, uri string) string {
	t.Helper()
	return strings.TrimSpace(run(t, "nbdinfo", "--size", uri))
}

func TestNbdinfoSize(t *testing.T) {
	s := serveFile(t, emptyImage(t, 5*gib+4096))
	if got, want := size(t, s.URI("")), "5368713216"; got != want {
		t.Errorf("size %s, want %s", got, want)
	}
}

func TestNbdinfoFlags(t *testing.T) {
	image := emptyImage(t, mib)
	t.Run("writable", func(t *testing.T) {
		s := serveFile(t, image)
		info := nbdinfo(t, s.URI(""))
		if info.Protocol != "newstyle-fixed" {
			t.Errorf("protocol %q, want newstyle-fixed", info.Protocol)
		}
		e := info.Exports[0]
		if e.ReadOnly || !e.CanFlush || !e.CanFUA || !e.CanTrim || !e.CanZero || !e.CanCache || !e.CanMultiConn {
			t.Errorf("got %+v, want a writable export that can do everything", e)
		}
	})
	t.Run("read-only", func(t *testing.T) {
		s := serve(t, proc.Config{Files: []string{image}, ReadOnly: true})
		e := nbdinfoOne(t, s.URI(""))
		if !e.ReadOnly {
			t.Errorf("got %+v, want read-only", e)
		}
	})
}

func TestNbdinfoBlockSizes(t *testing.T) {
	atBlockSizes(t, func(t *testing.T, block int) {
		s := serve(t, proc.Config{Files: []string{emptyImage(t, mib)}, Block: block})
		e := nbdinfoOne(t, s.URI(""))
		if e.BlockMin < 1 || e.BlockMin > block || e.BlockMin&(e.BlockMin-1) != 0 {
			t.Errorf("minimum %d, want a power of two up to %d", e.BlockMin, block)
		}
		if e.BlockPref < max(e.BlockMin, 512) || e.BlockPref&(e.BlockPref-1) != 0 {
			t.Errorf("preferred %d, want a power of two of at least %d", e.BlockPref, max(e.BlockMin, 512))
		}
		if e.BlockMax < e.BlockPref {
			t.Errorf("maximum %d, want at least %d", e.BlockMax, e.BlockPref)
		}
	})
}

func TestNbdinfoListsEveryExport(t *testing.T) {
	a, b := emptyImage(t, mib), randomImage(t, 2*mib)
	s := serve(t, proc.Config{Files: []string{a, b}})
	info := nbdinfo(t, "--list", s.URI(""))
	sizes := make(map[string]int64)
	var names []string
	for _, e := range info.Exports {
		names = append(names, e.Name)
		sizes[e.Name] = e.Size
	}
	for _, want := range []string{"empty.img", "random.img"} {
		if !slices.Contains(names, want) {
			t.Errorf("list has %q, want %q in it", names, want)
		}
	}
	if sizes["empty.img"] != mib || sizes["random.img"] != 2*mib {
		t.Errorf("sizes %v, want 1 and 2 MiB", sizes)
	}
}

func TestQemuNbdLists(t *testing.T) {
	needTool(t, "qemu-nbd")
	image := emptyImage(t, mib)
	s := serveFile(t, image)
	out := run(t, "qemu-nbd", "--list", "-k", s.Endpoint(0).Addr)
	for _, want := range []string{"export: '" + exportName(image) + "'", "1048576"} {
		if !strings.Contains(out, want) {
			t.Errorf("list lacks %q:\n%s", want, out)
		}
	}
}

func TestNbdinfoUnknownExport(t *testing.T) {
	fileioOnly(t)
	s := serveFile(t, emptyImage(t, mib))
	needTool(t, "nbdinfo")
	stdout, stderr, err := try(t, "nbdinfo", s.URI("no-such-export"))
	if err == nil {
		t.Errorf("nbdinfo of an unknown export succeeded:\n%s", stdout)
	}
	if size(t, s.URI("")) != "1048576" {
		t.Errorf("the server no longer answers after %q", stderr)
	}
}
