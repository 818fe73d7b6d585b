package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"scstuser/internal/nodehost"
)

// replayed is a handler program that is recorded and then replayed against.
type replayed struct {
	name   string
	device string // as it registers
	// make makes what the program needs and returns its command line, in which
	// {} stands for the node's path. It is called for each run: a program that
	// keeps data begins with none.
	make func(t *testing.T) []string
	// preload: trace record can record it.
	preload bool
	// alone: one thread, so that its recording replays against a host as well.
	alone bool
	// wants are subcommands that have to be in the recording.
	wants []string
}

func replayedPrograms(t *testing.T) []replayed {
	t.Helper()
	dir := t.TempDir()
	c, goHandler := filepath.Join(dir, "ram_handler"), filepath.Join(dir, "go-handler")
	nodehost.Tool(t, "make", "-s", "-C", "../../examples/c-handler", "OUT="+c)
	if out, err := exec.Command("go", "build", "-o", goHandler, "../../examples/go-handler").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	image := filepath.Join(dir, "disk.img")
	// ourselves is this program as a handler, with options of how commands travel.
	ourselves := func(options ...string) func(t *testing.T) []string {
		return func(t *testing.T) []string {
			if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 16*mib)); err != nil {
				t.Fatal(err)
			}
			args := append([]string{"env", mainVariable + "=1", os.Args[0]}, options...)
			return append(args, "-f", image, "--device", "{}")
		}
	}
	line := func(words ...string) func(*testing.T) []string { return func(*testing.T) []string { return words } }
	exec := []string{"ATTACH_SESS", "EXEC", "DETACH_SESS"}
	with := func(more ...string) []string { return append(more, exec...) }
	return []replayed{
		{"C example", "ram", line(c, "-s", "16", "{}"), true, false, exec},
		{"C example, one thread", "ram", line(c, "-s", "16", "-t", "1", "{}"), true, true, with("ALLOC_MEM")},
		{"Go example", "ram", line(goHandler, "-size", "16777216", "-node", "{}"), false, false, exec},
		{"parse by the handler", "disk.img", ourselves("-e", "1", "-M", "0", "-p", "call"), false, true, with("PARSE")},
		{"parse and buffers by the handler", "disk.img", ourselves("-e", "1", "-M", "0", "-p", "call", "-m", "none"), false, true,
			with("PARSE", "ALLOC_MEM", "ON_FREE_CMD")},
		{"buffers by the handler", "disk.img", ourselves("-e", "1", "-M", "0", "-m", "none"), false, true, with("ALLOC_MEM", "ON_FREE_CMD")},
		{"several threads", "disk.img", ourselves("-e", "4"), false, false, exec},
	}
}

// at puts the node's path in a command line.
func at(node string, line []string) []string {
	out := make([]string, len(line))
	for i, w := range line {
		out[i] = strings.ReplaceAll(w, nodePlace, node)
	}
	return out
}

// recordAtAHost runs a handler at fileio_tgt host, and clients at both its doors.
// With a recorder, "trace record" words, the handler is recorded, else the host.
func (r *replayed) recordAtAHost(t *testing.T, file string, recorder ...string) {
	t.Helper()
	dir := t.TempDir()
	mount, socket := filepath.Join(dir, "m"), filepath.Join(dir, "s")
	if err := os.Mkdir(mount, 0o700); err != nil {
		t.Fatal(err)
	}
	args := []string{"host", "--mount", mount, "--listen", "unix:" + socket}
	if len(recorder) == 0 {
		args = append(args, "--record", file)
	}
	host := startProcess(t, args...)
	line := append(recorder, at(filepath.Join(mount, "scst_user"), r.make(t))...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }() // has ended, in order
	c := dialExport(t, socket, r.device)
	data := bytes.Repeat([]byte("recorded"), 1024)
	for _, off := range []uint64{0, 8192, 1 << 20} {
		if errno := c.Write(off, data, 0); errno != 0 {
			t.Errorf("write: %v", errno)
		}
		if got, errno := c.Read(off, uint32(len(data)), 0); errno != 0 || !bytes.Equal(got, data) {
			t.Errorf("read: %v, or other bytes", errno)
		}
	}
	if errno := c.Flush(0); errno != 0 {
		t.Errorf("flush: %v", errno)
	}
	c.Disc(0)
	lun := filepath.Join(mount, "devices", r.device, "lun")
	nodehost.Tool(t, "sh", "-ec", "printf XYZ | dd of="+lun+" bs=1 seek=1021 conv=notrunc,fsync status=none; "+
		"test $(dd if="+lun+" bs=1 skip=1021 count=3 status=none) = XYZ; dd if="+lun+" of=/dev/null bs=256k status=none")
	// The whole group: a recorder is in front of the program.
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the handler: %v: %s", err, said.String())
	}
	if status := host.End(syscall.SIGTERM); status != exitOK {
		t.Errorf("the host: status %d, %s", status, host.Stderr.String())
	}
}

// A recording that is made here replays without a difference against the program
// that was recorded; where that had one thread, against a host as well.
func TestTraceReplayPrograms(t *testing.T) {
	nodehost.Start(t) // skips where there is no FUSE
	for _, r := range replayedPrograms(t) {
		t.Run(r.name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("TMPDIR", dir)
			t.Setenv("XDG_CACHE_HOME", dir)
			files := map[string][]string{"host.jsonl.gz": nil}
			if r.preload {
				files["preload.jsonl"] = []string{"env", mainVariable + "=1", os.Args[0], "trace", "record", "-o", filepath.Join(dir, "preload.jsonl"), "--"}
			}
			for name, recorder := range files {
				file := filepath.Join(dir, name)
				r.recordAtAHost(t, file, recorder...)
				shown := runWith("trace", "show", file)
				for _, w := range r.wants {
					if !strings.Contains(shown.stdout, w+" h=") {
						t.Errorf("%s: there is no %s in it", name, w)
					}
				}
				o := runWith(append([]string{"trace", "replay", "--as", "host", file, "--"}, r.make(t)...)...)
				if o.status != exitOK || !strings.HasPrefix(o.stdout, "as recorded: ") {
					t.Errorf("%s --as host: %+v", name, o)
				}
				t.Logf("%s --as host: %s", name, strings.TrimSpace(o.stdout))
				if !r.alone {
					continue
				}
				o = runWith("trace", "replay", file)
				if o.status != exitOK || !strings.HasPrefix(o.stdout, "as recorded: ") {
					t.Errorf("%s: %+v", name, o)
				}
				t.Logf("%s: %s", name, strings.TrimSpace(o.stdout))
			}
		})
	}
}
