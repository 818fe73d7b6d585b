package faults

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"scstuser/internal/faultfs"
	"scstuser/internal/proc"
	"scstuser/nbd/nbdtest"
)

// mode is how the server runs.
type mode struct {
	name, text string
	args       []string
}

var (
	writeBack    = mode{"write-back", "default", nil}
	threads      = mode{"threads", "`--inline=false`", []string{"--inline=false"}}
	direct       = mode{"direct", "`--direct`", []string{"--direct"}}
	writeThrough = mode{"write-through", "`--write_through`", []string{"--write_through"}}
	nvCache      = mode{"nv-cache", "`--nv_cache`", []string{"--nv_cache"}}
	readOnly     = mode{"read-only", "`--read_only`", []string{"--read_only"}}
)

// Places in the image: there is where ranges fail, elsewhere where they don't.
const (
	there     = 4 << 20
	elsewhere = 2 << 20
)

// rig is a disk, a server that serves it beside a healthy one, and a client of
// each.
type rig struct {
	t    *testing.T
	mode mode
	size int // of requests, in bytes
	disk disk

	bin, dir string
	healthy  string
	server   *proc.Server
	handler  *proc.Server // in the mode hosted, beside the server
	// logs is what servers before the present one have printed.
	logs          string
	conn, sibling *nbdtest.Conn
	// second is another client of the disk.
	second *nbdtest.Conn
	// left says that the test has seen the end of the server.
	left bool

	fault *faultfs.Injected
	// hung is a request that has not been answered.
	hung nbdtest.Request
	// flooded are requests that hang, replies what comes of them.
	flooded []nbdtest.Request
	replies chan []nbdtest.Reply
	// came has the answer to a client that was waiting for it.
	came  chan nbdtest.Reply
	fills byte
	// holds is what each place was last written with, as far as that is known;
	// stable what of it was made durable.
	holds, stable map[uint64][]byte
}

func newRig(t *testing.T, m medium, mo mode, size int) *rig {
	t.Helper()
	r := &rig{
		t: t, mode: mo, size: size, disk: m.make(t),
		holds: make(map[uint64][]byte), stable: make(map[uint64][]byte),
	}
	var err error
	if r.bin, err = builder.Binary(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	if r.dir, err = os.MkdirTemp("", "flt"); err != nil { // short enough for a socket
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(r.dir) })
	r.healthy = filepath.Join(r.dir, "healthy")
	if err := os.WriteFile(r.healthy, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.end() })
	r.start()
	return r
}

// start starts the server and connects to it.
func (r *rig) start() {
	r.t.Helper()
	if strings.HasPrefix(r.mode.name, hosted.name) {
		r.startHosted()
	} else {
		r.startServer()
	}
	r.conn, r.second, r.sibling = r.dial(r.export()), r.dial(r.export()), r.dial("healthy")
}

