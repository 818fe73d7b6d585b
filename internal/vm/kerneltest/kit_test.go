package kerneltest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"scstuser/internal/proc"
	"scstuser/internal/vm"
)

// stopTimeout is how long a server on this host may take to drain.
const stopTimeout = 30 * time.Second

// guest is the machine of the tests.
type guest struct {
	*vm.Machine
}

// device is a block device in the guest, and what is known about it.
type device struct {
	path  string
	size  int64
	block int
	// slow: requests to it take long, so there are fewer of them.
	slow bool
	// allocated returns how many bytes the image behind it takes; nil if it
	// can't be trimmed.
	allocated func(t *testing.T) int64
}

// sh runs a script in the guest.
func (g *guest) sh(t *testing.T, format string, args ...any) string {
	t.Helper()
	return g.Shell(t, fmt.Sprintf(format, args...))
}

// number runs a script that prints a number.
func (g *guest) number(t *testing.T, format string, args ...any) int64 {
	t.Helper()
	out := g.sh(t, format, args...)
	n, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64)
	if err != nil {
		t.Fatalf("no number: %q", out)
	}
	return n
}

// image makes a sparse image on this host.
func image(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return path
}

// allocatedBytes is what an image of this host takes on its disk.
func allocatedBytes(t *testing.T, path string) int64 {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

// start starts the server on this host; the test decides how it ends.
func start(t *testing.T, c proc.Config) *proc.Server {
	t.Helper()
	bin, err := builder.Binary(context.Background(), false)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Listen) == 0 {
		c.Listen = []proc.Endpoint{proc.TCP("127.0.0.1:0")}
	}
	s, err := proc.Start(context.Background(), proc.FileioTgt{Bin: bin}, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("the server printed:\n%s", s.Output())
		}
	})
	return s
}

// serve starts the server on this host, which has to stop in order at the end.
func serve(t *testing.T, c proc.Config) *proc.Server {
	t.Helper()
	s := start(t, c)
	t.Cleanup(func() {
		if err := s.Stop(stopTimeout); err != nil {
			t.Error(err)
		}
	})
	return s
}

// uri is where the guest finds an export of a server on this host.
func uri(t *testing.T, s *proc.Server, file string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(s.Endpoint(0).Addr)
	if err != nil {
		t.Fatal(err)
	}
	return "nbd://" + net.JoinHostPort(vm.HostAddress, port) + "/" + filepath.Base(file)
}

// attach attaches /dev/nbd0 in the guest with a program that does not stay, and
// detaches it at the end of the test.
func (g *guest) attach(t *testing.T, uri, options string) {
	t.Helper()
	g.sh(t, "fileio_tgt attach %s '%s' /dev/nbd0", options, uri)
	t.Cleanup(func() { g.detach(t) })
}

// detach detaches /dev/nbd0, if it is attached.
func (g *guest) detach(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := g.Run(ctx, vm.Command{Args: []string{"sh", "-c",
		"umount /mnt 2>/dev/null; test ! -e /sys/block/nbd0/pid || fileio_tgt detach /dev/nbd0"}})
	if err != nil {
		t.Error(err)
	}
}
