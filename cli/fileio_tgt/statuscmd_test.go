package main

import (
	"path/filepath"
	"strings"
	"testing"

	"scstuser/internal/status"
)

func TestStatusCommandLine(t *testing.T) {
	tests := []struct {
		args string // split at spaces
		want string // of stderr; "" is the help on stdout
	}{
		{"status --help", ""},
		{"status -h", ""},
		{"status --help 123", ""},
		{"status nobody", "status nobody: must be a process ID, or a path with a slash (./nobody)"},
		{"status -- -3", "options before it"},
		{"status 0", "must be a process ID"},
		{"status 123 --json", `"--json" comes after "123": put options before it`},
		{"status 1 2", "takes one PID or SOCKET (to export a file under the name status: fileio_tgt -- status FILE)"},
		{"status --nonsense", "fileio_tgt status --help lists the options"},
		{"status --watch 0 1", "--watch 0: must be a time from 1s to 24h"},
		{"status --watch x 1", "--watch x: must be a time"},
	}
	for _, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			got := runWith(strings.Fields(test.args)...)
			if got.cfg != nil {
				t.Fatal("it began to serve")
			}
			if test.want == "" {
				if got.status != exitOK || got.stdout != statusHelp || got.stderr != "" {
					t.Errorf("got %+v", got)
				}
				return
			}
			if got.status != exitUsage || !strings.Contains(got.stderr, test.want) || strings.Count(got.stderr, "\n") != 1 {
				t.Errorf("status %d, stderr %q; want %d, %q", got.status, got.stderr, exitUsage, test.want)
			}
		})
	}
}

// The word is the subcommand only where it is the first.
func TestStatusCanBeAnExport(t *testing.T) {
	for _, args := range []string{"-- status img", "--threads 7 status img", "-e7 status img"} {
		got := runWith(strings.Fields(args)...)
		if got.status != exitOK || got.cfg == nil || got.cfg.Exports[0] != (exportConfig{"status", "img"}) {
			t.Errorf("%s: %+v", args, got)
		}
	}
}

func TestStatusHelpFitsATerminal(t *testing.T) {
	for line := range strings.Lines(statusHelp) {
		if len(strings.TrimRight(line, "\n")) > helpWidth {
			t.Errorf("longer than %d columns: %s", helpWidth, line)
		}
	}
}

// Without an argument the one that runs is asked; none and several are errors
// that say what to do.
func TestStatusFindsTheOnlyOne(t *testing.T) {
	dir := status.Dir(filepath.Join(t.TempDir(), "d"))
	if _, err := onlyOne(dir); err == nil || !strings.Contains(err.Error(), "name a socket") {
		t.Errorf("none: %v", err)
	}
	if err := dir.Make(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{20, 3} {
		l, err := status.Listen(dir.Path(pid))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if pid == 20 {
			if path, err := onlyOne(dir); err != nil || path != dir.Path(20) {
				t.Errorf("one: %s, %v", path, err)
			}
		}
	}
	if _, err := onlyOne(dir); err == nil || err.Error() != "2 run: 3, 20; choose one: fileio_tgt status 3" {
		t.Errorf("two: %v", err)
	}
}

func TestStatusOfNobody(t *testing.T) {
	got := runWith("status", filepath.Join(t.TempDir(), "no.sock"))
	if got.status != exitFailure || !strings.Contains(got.stderr, "there is no control socket") {
		t.Errorf("got %+v", got)
	}
}

func TestMetricsAddress(t *testing.T) {
	for _, bad := range []string{"9810", "host", "127.0.0.1:99999", "unix:/x"} {
		got := runWith("--metrics", bad, "-f", "img")
		if got.status != exitUsage || !strings.Contains(got.stderr, "must be HOST:PORT, such as 127.0.0.1:9810") {
			t.Errorf("%s: %+v", bad, got)
		}
	}
	if got := runWith("--metrics", "127.0.0.1:9810", "--control", "none", "-f", "img"); got.cfg == nil ||
		got.cfg.Metrics != "127.0.0.1:9810" || got.cfg.Control != controlNone {
		t.Errorf("got %+v", got)
	}
}
