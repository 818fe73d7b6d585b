package interop

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"scstuser/internal/proc"
)

// A host with --handler_grace, and the handlers of its devices as processes
// that are killed and started again.

// needNode skips where no node can be mounted.
func needNode(t *testing.T) {
	t.Helper()
	fileioOnly(t)
	if _, err := os.Stat("/dev/fuse"); err != nil || os.Geteuid() != 0 {
		t.Skip("NOT TESTED: a node of the interface needs /dev/fuse and root")
	}
}

// nodeHost is a running "fileio_tgt host".
type nodeHost struct {
	bin, node, socket, control string
}

// startHost starts a host; it must stop cleanly when the test ends.
func startHost(t *testing.T, args ...string) *nodeHost {
	t.Helper()
	bin := program(t, false).(proc.FileioTgt).Bin
	dir := shortDir(t)
	h := &nodeHost{
		bin: bin, node: filepath.Join(dir, "m", "scst_user"),
		socket: filepath.Join(dir, "s"), control: filepath.Join(dir, "c"),
	}
	if err := os.Mkdir(filepath.Join(dir, "m"), 0o700); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"host", "--mount", filepath.Dir(h.node), "--listen", "unix:" + h.socket, "--control", h.control}, args...)
	cmd := h.start(t, args...)
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the host: %v", err)
		}
	})
	return h
}

// start starts the program and waits for its banner.
func (h *nodeHost) start(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(h.bin, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil && !errors.Is(err, io.EOF) {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Fatalf("%q did not start: %v\n%s", args, err, log.String())
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return cmd
}

// handler starts a handler process for an image.
func (h *nodeHost) handler(t *testing.T, image string, args ...string) *exec.Cmd {
	t.Helper()
	return h.start(t, append([]string{"-f", image, "--device", h.node}, args...)...)
}

func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// With --handler_grace a handler that is killed and started again is a pause:
// fio, which writes and verifies all the while, sees no error and no wrong byte.
func TestHandlerRestartsUnderFio(t *testing.T) {
	needNode(t)
	needTool(t, "fio")
	const kills = 20
	h := startHost(t, "--handler_grace", "60s")
	image := emptyImage(t, 64*mib)
	handler := h.handler(t, image)
	defer func() { kill(handler) }()
	uri := fmt.Sprintf("nbd+unix:///%s?socket=%s", filepath.Base(image), h.socket)
	eventually(t, "the export is there", func() bool { return exec.Command("nbdinfo", "--size", uri).Run() == nil })

	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	fio := exec.CommandContext(ctx, "fio", "--name=restarts", "--ioengine=nbd", "--uri="+uri, "--thread", "--rw=randwrite",
		"--bssplit=4k/60:64k/30:256k/10", "--blockalign=4k", "--iodepth=32", "--size=64m", "--loops=1000", "--time_based", "--runtime=1000",
		"--verify=crc32c", "--verify_fatal=1", "--verify_backlog=256", "--verify_state_save=0")
	fio.Dir = t.TempDir()
	var out strings.Builder
	fio.Stdout, fio.Stderr = &out, &out
	fio.Cancel = func() error { return fio.Process.Signal(syscall.SIGINT) } // it ends its loops and says how it went
	fio.WaitDelay = time.Minute
	if err := fio.Start(); err != nil {
		t.Fatal(err)
	}
	over := make(chan error, 1)
	go func() { over <- fio.Wait() }()
	before := uint64(0)
	for n := range kills {
		// It must have got on since the last one.
		eventually(t, "commands are carried out", func() bool {
			d := snapshotOf(t, h.control).Devices
			done := d[0].Counters.BytesWritten
			moved := done > before+1*mib
			if moved {
				before = done
			}
			return moved
		})
		kill(handler)
		if n%3 == 0 { // sometimes nobody is there for a while
			eventually(t, "the device waits for a handler", func() bool {
				g := snapshotOf(t, h.control).Devices[0].Grace
				return g != nil && g.State == "waiting"
			})
			time.Sleep(200 * time.Millisecond)
		}
		select {
		case err := <-over:
			t.Fatalf("fio ended after %d kills: %v\n%s", n, err, out.String())
		default:
		}
		handler = h.handler(t, image)
	}
	cancel()
	<-over // SIGINT is no clean end for fio's status
	if s := out.String(); !strings.Contains(s, "err= 0") || strings.Contains(s, "verify:") {
		t.Errorf("fio saw errors:\n%s", s)
	}
}

// When nobody comes in time clients get errors, and the name is free again.
func TestHandlerGraceExpires(t *testing.T) {
	needNode(t)
	h := startHost(t, "--handler_grace", "1s")
	image := emptyImage(t, 1*mib)
	handler := h.handler(t, image)
	defer func() { kill(handler) }()
	uri := fmt.Sprintf("nbd+unix:///%s?socket=%s", filepath.Base(image), h.socket)
	eventually(t, "the export is there", func() bool { return exec.Command("nbdinfo", "--size", uri).Run() == nil })
	kill(handler)
	if _, _, err := try(t, "qemu-io", "-f", "raw", "-c", "read 0 4k", uri); err == nil {
		t.Error("a read succeeds though no handler came back")
	}
	eventually(t, "the device is gone", func() bool { return len(snapshotOf(t, h.control).Devices) == 0 })
	handler = h.handler(t, image)
	eventually(t, "the export is back", func() bool { return exec.Command("nbdinfo", "--size", uri).Run() == nil })
}