// startServer is start for the other modes.
func (r *rig) startServer() {
	r.t.Helper()
	s, err := proc.Start(context.Background(), proc.FileioTgt{Bin: r.bin}, proc.Config{
		Files:  []string{r.disk.path, r.healthy},
		Listen: []proc.Endpoint{proc.Unix(filepath.Join(r.dir, "s"))},
		Args:   append([]string{"--control", r.control()}, r.mode.args...),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.server, r.left = s, false
}

// control is the server's control socket.
func (r *rig) control() string { return filepath.Join(r.dir, "c") }

// export is the disk's name.
func (r *rig) export() string { return filepath.Base(r.disk.path) }

// dial connects a client that hears of errors what there is to say.
func (r *rig) dial(export string) *nbdtest.Conn {
	r.t.Helper()
	c := nbdtest.Dial(r.t, "unix", filepath.Join(r.dir, "s"))
	c.Hello()
	c.Negotiate(nbdtest.Structured)
	c.Go(export)
	return c
}

// end ends the server after a test, however it went.
func (r *rig) end() {
	if r.disk.faults != nil {
		r.disk.faults.ClearAll() // or it could not end
	}
	r.endHosted()
	if r.server == nil || r.left {
		return
	}
	if !r.t.Failed() {
		r.checkStatus()
		if err := r.server.Signal(os.Interrupt); err != nil {
			r.t.Error(err)
		}
		if r.server.WaitExit(20 * time.Second) {
			return
		}
		r.t.Error("the server did not end")
	}
	r.server.Kill()
	r.t.Logf("the server printed:\n%s", r.log())
}

// log is what all servers have printed.
func (r *rig) log() string {
	text := r.logs + r.server.Output()
	if r.handler != nil {
		text += r.handler.Output()
	}
	return text
}

// build makes a request; a WRITE's bytes are others each time.
func (r *rig) build(typ uint16, at uint64, size int, flags uint16) nbdtest.Request {
	req := nbdtest.Request{Type: typ, Flags: flags, Offset: at, Length: uint32(size)}
	if typ == nbdtest.CmdWrite {
		r.fills++
		req.Payload = bytes.Repeat([]byte{r.fills}, size)
	}
	if typ == nbdtest.CmdFlush {
		req.Offset, req.Length = 0, 0
	}
	return req
}

// request is one request to the disk, or to its sibling.
func (r *rig) request(c *nbdtest.Conn, typ uint16, at uint64, size int, flags uint16) nbdtest.Reply {
	r.t.Helper()
	req := r.build(typ, at, size, flags)
	reply := c.Ask(req)
	if c != r.sibling {
		r.note(req, reply)
	}
	return reply
}

// note compares what a request did with what the disk should have, and stores
// what follows from it.
func (r *rig) note(req nbdtest.Request, reply nbdtest.Reply) {
	r.t.Helper()
	at, ok := req.Offset, reply.Errno == nbdtest.OK
	switch req.Type {
	case nbdtest.CmdRead:
		if want, known := r.holds[at]; ok && known && !bytes.Equal(reply.Data, want) {
			r.t.Errorf("READ at %d returned %d..., want %d", at, reply.Data[0], want[0])
		}
	case nbdtest.CmdWrite, nbdtest.CmdWriteZeroes:
		delete(r.stable, at)
		delete(r.holds, at) // a write that failed leaves anything
		if ok {
			r.holds[at] = req.Payload
			if req.Payload == nil {
				r.holds[at] = make([]byte, r.size)
			}
		}
		if ok && (req.Flags&nbdtest.CmdFlagFUA != 0 || r.mode.name == writeThrough.name) {
			r.stable[at] = r.holds[at]
			r.checkStable()
		}
	case nbdtest.CmdFlush:
		if ok {
			for at, b := range r.holds {
				r.stable[at] = b
			}
			r.checkStable()
		}
	}
}

// checkStable compares what was made durable with what is stored (I6).
func (r *rig) checkStable() {
	r.t.Helper()
	if r.disk.stored == nil || r.mode.name == nvCache.name {
		return
	}
	for at, want := range r.stable {
		got := make([]byte, len(want))
		if _, err := r.disk.stored.ReadAt(got, int64(at)); err != nil {
			r.t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			r.t.Errorf("what was made durable at %d is not stored: %d, want %d", at, got[0], want[0])
		}
	}
}

// others requires that the sibling works.
func (r *rig) others() {
	r.t.Helper()
	if r.mode.name != readOnly.name {
		for _, typ := range []uint16{nbdtest.CmdWrite, nbdtest.CmdFlush} {
			if reply := r.request(r.sibling, typ, 0, 4096, 0); reply.Errno != nbdtest.OK {
				r.t.Errorf("another export answers command %d with %v (%s)", typ, reply.Errno, reply.Message)
			}
		}
	}
	if reply := r.request(r.sibling, nbdtest.CmdRead, 0, 4096, 0); reply.Errno != nbdtest.OK {
		r.t.Errorf("another export answers a READ with %v (%s)", reply.Errno, reply.Message)
	}
}

// restart ends the server, which has to have this exit status, and starts
// another one.
func (r *rig) restart(status int) {
	r.t.Helper()
	r.stop(status)
	r.logs += r.server.Output()
	r.start()
}

// stop ends the server with SIGTERM.
func (r *rig) stop(status int) {
	r.t.Helper()
	r.checkStatus()
	if err := r.server.Signal(os.Interrupt); err != nil {
		r.t.Fatal(err)
	}
	if !r.server.WaitExit(20 * time.Second) {
		r.t.Fatal("the server did not end")
	}
	r.left = true
	if got := r.server.ExitCode(); got != status {
		r.t.Errorf("the server ended with status %d, want %d:\n%s", got, status, r.server.Output())
	}
}

// logged waits for a line of the log.
func (r *rig) logged(l line) {
	r.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if l.count(r.log()) > 0 {
			r.located(l)
			return
		}
		if time.Now().After(deadline) {
			r.t.Errorf("the log does not have %s:\n%s", l, r.log())
			return
		}
	}
}

// located requires that a line which says a block says the right one.
func (r *rig) located(l line) {
	r.t.Helper()
	if l != readsFail && l != writesFail && l != spaceFails {
		return
	}
	found := regexp.MustCompile(regexp.QuoteMeta(fmt.Sprintf("msg=%q", l.msg)) + `.* lba=(\d+)`).FindStringSubmatch(r.log())
	if found == nil {
		r.t.Errorf("%s: no block is named:\n%s", l, r.log())
		return
	}
	at, _ := strconv.ParseUint(found[1], 10, 64)
	if at *= 512; at < there || at >= there+uint64(r.size) {
		r.t.Errorf("%s: byte %d is named, which is not in the request for %d bytes at %d", l, at, r.size, there)
	}
}

// line is a line of the log.
type line struct{ level, msg string }

// String is how the document has it.
func (l line) String() string { return fmt.Sprintf("%s: `%s`", l.level, l.msg) }

// quiet says whether it is neither a warning nor an error.
func (l line) quiet() bool { return l.level == "info" }

// loud counts a log's warnings and errors, but for what a host always says when a
// handler leaves.
func loud(log string) int {
	return strings.Count(log, "level=warning ") + strings.Count(log, "level=error ") -
		strings.Count(log, `level=warning msg="UNREGISTER_DEVICE is obsolete`)
}

// said says whether the program ended with the line, in which … is anything.
func (l line) said(log string) bool {
	parts := strings.Split(l.msg, "…")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("(?m)^fileio_tgt: " + strings.Join(parts, ".*") + ".*$").MatchString(log)
}

// count is how often it is in a log.
func (l line) count(log string) int {
	return strings.Count(log, fmt.Sprintf("level=%s msg=%q", l.level, l.msg))
}
