package nbd

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"scstuser/target"
)

// imageWith makes a file with the given bytes.
func imageWith(t *testing.T, data []byte) (*os.File, syscall.RawConn) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	rc, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return f, rc
}

// receiveAll receives until the end, in the background.
func receiveAll(c net.Conn) <-chan []byte {
	received := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(c)
		received <- b
	}()
	return received
}

// Parts in memory and in files leave in their order, whole, however little the
// client takes at a time.
func TestSendsPartsFromFiles(t *testing.T) {
	data := pattern(1, 3<<20)
	_, source := imageWith(t, data)
	for name, pair := range pairs(t) {
		t.Run(name, func(t *testing.T) {
			tr, client := pair()
			if _, ok := tr.(*socket); ok != tr.sendsFiles() {
				t.Fatalf("a %T says %v", tr, tr.sendsFiles())
			}
			if !tr.sendsFiles() {
				return
			}
			var v vector
			var want []byte
			scratch := make([]byte, 1<<20)
			for i, part := range []struct{ off, n int }{{0, 0}, {5, 70_000}, {0, 0}, {1 << 20, 1 << 20}, {3<<20 - 4096, 4096}, {0, 1}} {
				head := pattern(byte(10+i), 16)
				v.add(head)
				want = append(append(want, head...), data[part.off:][:part.n]...)
				if part.n > 0 {
					v.addFile(scratch[:part.n], target.FileRange{Source: source, Off: int64(part.off)})
				}
			}
			received := receiveAll(client)
			if err := tr.send(&v, true); err != nil || !v.sent() {
				t.Fatal(err)
			}
			tr.(*socket).conn.Close()
			if got := <-received; !bytes.Equal(got, want) {
				t.Errorf("%d bytes came, want %d, or they differ", len(got), len(want))
			}
			v.reset()
			if len(v.files) != 0 || v.nextFile() != nil {
				t.Error("files are left in an empty vector")
			}
		})
	}
}

// A sender that must not wait comes back when the client takes no more, and
// goes on later where it was.
func TestSendsFileWithoutWaiting(t *testing.T) {
	data := pattern(3, 8<<20)
	_, source := imageWith(t, data)
	for _, name := range []string{"unix", "tcp"} {
		t.Run(name, func(t *testing.T) {
			tr, client := pairs(t)[name]()
			var v vector
			v.add([]byte("head"))
			v.addFile(make([]byte, len(data)), target.FileRange{Source: source})
			if err := tr.send(&v, false); err != errWouldBlock {
				t.Fatalf("got %v, want errWouldBlock", err)
			}
			if v.idx != 1 || v.off == 0 {
				t.Fatalf("it stopped at byte %d of part %d", v.off, v.idx)
			}
			received := receiveAll(client)
			if err := tr.send(&v, true); err != nil {
				t.Fatal(err)
			}
			tr.(*socket).conn.Close()
			if got := <-received; !bytes.Equal(got, append([]byte("head"), data...)) {
				t.Errorf("%d bytes came, or they differ", len(got))
			}
		})
	}
}

// What can't be sent as the reply has said it would be ends the connection.
func TestSendsNothingElseThanTheFile(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(f *os.File) error
	}{
		{"the file has become shorter", func(f *os.File) error { return f.Truncate(100_000) }},
		{"the file is closed", (*os.File).Close},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := pattern(4, 1<<20)
			f, source := imageWith(t, data)
			tr, client := pairs(t)["unix"]()
			if err := tt.edit(f); err != nil {
				t.Fatal(err)
			}
			var v vector
			v.add([]byte("head"))
			v.addFile(bytes.Repeat([]byte{0xee}, len(data)), target.FileRange{Source: source})
			received := receiveAll(client)
			if err := tr.send(&v, true); err != unix.EIO {
				t.Errorf("got %v, want EIO", err)
			}
			tr.(*socket).conn.Close()
			if got := <-received; bytes.Contains(got, []byte{0xee, 0xee, 0xee, 0xee}) {
				t.Error("what was left in the buffer was sent")
			}
		})
	}
	t.Run("the client is gone", func(t *testing.T) {
		_, source := imageWith(t, pattern(4, 1<<20))
		tr, client := pairs(t)["unix"]()
		client.Close()
		var v vector
		v.addFile(make([]byte, 1<<20), target.FileRange{Source: source})
		if err := tr.send(&v, true); err != unix.EPIPE && err != unix.ECONNRESET {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the client takes nothing", func(t *testing.T) {
		_, source := imageWith(t, pattern(4, 8<<20))
		tr, _ := pairs(t)["unix"]()
		tr.stopSending(time.Now().Add(20 * time.Millisecond))
		var v vector
		v.addFile(make([]byte, 8<<20), target.FileRange{Source: source})
		if err := tr.send(&v, true); err == nil {
			t.Error("it was sent")
		}
	})
}

// Where the kernel can't send from one to the other, the bytes are read.
func TestFileSenderReadsWhereItCanNotSend(t *testing.T) {
	data := pattern(5, 100_000)
	_, source := imageWith(t, data)
	// A file that is opened for appending is no place for sendfile(2).
	to, err := os.OpenFile(filepath.Join(t.TempDir(), "to"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	var s fileSender
	part := make([]byte, 50_000)
	n, copied, errno := s.send(to.Fd(), part, target.FileRange{Source: source, Off: 1000}, 500)
	if n != 0 || !copied || errno != 0 || !bytes.Equal(part, data[1500:][:50_000]) {
		t.Errorf("%d bytes sent, copied %v, %v", n, copied, errno)
	}
	if n, copied, errno := s.send(to.Fd(), make([]byte, 100_001), target.FileRange{Source: source}, 0); n != 0 || copied || errno != unix.EIO {
		t.Errorf("beyond the end: %d bytes sent, copied %v, %v; want EIO", n, copied, errno)
	}
}

// stuckConn is a connection whose Close waits: its sender waits for a disk.
type stuckConn struct {
	net.Conn
	closing, release chan struct{}
}

func (c stuckConn) Close() error {
	c.closing <- struct{}{}
	<-c.release
	return nil
}

// Clients that can't be hung up on at once hold up neither the shutdown nor each
// other.
func TestCutOffWaitsForNobody(t *testing.T) {
	s := NewServer(Options{})
	defer s.stop()
	stuck := stuckConn{nil, make(chan struct{}), make(chan struct{})}
	defer close(stuck.release)
	const clients = 3
	for range clients {
		s.clients[&client{nc: stuck}] = struct{}{}
	}
	if n := s.cutOff(); n != clients {
		t.Errorf("%d were cut off, want %d", n, clients)
	}
	for range clients {
		<-stuck.closing
	}
}
