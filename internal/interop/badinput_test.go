package interop

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"scstuser/internal/proc"
)

const (
	exitFailure = 1
	exitUsage   = 2

	// nobody is the user that has no rights of its own.
	nobody = 65534
)

// refusal is a command line that must be refused, in dir.
type refusal struct {
	name string
	// prepare returns the arguments. It may put files into dir, which has a
	// good image already, and may keep sockets open until the test ends.
	prepare func(t *testing.T, dir, image string) []string
	// status is the exit status.
	status int
	// says are parts of the one line on standard error.
	says []string
	// unprivileged runs the server without the rights of root, which no file
	// mode stops.
	unprivileged bool
}

var refusals = []refusal{
	{
		name: "no such file",
		prepare: func(_ *testing.T, dir, _ string) []string {
			return []string{"-f", filepath.Join(dir, "missing.img")}
		},
		status: exitFailure, says: []string{"missing.img", "no such file"},
	},
	{
		name:    "directory",
		prepare: func(_ *testing.T, dir, _ string) []string { return []string{"-f", dir} },
		status:  exitFailure, says: []string{"directory"},
	},
	{
		name: "no permission",
		prepare: func(t *testing.T, dir, _ string) []string {
			return []string{"-f", writeFile(t, filepath.Join(dir, "secret.img"), mib, 0)}
		},
		status: exitFailure, says: []string{"secret.img", "permission denied"}, unprivileged: true,
	},
	{
		name: "read-only file without --read_only",
		prepare: func(t *testing.T, dir, _ string) []string {
			return []string{"-f", writeFile(t, filepath.Join(dir, "ro.img"), mib, 0o444)}
		},
		status: exitFailure, says: []string{"ro.img", "--read_only"}, unprivileged: true,
	},
	{
		name: "empty file",
		prepare: func(t *testing.T, dir, _ string) []string {
			return []string{"-f", writeFile(t, filepath.Join(dir, "nothing.img"), 0, 0o644)}
		},
		status: exitFailure, says: []string{"nothing.img", "empty"},
	},
	{
		name: "file smaller than a block",
		prepare: func(t *testing.T, dir, _ string) []string {
			return []string{"-f", writeFile(t, filepath.Join(dir, "tiny.img"), 4095, 0o644), "--block=4096"}
		},
		status: exitFailure, says: []string{"tiny.img", "block"},
	},
	{
		name: "second file is missing",
		prepare: func(_ *testing.T, dir, image string) []string {
			return []string{"-f", image, "-f", filepath.Join(dir, "missing.img")}
		},
		status: exitFailure, says: []string{"missing.img"},
	},
	{
		name: "port in use",
		prepare: func(t *testing.T, _, image string) []string {
			return []string{"-f", image, "--listen", "tcp:" + busyPort(t)}
		},
		status: exitFailure, says: []string{"127.0.0.1:", "in use"},
	},
	{
		name: "second port in use",
		prepare: func(t *testing.T, dir, image string) []string {
			return []string{"-f", image, "--listen", "unix:" + filepath.Join(dir, "s"), "--listen", "tcp:" + busyPort(t)}
		},
		status: exitFailure, says: []string{"127.0.0.1:", "in use"},
	},
	{
		name: "socket in use",
		prepare: func(t *testing.T, dir, image string) []string {
			path := filepath.Join(dir, "live.sock")
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			return []string{"-f", image, "--listen", "unix:" + path}
		},
		status: exitFailure, says: []string{"live.sock", "in use"},
	},
	{
		name: "a file where the socket should be",
		prepare: func(t *testing.T, dir, image string) []string {
			return []string{"-f", image, "--listen", "unix:" + writeFile(t, filepath.Join(dir, "precious"), 10, 0o644)}
		},
		status: exitFailure, says: []string{"precious"},
	},
	{
		name: "no directory for the socket",
		prepare: func(_ *testing.T, dir, image string) []string {
			return []string{"-f", image, "--listen", "unix:" + filepath.Join(dir, "nowhere", "s")}
		},
		status: exitFailure, says: []string{"nowhere"},
	},
	{
		name: "duplicate export name",
		prepare: func(t *testing.T, dir, image string) []string {
			other := filepath.Join(dir, "other")
			if err := os.Mkdir(other, 0o755); err != nil {
				t.Fatal(err)
			}
			return []string{"-f", image, "-f", writeFile(t, filepath.Join(other, filepath.Base(image)), mib, 0o644)}
		},
		status: exitUsage, says: []string{"good.img", "NAME"},
	},
	{
		name:    "no file named",
		prepare: func(*testing.T, string, string) []string { return nil },
		status:  exitUsage, says: []string{"-f"},
	},
	{
		name: "unknown option",
		prepare: func(_ *testing.T, _, image string) []string {
			return []string{"-f", image, "--mem_resue=all"}
		},
		status: exitUsage, says: []string{"mem_resue"},
	},
	{
		name: "not an address",
		prepare: func(_ *testing.T, _, image string) []string {
			return []string{"-f", image, "--listen", "10809"}
		},
		status: exitUsage, says: []string{"--listen", "10809", "tcp:"},
	},
	{
		name: "buffers that nobody would free",
		prepare: func(_ *testing.T, _, image string) []string {
			return []string{"-f", image, "--mem_reuse=none", "--on_free=ignore"}
		},
		status: exitUsage, says: []string{"mem_reuse", "on_free", "call"},
	},
	badValue("mem_reuse", "sometimes", "all", "read", "write", "none"),
	badValue("on_free", "maybe", "ignore", "call"),
	badValue("parse", "guess", "std", "call", "excpt"),
	badValue("block", "1000", "power of two"),
	badValue("block", "256", "512"),
	badValue("threads", "0", "1"),
	badValue("inline", "perhaps", "true", "false"),
	badValue("log-level", "loud", "info", "debug"),
	badValue("log-format", "xml", "text", "json"),
}

