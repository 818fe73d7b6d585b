package interop

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"scstuser/internal/proc"
)

// traced starts the server under strace, which writes the system calls that
// have to do with durability to the file that is returned. tamper are further
// options of strace.
func traced(t *testing.T, tamper []string, serverArgs ...string) (s *proc.Server, log string) {
	t.Helper()
	return tracedImage(t, randomImage(t, mib), tamper, serverArgs...)
}

// tracedImage is traced for an image that there is.
func tracedImage(t *testing.T, image string, tamper []string, serverArgs ...string) (s *proc.Server, log string) {
	t.Helper()
	fileioOnly(t)
	needTool(t, "strace")
	if _, stderr, err := try(t, "strace", "-o", os.DevNull, "true"); err != nil {
		t.Skipf("strace may not trace here: %v\n%s", err, stderr)
	}
	log = filepath.Join(t.TempDir(), "strace")
	// -D makes the tracer a process of its own, so that the server stays the
	// child that gets our signals.
	wrap := append([]string{"strace", "-D", "-f", "-qq", "-o", log,
		"-e", "trace=openat,open,fsync,fdatasync,pwrite64,pwritev,pwritev2"}, tamper...)
	return start(t, program(t, false), proc.Config{
		Files: []string{image},
		Args:  serverArgs,
		Wrap:  wrap,
	}), log
}

// syncing matches a system call that makes earlier or its own writes durable.
var syncing = regexp.MustCompile(`(?m)(fsync|fdatasync)\(.*= 0$|fdatasync resumed.*= 0$|fsync resumed.*= 0$|pwritev2\(.*RWF_D?SYNC`)

// syncOpened matches the opening of the image in a mode in which each write is
// durable by itself.
var syncOpened = regexp.MustCompile(`random\.img".*O_D?SYNC`)

// syncs counts the system calls in a trace that make something durable.
func syncs(trace string) int { return len(syncing.FindAllString(trace, -1)) }

// TestFlushAndFUAReachTheDisk: when a FLUSH or a FUA write is answered, the
// system call that makes it durable has returned (nbd.md row 12, I6).
func TestFlushAndFUAReachTheDisk(t *testing.T) {
	block := make([]byte, 4*kib)
	tests := []struct {
		name string
		args []string
		do   func(t *testing.T, c rawClient) uint32
		want bool
	}{
		{"flush after a write", nil, func(t *testing.T, c rawClient) uint32 {
			return c.do(t, cmdWrite, 0, 0, block) | c.do(t, cmdFlush, 0, 0, nil)
		}, true},
		{"FUA write", nil, func(t *testing.T, c rawClient) uint32 {
			return c.do(t, cmdWrite, flagFUA, 4*kib, block)
		}, true},
		{"plain write", nil, func(t *testing.T, c rawClient) uint32 {
			return c.do(t, cmdWrite, 0, 8*kib, block)
		}, false},
		{"plain write with --write_through", []string{"--write_through"}, func(t *testing.T, c rawClient) uint32 {
			return c.do(t, cmdWrite, 0, 8*kib, block)
		}, true},
		{"flush with --direct", []string{"--direct"}, func(t *testing.T, c rawClient) uint32 {
			return c.do(t, cmdWrite, 0, 8*kib, block) | c.do(t, cmdFlush, 0, 0, nil)
		}, true},
		{"flush without inline execution", []string{"--inline=false"}, func(t *testing.T, c rawClient) uint32 {
			return c.do(t, cmdWrite, 0, 8*kib, block) | c.do(t, cmdFlush, 0, 0, nil)
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, log := traced(t, nil, tt.args...)
			t.Cleanup(func() { stop(t, s) })
			c := dialRaw(t, s)
			before := syncs(string(content(t, log)))
			if errno := tt.do(t, c); errno != 0 {
				t.Fatalf("error %d", errno)
			}
			// strace writes a line when its call returns, which is before
			// the server can go on and answer.
			trace := string(content(t, log))
			durable := syncs(trace) > before || syncOpened.MatchString(trace)
			if durable != tt.want {
				t.Errorf("durable: %v, want %v; system calls:\n%s", durable, tt.want, trace)
			}
		})
	}
}

// TestFailedSyncIsReported: the kernel says only once that data was lost, so
// whoever waits for durability has to hear it: the client that asks for it, and
// the operator when the server ends.
func TestFailedSyncIsReported(t *testing.T) {
	block := make([]byte, 4*kib)
	fail := []string{"-e", "inject=fsync,fdatasync:error=EIO"}
	t.Run("flush", func(t *testing.T) {
		s, _ := traced(t, fail)
		c := dialRaw(t, s)
		if errno := c.do(t, cmdWrite, 0, 0, block); errno != 0 {
			t.Fatalf("write: error %d", errno)
		}
		if errno := c.do(t, cmdFlush, 0, 0, nil); errno != nbdEIO {
			t.Errorf("flush: error %d, want %d", errno, nbdEIO)
		}
	})
	t.Run("FUA write", func(t *testing.T) {
		s, log := traced(t, fail)
		c := dialRaw(t, s)
		errno := c.do(t, cmdWrite, flagFUA, 0, block)
		// A write with RWF_DSYNC is durable without the calls that fail here.
		if errno != nbdEIO && !strings.Contains(string(content(t, log)), "RWF_DSYNC") {
			t.Errorf("error %d, want %d", errno, nbdEIO)
		}
	})
	t.Run("end of the server", func(t *testing.T) {
		s, _ := traced(t, fail)
		c := dialRaw(t, s)
		if errno := c.do(t, cmdWrite, 0, 0, block); errno != 0 {
			t.Fatalf("write: error %d", errno)
		}
		c.Close()
		err := s.Stop(stopTimeout)
		if s.ExitCode() != exitFailure || !strings.Contains(err.Error(), "random.img") {
			t.Errorf("the server ended with %v, want status %d and the name of the file", err, exitFailure)
		}
	})
}
