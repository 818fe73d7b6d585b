package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"scstuser/internal/proc"
	"scstuser/internal/status"
)

// serveWithControl starts a fileio_tgt with a control socket of the test's own.
func serveWithControl(t *testing.T, image string, args ...string) (s *proc.Server, socket string) {
	t.Helper()
	fileioOnly(t)
	socket = filepath.Join(shortDir(t), "ctl.sock")
	s = start(t, program(t, false), proc.Config{Files: []string{image}, Args: append([]string{"--control", socket}, args...)})
	return s, socket
}

// statusOf runs the status subcommand.
func statusOf(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	return try(t, program(t, false).(proc.FileioTgt).Bin, append([]string{"status"}, args...)...)
}

// snapshotOf is what "status --json" prints.
func snapshotOf(t *testing.T, args ...string) *status.Snapshot {
	t.Helper()
	out, stderr, err := statusOf(t, append([]string{"--json"}, args...)...)
	if err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	s := new(status.Snapshot)
	if err := json.Unmarshal([]byte(out), s); err != nil {
		t.Fatal(err)
	}
	return s
}

// counted is how many commands of this name ended with this result.
func counted(d *status.Device, name, result string) (n uint64) {
	for _, c := range d.Counters.Commands {
		if c.Name == name && c.Result == result {
			n += c.Count
		}
	}
	return n
}

// TestStatusCountsWhatClientsDo: what qemu-io does is what the status, as JSON,
// as text and as metrics, says; also when the client has left.
func TestStatusCountsWhatClientsDo(t *testing.T) {
	const commands = 40
	image := randomImage(t, 8*mib)
	s, socket := serveWithControl(t, image, "--metrics", "127.0.0.1:0")
	before := snapshotOf(t, socket).Devices[0]
	var script []string
	for i := range commands {
		script = append(script, fmt.Sprintf("write -P 1 %d 64k", i*64*kib), fmt.Sprintf("read -P 1 %d 64k", i*64*kib))
	}
	qemuIO(t, s, append(script, "flush")...)
	eventually(t, "the client's session has ended", func() bool { return len(snapshotOf(t, socket).Devices[0].Sessions) == 1 })

	snapshot := snapshotOf(t, "--commands", socket)
	d := &snapshot.Devices[0]
	if snapshot.PID != s.Pid() || d.Name != filepath.Base(image) || d.File != image || d.Size != 8*mib || d.InFlight != 0 {
		t.Errorf("process %d, device %s, %s, %d bytes, %d in flight", snapshot.PID, d.Name, d.File, d.Size, d.InFlight)
	}
	if n := counted(d, "WRITE(16)", "GOOD") - counted(&before, "WRITE(16)", "GOOD"); n != commands {
		t.Errorf("%d writes, want %d", n, commands)
	}
	if n := d.Counters.BytesWritten - before.Counters.BytesWritten; n != commands*64*kib {
		t.Errorf("%d bytes written, want %d", n, commands*64*kib)
	}
	// qemu may read the first sectors for reasons of its own.
	if n := d.Counters.BytesRead; n < commands*64*kib || n > commands*64*kib+mib {
		t.Errorf("%d bytes read, want %d and a few", n, commands*64*kib)
	}
	if n := d.Counters.Latency["write"].Count; n > commands {
		t.Errorf("the latency of %d writes, of %d", n, commands)
	}
	if l := d.Lifecycle; l.AllocAvoided < commands || l.Unjammed != 0 || l.RejectedReplies != 0 || l.Ucmds != len(d.Commands) {
		t.Errorf("lifecycle: %+v, %d ucmds listed", l, len(d.Commands))
	}

	text, _, err := statusOf(t, socket)
	if err != nil || !regexp.MustCompile(fmt.Sprintf(`(?m)^  WRITE\(16\) +%d  %d GOOD$`, commands, commands)).MatchString(text) {
		t.Errorf("%v\n%s", err, text)
	}
	wrote := scraped(t, s, "scstuser_written_bytes_total")
	if wrote != commands*64*kib {
		t.Errorf("metrics: %v bytes written, want %d", wrote, commands*64*kib)
	}
	stop(t, s)
	if _, err := os.Lstat(socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the control socket is still there: %v", err)
	}
}

// scraped reads the one value of a counter from --metrics, whose address is in
// the log.
func scraped(t *testing.T, s *proc.Server, name string) float64 {
	t.Helper()
	url := regexp.MustCompile(`http://127\.0\.0\.1:\d+/metrics`).FindString(s.Output())
	if url == "" {
		t.Fatalf("no address of the metrics in:\n%s", s.Output())
	}
	defer http.DefaultClient.CloseIdleConnections()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if families[name] == nil || len(families[name].Metric) != 1 {
		t.Fatalf("no %s in:\n%s", name, text)
	}
	return families[name].Metric[0].GetCounter().GetValue()
}

