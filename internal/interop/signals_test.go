package interop

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"scstuser/internal/proc"
)

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if holds() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("after 10 seconds still not: %s", what)
}

// ends fails the test unless the server, which has had its signal, ends well by
// itself: stop would send a second one.
func ends(t *testing.T, s *proc.Server) {
	t.Helper()
	s.WaitExit(stopTimeout)
	stop(t, s)
}

// noSocket fails the test if the server's unix socket is still there.
func noSocket(t *testing.T, s *proc.Server) {
	t.Helper()
	if _, err := os.Lstat(s.Endpoint(0).Addr); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there after the server has ended: %v", err)
	}
}

// TestTermAnswersWhatIsInFlight: SIGTERM comes while 64 commands are under
// way. Each is answered, with its data or with ESHUTDOWN, before the
// connection is closed (nbd.md row 26).
func TestTermAnswersWhatIsInFlight(t *testing.T) {
	fileioOnly(t)
	const commands, length = 64, 256 * kib
	image := randomImage(t, commands*length)
	// Our client has no structured replies, and would be taken for a kernel.
	s := start(t, program(t, false), proc.Config{Files: []string{image}, Args: []string{"--at_shutdown=refuse"}})
	c := dialRaw(t, s)
	var all []byte
	for i := range uint64(commands) {
		all = append(all, request(cmdRead, 0, i, i*length, length)...)
	}
	c.send(t, all)

	// The replies do not fit the socket: nothing is finished before we read.
	want := content(t, image)
	payload := make([]byte, length)
	answered := make(map[uint64]bool)
	for {
		cookie, errno, err := c.reply()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(answered) == 0 {
			// The first reply shows that the commands have arrived.
			if err := s.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if answered[cookie] || cookie >= commands {
			t.Fatalf("a second reply to command %d", cookie)
		}
		answered[cookie] = true
		switch errno {
		case 0:
			if _, err := io.ReadFull(c, payload); err != nil {
				t.Fatalf("payload of command %d: %v", cookie, err)
			}
			if !bytes.Equal(payload, want[cookie*length:(cookie+1)*length]) {
				t.Errorf("command %d returned wrong data", cookie)
			}
		case nbdESHUTDOWN:
		default:
			t.Errorf("command %d failed with %d, want 0 or %d", cookie, errno, nbdESHUTDOWN)
		}
	}
	if len(answered) != commands {
		t.Errorf("%d commands were answered, want all %d", len(answered), commands)
	}
	ends(t, s)
	noSocket(t, s)
}

// TestTermKeepsAcknowledgedWrites: a client writes as fast as it can when
// SIGTERM comes. What was acknowledged is in the file.
func TestTermKeepsAcknowledgedWrites(t *testing.T) {
	fileioOnly(t)
	const blocks = 4096
	image := emptyImage(t, blocks*4*kib)
	s := start(t, program(t, false), proc.Config{Files: []string{image}})
	c := dialRaw(t, s)
	pattern := func(i uint64) []byte { return bytes.Repeat([]byte{byte(i), byte(i >> 8), 1}, 2*kib)[:4*kib] }

	// The writer goes round and round until the server hangs up.
	writer := make(chan struct{})
	go func() {
		defer close(writer)
		for n := uint64(0); ; n++ {
			i := n % blocks
			if _, err := c.Write(append(request(cmdWrite, 0, i, i*4*kib, 4*kib), pattern(i)...)); err != nil {
				return
			}
		}
	}()
	acknowledged := make(map[uint64]bool)
	for n := 0; ; n++ {
		if n == 1000 {
			if err := s.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
		cookie, errno, err := c.reply()
		if err != nil {
			break // closed or reset: the writer never stops by itself
		}
		if errno == 0 {
			acknowledged[cookie] = true
		} else if errno != nbdESHUTDOWN {
			t.Errorf("write %d failed with %d, want 0 or %d", cookie, errno, nbdESHUTDOWN)
		}
	}
	c.Close()
	<-writer
	ends(t, s)
	noSocket(t, s)
	got := content(t, image)
	for i := range acknowledged {
		if !bytes.Equal(got[i*4*kib:(i+1)*4*kib], pattern(i)) {
			t.Errorf("block %d was acknowledged and is not in the file", i)
		}
	}
}

// TestTermInTheMiddleOfFio: a real client at full load does not keep the
// server from ending, nor the other way round.
func TestTermInTheMiddleOfFio(t *testing.T) {
	fileioOnly(t)
	needTool(t, "fio")
	s := start(t, program(t, false), proc.Config{Files: []string{emptyImage(t, 64*mib)}})
	ctx, cancel := context.WithTimeout(context.Background(), toolTimeout)
	defer cancel()
	fio := tool(t, ctx, "fio", "--name=load", "--ioengine=nbd", "--uri="+s.URI(""), "--thread",
		"--rw=randrw", "--bs=16k", "--iodepth=64", "--numjobs=2", "--size=64m", "--time_based", "--runtime=60")
	if err := fio.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	begin := time.Now()
	stop(t, s)
	noSocket(t, s)
	// It may take its loss well or badly, but has to notice it.
	_ = fio.Wait()
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("fio needed %v to notice that the server has gone", took)
	}
}

// TestTermWithIdleAndHalfOpenClients: clients that do nothing don't hold the
// server.
func TestTermWithIdleAndHalfOpenClients(t *testing.T) {
	fileioOnly(t)
	s := start(t, program(t, false), proc.Config{Files: []string{emptyImage(t, mib)}})
	dialRaw(t, s)
	halfOpen, err := s.Endpoint(0).Dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer halfOpen.Close()
	begin := time.Now()
	stop(t, s)
	noSocket(t, s)
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the server needed %v to end with no command in flight", took)
	}
}

