package status

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"scstuser/ucmd"
)

// quiet is a log that nobody reads.
func quiet() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return logrus.NewEntry(l)
}

// serve answers for src on a control socket, and returns its path.
func serve(t *testing.T, src Source) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ctl.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	s := Serve(l, ControlHandler(src), quiet())
	t.Cleanup(func() { s.Close(context.Background()) })
	return path
}

func client(t *testing.T, path string) *Client {
	c := NewClient(path)
	t.Cleanup(c.Close)
	return c
}

func TestStatusOverTheSocket(t *testing.T) {
	r := newRig(t, "disk.img")
	r.script()
	c := client(t, serve(t, r))
	for _, commands := range []bool{false, true} {
		s, err := c.Status(t.Context(), commands)
		if err != nil {
			t.Fatal(err)
		}
		d := &s.Devices[0]
		if d.Name != "disk.img" || d.Counters.BytesWritten != 3*4096 || d.Lifecycle.AllocAvoided != 3 {
			t.Errorf("got %+v", d)
		}
		if got := len(d.Commands); got != map[bool]int{false: 0, true: 1}[commands] {
			t.Errorf("commands=%v: %d ucmds", commands, got)
		}
	}
}

// The commands listing is text in the module's format unless JSON is asked for,
// and a name with odd characters finds its device.
func TestCommandsOverTheSocket(t *testing.T) {
	const name = "a disk?x=1%2f#ü"
	r := newRig(t, name)
	r.hold = true
	r.do(scsiRead)
	path := serve(t, r)
	c := client(t, path)
	text, err := c.Commands(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	if err := r.dev.WriteCommands(&want); err != nil {
		t.Fatal(err)
	}
	if text != want.String() || !strings.Contains(text, "(state 3, ref 1), sent_to_user 1") {
		t.Errorf("got %q, want %q", text, want.String())
	}

	base := "http://localhost/devices/a%20disk%3Fx=1%252f%23%C3%BC/commands"
	for _, ask := range []struct{ query, accept string }{{"?format=json", ""}, {"", "application/json"}, {"", "text/html, application/json;q=0.9"}} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+ask.query, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", ask.accept)
		resp, err := c.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var l []ucmd.Command
		err = json.NewDecoder(resp.Body).Decode(&l)
		resp.Body.Close()
		if err != nil || len(l) != 1 || l[0].State != ucmd.StateExecing || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%v: %v, %v", ask, l, err)
		}
	}
}

func TestWrongRequests(t *testing.T) {
	r := newRig(t, "disk.img")
	c := client(t, serve(t, r))
	for path, want := range map[string]string{
		"/":                                    "404",
		"/devices/nobody/commands":             "404 Not Found: there is no such device",
		"/devices/disk.img/commands?format=no": "400 Bad Request: format must be text or json",
		"/debug/pprof/":                        "404",
	} {
		if _, err := c.Get(t.Context(), path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	resp, err := c.http.Post("http://localhost/status", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %s", resp.Status)
	}
	req, _ := http.NewRequest(http.MethodGet, "http://localhost/status", nil)
	req.Header.Set("X-Long", strings.Repeat("x", 64<<10))
	if resp, err := c.http.Do(req); err == nil {
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("a long header: %s", resp.Status)
		}
	}
}

// A status request does not wait for commands, nor for a suspended device.
func TestStatusWhileTheDeviceIsSuspended(t *testing.T) {
	r := newRig(t, "disk.img")
	r.hold = true
	r.do(scsiRead) // would hold up a suspension for ever
	suspended := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(suspended)
		if resume, err := r.dev.Target().Suspend(ctx); err == nil {
			resume()
		}
	}()
	c := client(t, serve(t, r))
	s, err := c.Status(t.Context(), true)
	if err != nil || s.Devices[0].InFlight != 1 {
		t.Errorf("got %+v, %v", s, err)
	}
	cancel()
	<-suspended
}

// Clients that connect and say nothing are limited, and do not keep Close from
// returning.
func TestSilentClients(t *testing.T) {
	r := newRig(t, "disk.img")
	path := filepath.Join(t.TempDir(), "ctl.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	s := Serve(l, ControlHandler(r), quiet())
	var conns []net.Conn
	for range maxClients + 2 {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := client(t, path).Status(ctx, false); err == nil {
		t.Error("one client more than the limit was served")
	}
	for _, c := range conns[:4] {
		c.Close()
	}
	if _, err := client(t, path).Status(t.Context(), false); err != nil {
		t.Errorf("when others have left: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	s.Close(ctx)
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// What the client says when there is nobody to ask.
func TestClientErrors(t *testing.T) {
	dir := t.TempDir()
	dead := filepath.Join(dir, "dead.sock")
	leaveSocket(t, dead)
	for path, want := range map[string]string{
		filepath.Join(dir, "no.sock"): "there is no control socket",
		dead:                          "nobody answers on the control socket",
	} {
		if _, err := client(t, path).Status(t.Context(), false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}

	l, err := Listen(filepath.Join(dir, "other.sock"))
	if err != nil {
		t.Fatal(err)
	}
	answer := `{"format":99}`
	s := Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) }), quiet())
	defer s.Close(context.Background())
	c := client(t, filepath.Join(dir, "other.sock"))
	for text, want := range map[string]string{`{"format":99}`: "format 99", "hello": "is no status"} {
		answer = text
		if _, err := c.Status(t.Context(), false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
