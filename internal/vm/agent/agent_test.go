package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"scstuser/internal/vm/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// host is the other end of an agent that serves this machine.
type host struct {
	t    *testing.T
	conn net.Conn
}

func startAgent(t *testing.T) *host {
	ours, theirs := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- serveOn(theirs, theirs) }()
	t.Cleanup(func() {
		ours.Close()
		if err := <-done; err != nil {
			t.Errorf("the agent: %v", err)
		}
	})
	if err := ours.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	h := &host{t, ours}
	if e := h.event(); e.Kind != wire.Hello || e.Text == "" {
		t.Fatalf("the greeting is %+v", e)
	}
	return h
}

func (h *host) send(r wire.Request) {
	h.t.Helper()
	if err := wire.Send(h.conn, r); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) event() (e wire.Event) {
	h.t.Helper()
	if err := wire.Receive(h.conn, &e); err != nil {
		h.t.Fatal(err)
	}
	return e
}

// until collects the output of the request id up to its last event.
func (h *host) until(id uint32) (stdout, stderr string, last wire.Event) {
	h.t.Helper()
	for {
		switch e := h.event(); {
		case e.ID != id:
			h.t.Fatalf("an event of another request: %+v", e)
		case e.Last():
			return stdout, stderr, e
		case e.Kind == wire.Stderr:
			stderr += string(e.Data)
		default:
			stdout += string(e.Data)
		}
	}
}

func TestRun(t *testing.T) {
	h := startAgent(t)
	for i, tc := range []struct {
		command        *wire.Command
		stdout, stderr string
		kind           wire.Kind
		status         int
	}{
		{&wire.Command{Args: []string{"true"}}, "", "", wire.Exit, 0},
		{&wire.Command{Args: []string{"sh", "-c", "echo a; echo b >&2; exit 7"}}, "a\n", "b\n", wire.Exit, 7},
		{&wire.Command{Args: []string{"sh", "-c", "kill -9 $$"}}, "", "", wire.Exit, 137},
		{&wire.Command{Args: []string{"cat"}, Stdin: []byte("in")}, "in", "", wire.Exit, 0},
		{&wire.Command{Args: []string{"sh", "-c", "pwd; echo $X"}, Dir: "/", Env: []string{"X=y"}}, "/\ny\n", "", wire.Exit, 0},
		{&wire.Command{Args: []string{"/does/not/exist"}}, "", "", wire.Failed, 0},
		{&wire.Command{}, "", "", wire.Failed, 0},
		{nil, "", "", wire.Failed, 0},
		// What a command leaves behind does not keep it from having ended.
		{&wire.Command{Args: []string{"sh", "-c", "sleep 3 & echo on"}}, "on\n", "", wire.Exit, 0},
	} {
		id := uint32(i + 1)
		h.send(wire.Request{ID: id, Op: wire.Run, Command: tc.command})
		stdout, stderr, last := h.until(id)
		if stdout != tc.stdout || stderr != tc.stderr || last.Kind != tc.kind || last.Status != tc.status {
			t.Errorf("%+v: %q, %q, %+v", tc.command, stdout, stderr, last)
		}
	}
}

func TestSignal(t *testing.T) {
	h := startAgent(t)
	h.send(wire.Request{ID: 1, Op: wire.Run, Command: &wire.Command{Args: []string{"sh", "-c", "sleep 100"}}})
	h.send(wire.Request{ID: 2, Op: wire.Signal, Target: 1, Signal: int(syscall.SIGTERM)})
	for range 2 {
		e := h.event()
		if e.ID == 1 && (e.Kind != wire.Exit || e.Status != 128+15) || e.ID == 2 && e.Kind != wire.Done {
			t.Errorf("%+v", e)
		}
	}
	h.send(wire.Request{ID: 3, Op: wire.Signal, Target: 1, Signal: int(syscall.SIGTERM)})
	if _, _, e := h.until(3); e.Kind != wire.Done {
		t.Errorf("a signal to what has ended: %+v", e)
	}
}

func TestFiles(t *testing.T) {
	h := startAgent(t)
	path := filepath.Join(t.TempDir(), "dir", "file")
	content := strings.Repeat("0123456789abcdef", wire.Chunk/16) + "the end"
	h.send(wire.Request{ID: 1, Op: wire.Write, Path: path, Mode: 0o640, Data: []byte(content[:wire.Chunk])})
	_, _, first := h.until(1)
	h.send(wire.Request{ID: 2, Op: wire.Write, Path: path, Offset: wire.Chunk, Data: []byte(content[wire.Chunk:])})
	_, _, second := h.until(2)
	if first.Kind != wire.Done || second.Kind != wire.Done {
		t.Errorf("%+v, %+v", first, second)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", st, err)
	}
	h.send(wire.Request{ID: 3, Op: wire.Read, Path: path})
	if got, _, last := h.until(3); got != content || last.Kind != wire.Done {
		t.Errorf("%d bytes, %+v, want %d", len(got), last, len(content))
	}
	for id, r := range map[uint32]wire.Request{
		4: {Op: wire.Read, Path: path + "x"},
		5: {Op: wire.Write, Path: path + "/x"},
		6: {Op: "what"},
	} {
		r.ID = id
		h.send(r)
		if _, _, last := h.until(id); last.Kind != wire.Failed || last.Text == "" {
			t.Errorf("%+v: %+v", r, last)
		}
	}
}

func TestFindPort(t *testing.T) {
	class := t.TempDir()
	if _, err := findPort(class); err == nil || !strings.Contains(err.Error(), "virtio_console") {
		t.Errorf("without ports: %v", err)
	}
	for dir, name := range map[string]string{"vport1p1": "other\n", "vport1p2": portName + "\n"} {
		if err := os.Mkdir(filepath.Join(class, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(class, dir, "name"), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := findPort(class); err != nil || got != "vport1p2" {
		t.Errorf("%q, %v", got, err)
	}
}