// TestSecondTermExitsAtOnce: a client that does not read its replies keeps the
// server draining; a second signal ends that.
func TestSecondTermExitsAtOnce(t *testing.T) {
	fileioOnly(t)
	const commands, length = 32, mib
	s := start(t, program(t, false), proc.Config{Files: []string{emptyImage(t, commands*length)}})
	c := dialRaw(t, s)
	var all []byte
	for i := range uint64(commands) {
		all = append(all, request(cmdRead, 0, i, i*length, length)...)
	}
	c.send(t, all)
	if _, _, err := c.reply(); err != nil {
		t.Fatal(err)
	}
	if err := s.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if s.WaitExit(500 * time.Millisecond) {
		t.Fatalf("the server did not wait for commands in flight, status %d", s.ExitCode())
	}
	if err := s.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if !s.WaitExit(5 * time.Second) {
		t.Fatal("the server goes on after a second SIGTERM")
	}
	if s.ExitCode() == 0 {
		t.Error("status 0 after commands were left unanswered")
	}
}

// TestInterruptDrains: SIGINT is SIGTERM from a terminal.
func TestInterruptDrains(t *testing.T) {
	fileioOnly(t)
	s := start(t, program(t, false), proc.Config{Files: []string{emptyImage(t, mib)}})
	if err := s.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	ends(t, s)
	noSocket(t, s)
}

// TestUsr1ShowsTheNewSize grows the file under the server.
func TestUsr1ShowsTheNewSize(t *testing.T) {
	fileioOnly(t)
	image := randomImage(t, 2*mib)
	s := serveFile(t, image)
	old := dialRaw(t, s)
	if err := os.Truncate(image, 6*mib); err != nil {
		t.Fatal(err)
	}
	if err := s.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nbdinfo shows 6 MiB", func() bool { return size(t, s.URI("")) == "6291456" })
	qemuIO(t, s, "write -P 0x66 5M 1M", "read -P 0x66 5M 1M")
	if errno := old.do(t, cmdWrite, 0, 0, make([]byte, 4*kib)); errno != 0 {
		t.Errorf("a client from before the resize got error %d", errno)
	}
	stop(t, s)
	if got := content(t, image)[5*mib:]; !bytes.Equal(got, bytes.Repeat([]byte{0x66}, mib)) {
		t.Error("what was written behind the old end is not in the file")
	}
}

func TestHupReopensTheLog(t *testing.T) {
	fileioOnly(t)
	logFile := filepath.Join(t.TempDir(), "log")
	s := serve(t, proc.Config{
		Files: []string{emptyImage(t, mib)},
		Args:  []string{"--log-file=" + logFile, "--log-level=debug"},
	})
	if err := os.Rename(logFile, logFile+".1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there is a new log file", func() bool {
		_, err := os.Stat(logFile)
		return err == nil
	})
	moved := len(content(t, logFile+".1"))
	size(t, s.URI("")) // a client is something to log at level debug
	stop(t, s)
	if len(content(t, logFile)) == 0 {
		t.Error("nothing was logged to the new file")
	}
	if now := len(content(t, logFile+".1")); now != moved {
		t.Errorf("the old log file grew from %d to %d bytes", moved, now)
	}
}

// TestAStaleSocketIsReplaced: a server that was killed leaves its socket
// behind, which must not keep the next one from starting.
func TestAStaleSocketIsReplaced(t *testing.T) {
	fileioOnly(t)
	path := filepath.Join(shortDir(t), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	s := serve(t, proc.Config{Files: []string{emptyImage(t, mib)}, Listen: []proc.Endpoint{proc.Unix(path)}})
	if got := strings.TrimSpace(size(t, s.URI(""))); got != "1048576" {
		t.Errorf("size %s", got)
	}
}
