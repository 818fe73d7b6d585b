package nbd

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// pairs returns what each kind of transport stands on: the server's end and the
// client's.
func pairs(t *testing.T) map[string]func() (transport, net.Conn) {
	connect := func(network, address string) (transport, net.Conn) {
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		client, err := net.Dial(network, l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close(); server.Close() })
		tr := newTransport(server)
		if _, ok := tr.(*socket); !ok {
			t.Fatalf("%T on a %s socket", tr, network)
		}
		return tr, client
	}
	opt, cfg := tlsOptions(t, TLSRequire)
	// secured puts a pair of connections under TLS.
	secured := func(server, client net.Conn) (transport, net.Conn) {
		l, c := newLink(server, &opt), tls.Client(client, cfg)
		done := make(chan error)
		go func() { done <- c.Handshake() }()
		if err := errors.Join(l.secure(), <-done); err != nil {
			t.Fatal(err)
		}
		return l.transport(), c
	}
	return map[string]func() (transport, net.Conn){
		"tls": func() (transport, net.Conn) {
			tr, client := connect("unix", t.TempDir()+"/s")
			tr, client = secured(tr.(*socket).conn, client)
			if _, ok := tr.(*secure); !ok {
				t.Fatalf("%T on a socket under TLS", tr)
			}
			return tr, client
		},
		"tls on a pipe": func() (transport, net.Conn) {
			server, client := net.Pipe()
			t.Cleanup(func() { client.Close(); server.Close() })
			return secured(server, client)
		},
		"unix": func() (transport, net.Conn) { return connect("unix", t.TempDir()+"/s") },
		"tcp":  func() (transport, net.Conn) { return connect("tcp", "127.0.0.1:0") },
		"pipe": func() (transport, net.Conn) {
			server, client := net.Pipe()
			t.Cleanup(func() { client.Close(); server.Close() })
			return newTransport(server), client
		},
	}
}

// recvAll receives n bytes through recv, in portions of a and what comes into
// the inbox beyond.
func recvAll(t *testing.T, tr transport, n, a int) []byte {
	var in inbox
	var got []byte
	for len(got) < n {
		p := make([]byte, min(a, n-len(got)))
		m, err := tr.recv(p, &in)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p[:m]...)
		if m < len(p) && in.len() > 0 {
			t.Fatalf("%d bytes in the inbox, and %d of %d where they go first", in.len(), m, len(p))
		}
		if in.len() > 0 {
			got = append(got, in.next(in.len())...)
		}
	}
	return got
}

func TestTransportMovesBytes(t *testing.T) {
	for name, pair := range pairs(t) {
		for _, a := range []int{0, 1, 1000, 1 << 20} {
			t.Run(name, func(t *testing.T) {
				tr, client := pair()
				data := pattern(1, 300<<10)
				if a == 1 {
					data = data[:5000] // each byte is a call
				}
				go client.Write(data)
				if got := recvAll(t, tr, len(data), a); !bytes.Equal(got, data) {
					t.Error("other bytes were received")
				}

				// Far more parts than one call takes, and far more bytes.
				var v vector
				rest := pattern(2, 3<<20)
				want := slices.Clone(rest)
				for i := 0; len(rest) > 0; i++ {
					n := min(len(rest), i*7919%2000)
					v.add(rest[:n])
					rest = rest[n:]
				}
				received := make(chan []byte)
				go func() {
					b := make([]byte, len(want))
					io.ReadFull(client, b)
					received <- b
				}()
				if err := tr.send(&v, true); err != nil || !v.sent() {
					t.Fatal(err)
				}
				if !bytes.Equal(<-received, want) {
					t.Error("other bytes were sent")
				}
			})
		}
	}
}

