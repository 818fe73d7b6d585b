package main

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"-h"}, {"-h", "some", "pair"}, {"-rh", "-f", "img"}} {
		got := runWith(args...)
		if got.status != exitOK || got.stderr != "" || got.cfg != nil {
			t.Fatalf("%q: status %d, stderr %q", args, got.status, got.stderr)
		}
		golden(t, "testdata/help.golden", got.stdout)
	}
}

func TestHelpFitsATerminal(t *testing.T) {
	for line := range strings.Lines(helpText()) {
		if len(strings.TrimRight(line, "\n")) > helpWidth {
			t.Errorf("longer than %d columns: %s", helpWidth, line)
		}
	}
}

func TestVersion(t *testing.T) {
	for _, flag := range []string{"--version", "-v"} {
		got := runWith(flag)
		if got.status != exitOK || got.stderr != "" || got.cfg != nil {
			t.Fatalf("status %d, stderr %q", got.status, got.stderr)
		}
		if !strings.HasPrefix(got.stdout, "fileio_tgt ") || !strings.HasSuffix(got.stdout, ", SCST interface 3.11\n") {
			t.Errorf("got %q", got.stdout)
		}
	}
}

func TestVersionOf(t *testing.T) {
	setting := func(key, value string) debug.BuildSetting { return debug.BuildSetting{Key: key, Value: value} }
	tests := []struct {
		name string
		info debug.BuildInfo
		want string
	}{
		{"go build without version control", debug.BuildInfo{GoVersion: "go1.26.0"}, "(devel) (go1.26.0)"},
		{"go install", debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Version: "v1.2.3"}}, "v1.2.3 (go1.26.0)"},
		{"a clean checkout", debug.BuildInfo{GoVersion: "go1.26.0", Settings: []debug.BuildSetting{
			setting("vcs.revision", "0123456789abcdef0123456789abcdef01234567"), setting("vcs.modified", "false"),
		}}, "(devel) (0123456789ab, go1.26.0)"},
		{"a changed checkout", debug.BuildInfo{GoVersion: "go1.26.0", Settings: []debug.BuildSetting{
			setting("vcs.revision", "0123"), setting("vcs.modified", "true"),
		}}, "(devel) (0123 with changes, go1.26.0)"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := versionOf(&test.info); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