// TestStatusOfAConnectedClient: a session is there with its name while its
// client is, and the module's listing is at its place.
func TestStatusOfAConnectedClient(t *testing.T) {
	s, socket := serveWithControl(t, randomImage(t, mib))
	c := dialRaw(t, s)
	if _, err := c.Write(request(cmdRead, 0, 1, 0, 4*kib)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 16+4*kib)); err != nil {
		t.Fatal(err)
	}
	snapshot := snapshotOf(t, socket)
	d := &snapshot.Devices[0]
	i := slices.IndexFunc(d.Sessions, func(x status.Session) bool { return strings.HasPrefix(x.Initiator, "unix:") })
	if snapshot.Connections.Now != 1 || i < 0 || d.Sessions[i].Counters.BytesRead != 4*kib {
		t.Errorf("%d connections, sessions %+v", snapshot.Connections.Now, d.Sessions)
	}
	client := status.NewClient(socket)
	defer client.Close()
	text, err := client.Commands(context.Background(), d.Name)
	if err != nil || !regexp.MustCompile(`(?m)^ucmd [0-9a-f]{16} \(state 7, ref 1\), sent_to_user 0, seen_by_user \d, `).MatchString(text) {
		t.Errorf("%v: %q", err, text)
	}
	c.Close()
	stop(t, s)
}

// TestControlSocketIsPrivate: only its user can connect, also while it is made;
// what a killed server left is replaced, and one that is used is not.
func TestControlSocketIsPrivate(t *testing.T) {
	image := randomImage(t, mib)
	s, socket := serveWithControl(t, image)
	if info, err := os.Lstat(socket); err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("mode %v, %v; want a socket with 0600", info.Mode(), err)
	}
	bin := program(t, false).(proc.FileioTgt).Bin
	_, stderr, err := try(t, bin, "--control", socket, "--listen", "unix:"+filepath.Join(shortDir(t), "s"), "-f", image)
	if err == nil || !strings.Contains(stderr, "the socket "+socket+" is already in use by another server") {
		t.Errorf("a second server on the same control socket: %v, %s", err, stderr)
	}
	s.Kill()
	again := start(t, program(t, false), proc.Config{Files: []string{image}, Args: []string{"--control", socket}})
	if got := snapshotOf(t, socket).PID; got != again.Pid() {
		t.Errorf("process %d answers, want %d", got, again.Pid())
	}
	stop(t, again)
}

// TestStatusOfSeveral: each is found by its process ID, and without one the
// choice is named. Servers that other tests run may be among them.
func TestStatusOfSeveral(t *testing.T) {
	fileioOnly(t)
	runtime := shortDir(t)
	t.Setenv("XDG_RUNTIME_DIR", runtime)
	var servers []*proc.Server
	for range 2 {
		servers = append(servers, start(t, program(t, false), proc.Config{Files: []string{randomImage(t, mib)}}))
	}
	for _, s := range servers {
		if got := snapshotOf(t, strconv.Itoa(s.Pid())); got.PID != s.Pid() {
			t.Errorf("process %d answers, want %d", got.PID, s.Pid())
		}
	}
	_, stderr, err := statusOf(t)
	if err == nil || !strings.Contains(stderr, "choose one") {
		t.Errorf("%v, %s", err, stderr)
	}
	for _, s := range servers {
		if !strings.Contains(stderr, strconv.Itoa(s.Pid())) {
			t.Errorf("%d is not named: %s", s.Pid(), stderr)
		}
		stop(t, s)
		if _, stderr, err := statusOf(t, strconv.Itoa(s.Pid())); err == nil || !strings.Contains(stderr, "there is no control socket") {
			t.Errorf("after its end: %v, %s", err, stderr)
		}
	}
}

// TestControlNone: no socket, and no complaint.
func TestControlNone(t *testing.T) {
	fileioOnly(t)
	s := start(t, program(t, false), proc.Config{Files: []string{randomImage(t, mib)}, Args: []string{"--control", "none"}})
	if _, _, err := statusOf(t, strconv.Itoa(s.Pid())); err == nil {
		t.Error("it answers")
	}
	if out := s.Output(); strings.Contains(out, "level=warning") || strings.Contains(out, "look inside") {
		t.Errorf("it printed:\n%s", out)
	}
	stop(t, s)
}

// TestStatusAtTheEnd: the socket answers until the last command is over.
func TestStatusAtTheEnd(t *testing.T) {
	s, socket := serveWithControl(t, randomImage(t, mib))
	c := dialRaw(t, s)
	if _, err := c.Write(request(cmdWrite, 0, 1, 0, 64*kib)); err != nil { // and no payload
		t.Fatal(err)
	}
	// What it has not begun to read it need not wait for.
	eventually(t, "the request is in flight", func() bool { return snapshotOf(t, socket).Devices[0].InFlight == 1 })
	if err := s.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := snapshotOf(t, socket); got.Connections.Now != 1 {
		t.Errorf("%d connections", got.Connections.Now)
	}
	c.Close()
	ends(t, s)
}
