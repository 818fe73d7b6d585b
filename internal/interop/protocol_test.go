package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"scstuser/handlers/fileio"
	"scstuser/internal/proc"
)

// writesZeroesFast says whether the file system of an image is known to, which is
// what FAST_ZERO depends on.
func writesZeroesFast(t *testing.T, image string) bool {
	t.Helper()
	f, err := fileio.Open(image, fileio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	punch, zero := f.FastZero()
	return punch || zero
}

func TestNbdinfoCan(t *testing.T) {
	fileioOnly(t)
	image := emptyImage(t, mib)
	fast := writesZeroesFast(t, image)
	for _, tc := range []struct {
		name   string
		config proc.Config
		can    map[string]bool
	}{
		{"writable", proc.Config{}, map[string]bool{
			"--can connect": true, "--can cache": true, "--can df": true, "--can fast-zero": fast, "--can flush": true,
			"--can fua": true, "--can multi-conn": true, "--can read": true, "--can trim": true, "--can write": true,
			"--can zero": true, "--can structured-reply": true, "--is read-only": false, "--is rotational": false, "--is tls": false,
		}},
		{"read-only", proc.Config{ReadOnly: true}, map[string]bool{
			"--can write": false, "--can trim": false, "--can zero": false, "--can fast-zero": false, "--can df": true,
			"--can flush": true, "--is read-only": true,
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.config.Files = []string{image}
			s := serve(t, tc.config)
			needTool(t, "nbdinfo")
			for question, want := range tc.can {
				out, stderr, err := try(t, "nbdinfo", append(strings.Fields(question), s.URI(""))...)
				if (err == nil) != want || strings.Contains(stderr, "error") {
					t.Errorf("nbdinfo %s: %v, want %v\n%s%s", question, err == nil, want, out, stderr)
				}
			}
		})
	}
}

// mapped is a run in the output of nbdinfo --map and qemu-img map.
type mapped struct {
	offset, length int64
	hole           bool
}

// sparseMap is the map of sparseImage.
func sparseMap(size int64) (l []mapped) {
	for off := int64(0); off < size; off += 512 * kib {
		l = append(l, mapped{off, 64 * kib, false}, mapped{off + 64*kib, 448 * kib, true})
	}
	last := &l[len(l)-1]
	last.length -= 4 * kib
	return append(l, mapped{size - 4*kib, 4 * kib, false})
}

func TestNbdinfoMap(t *testing.T) {
	fileioOnly(t)
	atBlockSizes(t, func(t *testing.T, block int) {
		// More runs than one answer has.
		s := serve(t, proc.Config{Files: []string{sparseImage(t, 64*mib)}, Block: block})
		var runs []struct {
			Offset, Length int64
			Type           int
		}
		if err := json.Unmarshal([]byte(run(t, "nbdinfo", "--map", "--json", s.URI(""))), &runs); err != nil {
			t.Fatal(err)
		}
		var got []mapped
		for _, r := range runs {
			got = append(got, mapped{r.Offset, r.Length, r.Type == 3})
		}
		if want := sparseMap(64 * mib); !slices.Equal(got, want) {
			t.Errorf("map of %d runs, want %d: %v", len(got), len(want), got)
		}
		if out := run(t, "nbdinfo", "--map", "--totals", s.URI("")); !strings.Contains(out, "hole,zero") {
			t.Errorf("totals:\n%s", out)
		}
	})
}

func TestQemuImgMap(t *testing.T) {
	fileioOnly(t)
	s := serveFile(t, sparseImage(t, 16*mib))
	var runs []struct {
		Start, Length int64
		Zero, Data    bool
	}
	if err := json.Unmarshal([]byte(run(t, "qemu-img", "map", "--output=json", "-f", "raw", s.URI(""))), &runs); err != nil {
		t.Fatal(err)
	}
	var got []mapped
	for _, r := range runs {
		got = append(got, mapped{r.Start, r.Length, r.Zero && !r.Data})
	}
	if want := sparseMap(16 * mib); !slices.Equal(got, want) {
		t.Errorf("map %v, want %v", got, want)
	}
}

// What is copied out of a sparse image is as sparse, and so is what is copied in
// over something else.
func TestCopiesAreSparse(t *testing.T) {
	fileioOnly(t)
	const size, most = 64 * mib, 12 * mib // an eighth is data
	from := sparseImage(t, size)
	for _, tc := range []struct {
		name    string
		in, out []string
	}{
		{"nbdcopy, one connection", []string{"nbdcopy", "--connections=1", "FROM", "TO"}, []string{"nbdcopy", "--connections=1", "FROM", "TO"}},
		{"nbdcopy, four connections", []string{"nbdcopy", "--connections=4", "FROM", "TO"}, []string{"nbdcopy", "--connections=4", "FROM", "TO"}},
		{"qemu-img", []string{"qemu-img", "convert", "-n", "-S0", "-f", "raw", "-O", "raw", "FROM", "TO"},
			[]string{"qemu-img", "convert", "-f", "raw", "-O", "raw", "FROM", "TO"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			do := func(command []string, from, to string) {
				t.Helper()
				var args []string
				for _, a := range command[1:] {
					args = append(args, strings.NewReplacer("FROM", from, "TO", to).Replace(a))
				}
				run(t, command[0], args...)
			}
			out, image := filepath.Join(t.TempDir(), "out"), emptyImage(t, size)
			do(tc.out, serveFile(t, from).URI(""), out)
			sameFiles(t, out, from)
			if n := allocated(t, out); n > most {
				t.Errorf("the copy takes %d bytes, want at most %d", n, most)
			}
			s := serveFile(t, image)
			do(tc.in, from, s.URI(""))
			stop(t, s)
			sameFiles(t, image, from)
		})
	}
}

// What libnbd can ask for, with structured replies and without, with block sizes
// asked for and without.
func TestLibnbdProtocol(t *testing.T) {
	fileioOnly(t)
	atBlockSizes(t, func(t *testing.T, block int) {
		for _, structured := range []string{"0", "1"} {
			for _, asked := range []string{"0", "1"} {
				t.Run(fmt.Sprintf("structured=%s/asked=%s", structured, asked), func(t *testing.T) {
					image := emptyImage(t, 16*mib)
					fast := "0"
					if writesZeroesFast(t, image) {
						fast = "1"
					}
					s := serve(t, proc.Config{Files: []string{image}, Block: block})
					runPython(t, "protocol.py", "URI="+s.URI(""), "SIZE="+strconv.Itoa(16*mib), "BLOCK="+strconv.Itoa(block),
						"STRUCTURED="+structured, "ASKED="+asked, "FAST="+fast)
				})
			}
		}
	})
}

// nbdkit's nbd plugin in front of us, with filters that use the protocol in their
// own ways; what comes out has to be what is in the image.
func TestNbdkitFilters(t *testing.T) {
	needTool(t, "nbdkit")
	needTool(t, "nbdcopy")
	for _, tc := range []struct {
		name    string
		filters []string
		params  []string
	}{
		{"none", nil, nil},
		{"cow", []string{"--filter=cow"}, nil},
		{"cow on read", []string{"--filter=cow"}, []string{"cow-on-read=true"}},
		{"blocksize", []string{"--filter=blocksize"}, []string{"minblock=4096", "maxdata=64k", "maxlen=256k"}},
		{"delay", []string{"--filter=delay"}, []string{"rdelay=1ms", "wdelay=1ms"}},
		{"retry", []string{"--filter=retry"}, []string{"retries=2", "retry-delay=1"}},
		{"all of them", []string{"--filter=retry", "--filter=delay", "--filter=blocksize", "--filter=cow"},
			[]string{"retries=2", "rdelay=1ms", "minblock=512", "maxdata=1M"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			image := sparseImage(t, 8*mib)
			s := serveFile(t, image)
			out := filepath.Join(t.TempDir(), "out")
			args := append([]string{"-U", "-"}, tc.filters...)
			args = append(args, "nbd", "uri="+s.URI(""))
			args = append(args, tc.params...)
			run(t, "nbdkit", append(args, "--run", `nbdcopy "$uri" `+out)...)
			sameFiles(t, out, image)
			// And in the other direction, into a filter that keeps it or us.
			from := randomImage(t, 8*mib)
			again := filepath.Join(t.TempDir(), "again")
			run(t, "nbdkit", append(args, "--run", `nbdcopy --flush `+from+` "$uri" && nbdcopy "$uri" `+again)...)
			sameFiles(t, again, from)
		})
	}
}

// nbdfuse shows the export as a file.
func TestNbdfuse(t *testing.T) {
	needTool(t, "nbdfuse")
	needTool(t, "fusermount3")
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skipf("SKIPPED, there is no FUSE here: %v", err)
	}
	image := randomImage(t, 4*mib)
	s := serveFile(t, image)
	dir := shortDir(t)
	mount := filepath.Join(dir, "nbd")
	if err := os.WriteFile(mount, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nbdfuse", mount, s.URI(""))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	deadline := time.After(20 * time.Second)
	for {
		if info, err := os.Stat(mount); err == nil && info.Size() == 4*mib {
			break
		}
		select {
		case err := <-ended:
			t.Skipf("SKIPPED, nbdfuse can't mount here: %v", err)
		case <-deadline:
			_ = cmd.Process.Kill()
			t.Fatal("nbdfuse does not mount")
		case <-time.After(20 * time.Millisecond):
		}
	}
	sameFiles(t, mount, image)
	want := content(t, image)
	f, err := os.OpenFile(mount, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	// Whole blocks: nbdfuse hands its users' requests on as they are.
	for _, at := range []int64{0, 512, 4096, mib - 512, 4*mib - 1024} {
		p := randomBytes(uint64(at), 1024)
		if _, err := f.WriteAt(p, at); err != nil {
			t.Errorf("write at %d: %v", at, err)
		}
		copy(want[at:], p)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	run(t, "fusermount3", "-u", mount)
	if err := <-ended; err != nil {
		t.Errorf("nbdfuse: %v", err)
	}
	stop(t, s)
	if string(content(t, image)) != string(want) {
		t.Error("the image does not hold what was written to the file")
	}
}
