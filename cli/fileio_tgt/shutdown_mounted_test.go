package main

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"scstuser/internal/nodehost"
	"scstuser/nbd/nbdtest"
)

// A handler's process is killed under a host's clients: what is outstanding, and
// what is asked after that, ends with ESHUTDOWN, and then comes the end of the
// stream (R70).
func TestR70KilledHandlerIsESHUTDOWN(t *testing.T) {
	nodehost.Start(t) // skips where nothing can be mounted
	dir := t.TempDir()
	mount, socket := filepath.Join(dir, "scst"), filepath.Join(dir, "nbd.sock")
	if err := os.Mkdir(mount, 0o755); err != nil {
		t.Fatal(err)
	}
	host := startProcess(t, "host", "--mount", mount, "--listen", "unix:"+socket, "--control", "none")
	image := emptyImage(t, "disk", mib)
	for range 5 {
		disk := startProcess(t, "-f", image, "--device", filepath.Join(mount, "scst_user"))
		busy, idle := dialExport(t, socket, "disk"), dialExport(t, socket, "disk")
		for _, c := range []*nbdtest.Conn{busy, idle} {
			if got, errno := c.Read(0, 4096, 0); errno != nbdtest.OK || !bytes.Equal(got, make([]byte, 4096)) {
				t.Fatalf("read: %v, or other bytes", errno)
			}
		}
		if err := disk.Cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		read := nbdtest.Request{Type: nbdtest.CmdRead, Cookie: 1, Length: 4096}
		busy.SendRequests(read)
		commands := filepath.Join(mount, "devices/disk/commands")
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			if b, _ := os.ReadFile(commands); bytes.Contains(b, []byte("state 3")) {
				break
			}
			if time.Now().After(end) {
				t.Fatal("the READ does not reach the device")
			}
		}
		killed := time.Now()
		disk.End(syscall.SIGKILL)
		if errno, cookie := busy.ReadReply(); errno != nbdtest.ESHUTDOWN || cookie != 1 {
			t.Errorf("what was outstanding: reply %v to %d, want ESHUTDOWN", errno, cookie)
		}
		if d := time.Since(killed); d > time.Second {
			t.Errorf("it was answered after %v", d)
		}
		read.Cookie = 2
		idle.SendRequests(read)
		if errno, cookie := idle.ReadReply(); errno != nbdtest.ESHUTDOWN || cookie != 2 {
			t.Errorf("what was asked then: reply %v to %d, want ESHUTDOWN", errno, cookie)
		}
		busy.ExpectClosed()
		idle.ExpectClosed()
	}
	if status := host.End(syscall.SIGTERM); status != exitOK {
		t.Errorf("the host: status %d, %s", status, host.Stderr.String())
	}
}
