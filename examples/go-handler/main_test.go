package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"scstuser/handlers"
	"scstuser/handlers/backingtest"
	"scstuser/internal/nodehost"
	"scstuser/nbd/nbdtest"
)

func TestMain(m *testing.M) {
	nodehost.Main()
	goleak.VerifyTestMain(m)
}

// start runs the program until the test ends, and returns what it printed.
func start(t *testing.T, args ...string) (printed string) {
	t.Helper()
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, args, w)
		w.Close()
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the program ended with %v", err)
		}
	})
	line := make([]byte, 1000)
	n, err := r.Read(line)
	if err != nil {
		t.Fatalf("the program printed nothing: %v", err)
	}
	return string(line[:n])
}

// use writes, reads, trims and flushes as a client.
func use(t *testing.T, c *nbdtest.Conn, size uint64) {
	t.Helper()
	c.Hello()
	if e := c.Go("ram"); e.Size != size {
		t.Errorf("the export has %d bytes, want %d", e.Size, size)
	}
	data := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	if errno := c.Write(4096, data, 0); errno != 0 {
		t.Fatalf("write: %v", errno)
	}
	if errno := c.Trim(8192, 4096, 0); errno != 0 {
		t.Fatalf("trim: %v", errno)
	}
	clear(data[4096:8192])
	if errno := c.Flush(0); errno != 0 {
		t.Fatalf("flush: %v", errno)
	}
	got, errno := c.Read(4096, uint32(len(data)), 0)
	if errno != 0 || !bytes.Equal(got, data) {
		t.Errorf("read: %v, or other bytes", errno)
	}
	if _, errno := c.Read(size, 512, 0); errno == 0 {
		t.Error("there are bytes behind the end")
	}
	c.Disc(0)
}

func TestUnixSocket(t *testing.T) {
	for name, counter := range map[string]string{"disk": "-counter=false", "counter": "-counter"} {
		t.Run(name, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "ram.sock")
			printed := start(t, "-listen", "unix:"+socket, "-size", "1048576", counter)
			if !strings.Contains(printed, "1048576 bytes") || !strings.Contains(printed, socket) {
				t.Errorf("it says %q", printed)
			}
			use(t, nbdtest.Dial(t, "unix", socket), 1<<20)
		})
	}
}

func TestTCP(t *testing.T) {
	printed := start(t, "-listen", "tcp:127.0.0.1:0")
	_, uri, ok := strings.Cut(printed, "nbdinfo '")
	uri, _, ok2 := strings.Cut(uri, "'")
	if !ok || !ok2 {
		t.Fatalf("it says %q", printed)
	}
	address, _, _ := strings.Cut(strings.TrimPrefix(uri, "nbd://"), "/")
	use(t, nbdtest.Dial(t, "tcp", address), 64<<20)

	// The line that is printed is one to be copied.
	if _, err := exec.LookPath("nbdinfo"); err != nil {
		t.Skip("nbdinfo is not installed (package libnbd-bin)")
	}
	size, err := exec.Command("nbdinfo", "--size", uri).CombinedOutput()
	if err != nil || strings.TrimSpace(string(size)) != "67108864" {
		t.Errorf("nbdinfo --size %s: %s, %v", uri, size, err)
	}
}

// What is wrong is said in one line, and nothing is left behind.
func TestErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tc := range []struct {
		name, want string
		args       []string
	}{
		{"an address", "port is missing", []string{"-listen", "tcp:localhost"}},
		{"a size", "make it larger", []string{"-size", "100"}},
		{"a port in use", "is in use", []string{"-listen", "tcp:" + taken.Addr().String()}},
		{"an argument", "-sizes", []string{"-sizes", "1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			silence(t)
			err := run(t.Context(), tc.args, io.Discard)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want ...%s...", err, tc.want)
			}
		})
	}
	t.Run("-help", func(t *testing.T) {
		silence(t)
		if err := run(t.Context(), []string{"-help"}, io.Discard); !errors.Is(err, flag.ErrHelp) {
			t.Errorf("got %v", err)
		}
	})
}

// silence keeps package flag from printing its usage into the test's output.
func silence(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = null
	t.Cleanup(func() {
		os.Stderr = stderr
		null.Close()
	})
}

// The medium keeps what every Backing must keep.
func TestRAM(t *testing.T) {
	backingtest.Run(t, func(_ *testing.T, size int64) handlers.Backing { return newRAM(size) }, backingtest.Opts{NoAllocs: true})
}

// patience is how long a test waits for what must come.
const patience = 20 * time.Second
