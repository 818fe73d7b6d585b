package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sirupsen/logrus"

	"scstuser/ioctl/trace"
)

// A run that was recorded is replayed without a difference: what a client did,
// a new size, buffers that are given beforehand, flushed and purged.
func TestRecordInProcess(t *testing.T) {
	for _, options := range []string{"-e 1", "-e 4", "-e 1 -M 0", "-e 1 -m none", "-e 1 -p call", "-e 1 -R 4 -Z 64 -F 1"} {
		t.Run("fileio_tgt "+options, func(t *testing.T) {
			dir := t.TempDir()
			image, socket, file := emptyImage(t, "disk", mib), filepath.Join(dir, "s"), filepath.Join(dir, "trace.gz")
			args := append(strings.Fields(options), "-f", image, "--record", file, "--listen", "unix:"+socket, "--control", "none")
			p := startProcess(t, args...)
			c := dialExport(t, socket, "disk")
			data := bytes.Repeat([]byte("abcdefgh"), 1024)
			for i := range uint64(8) {
				if errno := c.Write(i*8192, data, 0); errno != 0 {
					t.Errorf("write: %v", errno)
				}
				if got, errno := c.Read(i*8192, uint32(len(data)), 0); errno != 0 || !bytes.Equal(got, data) {
					t.Errorf("read: %v, or other bytes", errno)
				}
			}
			c.Disc(0)
			if status := p.End(syscall.SIGTERM); status != exitOK {
				t.Fatalf("status %d, %s", status, p.Stderr.String())
			}
			rec, err := trace.Load(file)
			if err != nil || rec.Truncated || rec.Header.Source != "process" {
				t.Fatalf("%+v, %v", rec.Header, err)
			}
			var writes int
			for _, e := range rec.Events {
				if e.Out != nil {
					for i := range e.Out.Cmds {
						if x := e.Out.Cmds[i].Exec; x != nil && x.CDB[0] == 0x8a {
							writes++
						}
					}
				}
			}
			if writes != 8 {
				t.Errorf("%d WRITEs are recorded, want 8", writes)
			}
			if out := runWith("trace", "replay", file); out.status != exitOK || !strings.HasPrefix(out.stdout, "as recorded") {
				t.Errorf("replay: status %d\n%s%s", out.status, out.stdout, out.stderr)
			}
		})
	}
}

// What --record can't be combined with is said at once.
func TestRecordUsage(t *testing.T) {
	image := emptyImage(t, "disk", mib)
	for _, args := range [][]string{
		{"-f", image, "-f", emptyImage(t, "other", mib), "--record", "f"},
		{"-f", image, "--inline", "--record", "f"},
	} {
		if out := runWith(args...); out.status != exitUsage || !strings.Contains(out.stderr, "--record") {
			t.Errorf("%q: status %d, %s", args, out.status, out.stderr)
		}
	}
}

// A recording that can't be written ends the start, and leaves nothing behind.
func TestRecordCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	cfg := img(func(c *config) {
		c.Record = filepath.Join(dir, "no", "such", "dir")
		c.Listen = []string{"unix:" + filepath.Join(dir, "s")}
		c.Exports = []exportConfig{{"disk", emptyImage(t, "disk", mib)}}
	})
	err := newProgram(cfg, logrus.New()).run(t.Context(), func(served) { t.Error("it serves") })
	if err == nil || !strings.Contains(err.Error(), cfg.Record) {
		t.Errorf("%v, which should name %s", err, cfg.Record)
	}
	if _, err := os.Stat(filepath.Join(dir, "s")); !os.IsNotExist(err) {
		t.Error("the socket is left")
	}
}