// badValue is an option with a value that it does not have; the error has to
// say which it has.
func badValue(option, value string, allowed ...string) refusal {
	return refusal{
		name: option + "=" + value,
		prepare: func(_ *testing.T, _, image string) []string {
			return []string{"-f", image, "--" + option + "=" + value}
		},
		status: exitUsage, says: append([]string{option}, allowed...),
	}
}

// TestRefusals: what is wrong and what to do is said in one line, the exit
// status tells a failure from misuse, and nothing is created or changed.
func TestRefusals(t *testing.T) {
	fileioOnly(t)
	bin := program(t, false).(proc.FileioTgt).Bin
	for _, r := range refusals {
		t.Run(r.name, func(t *testing.T) {
			dir := shortDir(t)
			if err := os.Chmod(dir, 0o777); err != nil {
				t.Fatal(err)
			}
			image := writeFile(t, filepath.Join(dir, "good.img"), mib, 0o666)
			args := r.prepare(t, dir, image)
			before := listing(t, dir)

			status, stdout, stderr := runToEnd(t, dir, r.unprivileged, bin, args...)
			if status != r.status {
				t.Errorf("exit status %d, want %d", status, r.status)
			}
			if stdout != "" {
				t.Errorf("standard output has %q, want nothing", stdout)
			}
			line, isLine := strings.CutSuffix(stderr, "\n")
			if !isLine || line == "" || strings.Contains(line, "\n") {
				t.Errorf("standard error has %q, want one line", stderr)
			}
			for _, part := range r.says {
				if !strings.Contains(line, part) {
					t.Errorf("the message %q does not mention %q", line, part)
				}
			}
			if after := listing(t, dir); after != before {
				t.Errorf("the directory has changed\nfrom:\n%s\nto:\n%s", before, after)
			}
		})
	}
}

// TestTailIsNamedAndNotExported: a file that ends within a block is served up
// to its last whole block, and the operator is told.
func TestTailIsNamedAndNotExported(t *testing.T) {
	fileioOnly(t)
	image := randomImage(t, mib+777)
	before := content(t, image)
	s := serve(t, proc.Config{Files: []string{image}, Block: 4096})
	if got := size(t, s.URI("")); got != "1048576" {
		t.Errorf("size %s, want 1048576", got)
	}
	if out := s.Output(); !strings.Contains(out, "777") {
		t.Errorf("the tail of 777 bytes is not mentioned in:\n%s", out)
	}
	qemuIO(t, s, "write -z 0 1M")
	stop(t, s)
	after := content(t, image)
	if len(after) != len(before) || string(after[mib:]) != string(before[mib:]) {
		t.Error("the tail has changed")
	}
}

// TestReadOnlyFileIsServedWithTheOption is the other half of a refusal above.
func TestReadOnlyFileIsServedWithTheOption(t *testing.T) {
	image := randomImage(t, mib)
	if err := os.Chmod(image, 0o444); err != nil {
		t.Fatal(err)
	}
	s := serve(t, proc.Config{Files: []string{image}, ReadOnly: true})
	if e := nbdinfoOne(t, s.URI("")); !e.ReadOnly {
		t.Errorf("got %+v, want read-only", e)
	}
}

// writeFile makes a file of size bytes, whatever the umask.
func writeFile(t *testing.T, path string, size int, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, randomBytes(3, size), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// busyPort returns an address that is listened on until the test ends.
func busyPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// listing describes everything in a directory, but not when a directory last
// changed: a socket may come and go.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %v %d", path, info.Mode(), info.Size())
		if !d.IsDir() {
			fmt.Fprintf(&b, " %v", info.ModTime())
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// runToEnd runs the server, which must end by itself. Its default address is
// not used: if it serves by mistake, it does so in dir.
func runToEnd(t *testing.T, dir string, unprivileged bool, bin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	if !strings.Contains(strings.Join(args, " "), "--listen") {
		args = append([]string{"--listen", "unix:" + filepath.Join(dir, "default.sock")}, args...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := tool(t, ctx, bin, args...)
	if unprivileged && os.Getuid() == 0 {
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		t.Fatalf("%q is served, or hangs:\n%s%s", args, out.String(), errs.String())
	case err != nil && !errors.As(err, &exit):
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}