func TestTransportEnds(t *testing.T) {
	for name, pair := range pairs(t) {
		t.Run(name, func(t *testing.T) {
			var in inbox
			tr, client := pair()
			client.Close()
			if _, err := tr.recv(nil, &in); !errors.Is(err, io.EOF) {
				t.Errorf("recv behind the end: %v", err)
			}
			if in.buf != nil {
				t.Log("the buffer stays") // it goes with the connection
			}
			var err error
			for range 3 { // TCP hears of it with the second one
				var v vector
				v.add(make([]byte, 100))
				if err = tr.send(&v, true); err != nil {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("send behind the end: %v", err)
			}
		})
	}
}

func TestTransportDeadlines(t *testing.T) {
	for name, pair := range pairs(t) {
		t.Run(name, func(t *testing.T) {
			var in inbox
			tr, client := pair()
			failed := make(chan error)
			go func() {
				_, err := tr.recv(nil, &in)
				failed <- err
			}()
			time.Sleep(time.Millisecond)
			tr.stopReading(time.Unix(1, 0))
			if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("recv: %v", err)
			}
			if in.buf != nil {
				t.Error("it kept its buffer while it waited")
			}
			tr.stopReading(time.Now().Add(time.Hour))
			go client.Write([]byte("x"))
			if _, err := tr.recv(nil, &in); err != nil || in.len() != 1 {
				t.Errorf("recv with time left: %v", err)
			}

			var v vector
			v.add(make([]byte, 32<<20))
			if err := tr.send(&v, false); !errors.Is(err, errWouldBlock) || v.sent() {
				t.Errorf("send without waiting: %v", err)
			}
			go func() { failed <- tr.send(&v, true) }()
			time.Sleep(time.Millisecond)
			tr.stopSending(time.Now().Add(time.Millisecond))
			if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("send: %v", err)
			}
		})
	}
}

// A vector's position is where so many bytes have gone.
func TestVectorAdvances(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var v vector
		var all []byte
		for _, n := range rapid.SliceOfN(rapid.IntRange(0, 5), 1, 10).Draw(t, "parts") {
			part := pattern(byte(len(all)), n)
			v.add(part)
			all = append(all, part...)
		}
		for !v.sent() {
			n := rapid.IntRange(0, len(all)).Draw(t, "sent")
			v.advance(n)
			all = all[n:]
			var left []byte
			for i, p := range v.parts[v.idx:] {
				if i == 0 {
					p = p[v.off:]
				}
				left = append(left, p...)
			}
			if !bytes.Equal(left, all) {
				t.Fatalf("%d bytes are left, want %d", len(left), len(all))
			}
		}
		if len(all) > 0 {
			t.Fatalf("%d bytes are not sent", len(all))
		}
		if v.reset(); !v.sent() || len(v.parts) > 0 {
			t.Fatal("it is not empty")
		}
	})
}

// An inbox is a queue of bytes, wherever they are in its buffer.
func TestInboxIsAQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var in inbox
		var model []byte
		seed := byte(0)
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				room := in.room()
				if len(room) != inboxSize-len(model) {
					t.Fatalf("room for %d bytes", len(room))
				}
				seed++
				n := copy(room, pattern(seed, rapid.IntRange(0, 100).Draw(t, "received")))
				in.filled(n)
				model = append(model, room[:n]...)
			case 1:
				n := rapid.IntRange(0, len(model)).Draw(t, "next")
				if in.buf != nil && !bytes.Equal(in.next(n), model[:n]) {
					t.Fatal("next returns other bytes")
				}
				model = model[n:]
			case 2:
				p := make([]byte, rapid.IntRange(0, 100).Draw(t, "take"))
				n := in.take(p)
				if n != min(len(p), len(model)) || !bytes.Equal(p[:n], model[:n]) {
					t.Fatal("take returns other bytes")
				}
				model = model[n:]
			case 3:
				in.giveBack()
				if (in.buf == nil) != (len(model) == 0) && in.buf == nil {
					t.Fatal("bytes were given back")
				}
			}
			if in.len() != len(model) {
				t.Fatalf("%d bytes, want %d", in.len(), len(model))
			}
		}
	})
}
