package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scstuser/ioctl/abi"
	"scstuser/nbd"
)

func TestHostHelp(t *testing.T) {
	got := runWith("host", "--help")
	if got.status != exitOK || got.stderr != "" || got.cfg != nil {
		t.Fatalf("status %d, stderr %q", got.status, got.stderr)
	}
	golden(t, "testdata/hosthelp.golden", got.stdout)
	for line := range strings.Lines(got.stdout) {
		if len(strings.TrimRight(line, "\n")) > helpWidth {
			t.Errorf("longer than %d columns: %s", helpWidth, line)
		}
	}
}

func TestHostConfig(t *testing.T) {
	got := runWith("host", "--mount", "/m", "--mode=0660", "--user-versions", "3.11.", "--user_versions", "3.12.",
		"--listen", "unix:/s", "--owner", "0:0", "--max_devices", "3", "--record", "f.gz", "--link", "/l", "--log-level", "warn")
	if got.status != exitOK {
		t.Fatal(got.stderr)
	}
	h := got.cfg.Host
	if h.Mount != "/m" || h.Mode != 0o660 || len(h.Versions) != 2 || !h.Owner.given || h.Owner.uid != 0 || h.MaxDevices != 3 ||
		h.Record != "f.gz" || h.Link != "/l" || len(got.cfg.Listen) != 1 {
		t.Errorf("%+v", got.cfg)
	}
	if v := h.versions(); len(v.Exact) != 0 || len(v.Releases) != 2 {
		t.Errorf("versions: %+v", v)
	}
	if got = runWith("host", "--mount", "/m"); got.cfg == nil || got.cfg.Host.Mode != 0o600 {
		t.Errorf("defaults: %+v", got)
	}
	if got = runWith("host", "--mount", "/m", "--user_versions", abi.Version); len(got.cfg.Host.versions().Exact) != 1 {
		t.Errorf("exact version: %+v", got.cfg.Host)
	}
}

func TestHostUsage(t *testing.T) {
	for _, x := range []struct {
		args []string
		want string
	}{
		{[]string{"host"}, "host needs --mount DIR"},
		{[]string{"host", "--mount"}, "--mount needs an argument"},
		{[]string{"host", "--mount", "/m", "img"}, "host takes options only"},
		{[]string{"host", "--mount", "/m", "--mode", "9"}, "must be permissions in octal"},
		{[]string{"host", "--mount", "/m", "--mode", "0044"}, "must be permissions in octal"},
		{[]string{"host", "--mount", "/m", "--owner", "no-such-user"}, "there is no user"},
		{[]string{"host", "--mount", "/m", "--link", "/m/x"}, "inside of the mount"},
		{[]string{"host", "--mount", "/m", "--block", "512"}, "unknown option --block"},
		{[]string{"host", "--mount", "/m", "--listen", "nonsense"}, "--listen"},
		{[]string{"host", "--mount", "/m", "--user_versions", abi.Version, "--user_versions", "3."}, "not both"},
		{[]string{"--read_only", "host", "--mount", "/m"}, "stands in front of host"},
	} {
		got := runWith(x.args...)
		if got.status != exitUsage || !strings.Contains(got.stderr, x.want) || got.cfg != nil {
			t.Errorf("%q: status %d, %q, want %q", x.args, got.status, got.stderr, x.want)
		}
	}
}

// A link is made and removed; what is not ours is left alone.
func TestNodeLink(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "link")
	var l nodeLink
	if err := l.make(path, "/node"); err != nil {
		t.Fatal(err)
	}
	again := nodeLink{}
	if err := again.make(path, "/node"); err != nil { // a crashed process's
		t.Error(err)
	}
	other := nodeLink{}
	if err := other.make(path, "/other"); err == nil {
		t.Error("replaced a link to another node")
	}
	if err := other.remove(); err != nil {
		t.Error(err)
	}
	if err := l.remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Error("the link is left")
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.make(path, "/node"); err == nil {
		t.Error("replaced a file")
	}
}

// The whole of it: a program in C registers a device, which is exported, and
// goes when the program is killed.
func TestHostServesAProgram(t *testing.T) {
	if _, err := os.Stat("/dev/fuse"); err != nil || os.Geteuid() != 0 {
		t.Skip("NOT TESTED: needs /dev/fuse and root")
	}
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("NOT TESTED: no C compiler (cc) here")
	}
	dir := t.TempDir()
	prog := filepath.Join(dir, "rules")
	if out, err := exec.Command(cc, "-I../../ioctl/abi", "-o", prog, "../../ioctl/fusenode/testdata/rules.c", "-lpthread").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cfg := defaultConfig()
	cfg.Host.Mount, cfg.Host.Link, cfg.Host.Record = filepath.Join(dir, "m"), filepath.Join(dir, "scst_user"), filepath.Join(dir, "t.jsonl")
	cfg.Listen = []string{"unix:" + filepath.Join(dir, "s")}
	if err := os.Mkdir(cfg.Host.Mount, 0o700); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	sink, err := openLog(cfg, &log)
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan served, 1)
	over := make(chan error, 1)
	go func() {
		over <- serveWhat(context.Background(), cfg, sink.Logger, func(s served) { ready <- s })
	}()
	var s served
	select {
	case s = <-ready:
	case err := <-over:
		t.Fatal(err)
	}
	cfg.JSON = true
	var banner struct{ Node, Link string }
	text, err := hostBanner(cfg, s)
	if err == nil {
		err = json.Unmarshal([]byte(text), &banner)
	}
	if err != nil || banner.Node != filepath.Join(cfg.Host.Mount, "scst_user") || banner.Link != cfg.Host.Link {
		t.Errorf("banner %q: %v", text, err)
	}
	handler := exec.Command(prog, cfg.Host.Mount, "-handler", "disk1")
	if err := handler.Start(); err != nil {
		t.Fatal(err)
	}
	p := s.Control.(*hostProgram)
	exports := func(n int) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); exportCount(p.server) != n; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d exports, want %d; the log:\n%s", exportCount(p.server), n, log.String())
			}
		}
	}
	exports(1)
	s.Control.Resize()
	_ = handler.Process.Kill()
	_ = handler.Wait()
	exports(0)
	if err := s.Control.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-over; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(cfg.Host.Link); !os.IsNotExist(err) {
		t.Error("the link is left")
	}
	recorded := readFile(t, cfg.Host.Record)
	for _, want := range []string{`"REGISTER_DEVICE"`, `"ATTACH_SESS"`, `"license_str":"GPL"`, `"release"`} {
		if !strings.Contains(recorded, want) {
			t.Errorf("the recording has no %s", want)
		}
	}
}

// exportCount is how many exports clients can choose from.
func exportCount(s *nbd.Server) int { return len(s.Exports()) }
