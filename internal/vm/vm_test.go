package vm

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMachine(t *testing.T) {
	disk := t.TempDir() + "/disk"
	must(t, truncate(disk, 64<<20))
	m := Boot(t, Config{Disks: []Disk{{File: disk}}, Forward: []int{1234}, Tools: []string{"mkfs.ext4"}, Modules: []string{"ext4"}})
	if out := m.Shell(t, "echo hello; blockdev --getsize64 /dev/vda"); out != "hello\n67108864\n" {
		t.Errorf("%q", out)
	}
	_, err := m.Run(t.Context(), Command{Args: []string{"sh", "-c", "echo out; echo err >&2; exit 3"}})
	var status *StatusError
	if !errors.As(err, &status) || status.Status != 3 || status.Stdout != "out\n" || status.Stderr != "err\n" {
		t.Errorf("%v", err)
	}
	data := []byte(strings.Repeat("0123456789abcdef", 60000))
	must(t, m.WriteFile(t.Context(), "/tmp/d/file", data, 0o600))
	got, err := m.ReadFile(t.Context(), "/tmp/d/file")
	must(t, err)
	if string(got) != string(data) {
		t.Errorf("%d bytes came back of %d", len(got), len(data))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := m.Run(ctx, Command{Args: []string{"sh", "-c", "echo before; sleep 100"}}); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "before") {
		t.Errorf("%v", err)
	}
	p, err := m.Start(Command{Args: []string{"sleep", "100"}})
	must(t, err)
	must(t, p.Signal(t.Context(), syscall.SIGTERM))
	if r, err := p.Wait(t.Context()); r.Status != 128+15 {
		t.Errorf("%+v, %v", r, err)
	}
	m.Shell(t, "mkfs.ext4 -q /dev/vda; mount -t ext4 /dev/vda /mnt; echo x >/mnt/x; umount /mnt")
	t.Log(m.Addr(1234))
	m.Kill()
	if _, err := m.Run(t.Context(), Command{Args: []string{"true"}}); !errors.Is(err, ErrGone) {
		t.Errorf("after the power cut: %v", err)
	}
}
