package nbd

import (
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scstuser/nbd/nbdtest"
)

func TestRow01Greeting(t *testing.T) {
	h := startNegotiation(t, twoExports(), Limits{})
	h.ExpectBytes(wire(t, greetingHex))
	h.Close()
	h.expectAborted()
}

func TestRow01ClientFlags(t *testing.T) {
	for _, tc := range []struct {
		name  string
		flags uint32
		drop  bool
	}{
		{"none", 0, false},
		{"fixed newstyle", 1, false},
		{"no zeroes", 2, false},
		{"both", 3, false},
		{"first unknown", 4, true},
		{"unknown with known", 7, true},
		{"highest unknown", 1<<31 | 3, true},
		{"a handshake flag's place in 16 bits", 1 << 16, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := startNegotiation(t, twoExports(), Limits{})
			h.Greet()
			h.SendClientFlags(tc.flags)
			if tc.drop {
				h.expectBreach()
				return
			}
			h.ExportName("a")
			n := h.expectTransmission("a")
			if want := tc.flags&2 != 0; n.noZeroes != want {
				t.Errorf("noZeroes %v, want %v", n.noZeroes, want)
			}
		})
	}
}

// A client that did not set FIXED_NEWSTYLE has one option, EXPORT_NAME: there
// is no reply format to refuse any other with.
func TestRow01WithoutFixedNewstyleOnlyExportName(t *testing.T) {
	for _, id := range []uint32{optAbort, optList, optInfo, optGo, optStartTLS, optStructuredReply, 77} {
		h := startNegotiation(t, twoExports(), Limits{})
		h.Greet()
		h.SendClientFlags(clientNoZeroes)
		h.SendOption(id, nil)
		h.expectBreach()
	}
}

func TestClientLeaves(t *testing.T) {
	whole := wire(t, "00000003"+optionHex+"00000007 00000008 00000001 61 0000 00")
	for cut := range len(whole) {
		h := startNegotiation(t, twoExports(), Limits{})
		h.Greet()
		h.Send(whole[:cut])
		h.CloseWrite()
		h.expectError(errAborted)
	}
}

// Row 11: idle and slow clients are disconnected when their time is up, and
// not before. The bubble's clock makes 30 seconds instant.
func TestRow11HandshakeTimeout(t *testing.T) {
	for _, tc := range []struct {
		name string
		// talk is what the client does before it falls silent.
		talk func(c net.Conn)
	}{
		{"silent from the start", func(net.Conn) {}},
		{"reads the greeting", func(c net.Conn) { c.Read(make([]byte, 18)) }},
		{"stops in an option", func(c net.Conn) {
			c.Read(make([]byte, 18))
			c.Write(wire(t, "00000003"+optionHex+"00000007 00000100 0000"))
		}},
		{"does not read the answer", func(c net.Conn) {
			c.Read(make([]byte, 18))
			c.Write(wire(t, "00000003"+optionHex+"00000003 00000000"))
		}},
		{"sends an option every second", func(c net.Conn) {
			c.Read(make([]byte, 18))
			c.Write(wire(t, "00000003"))
			for {
				time.Sleep(time.Second)
				if _, err := c.Write(wire(t, optionHex+"00000003 00000000")); err != nil {
					return
				}
				c.Read(make([]byte, 4096))
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				talked := make(chan struct{})
				go func() {
					tc.talk(client)
					close(talked)
				}()
				start := time.Now()
				_, err := negotiate(server, twoExports(), Limits{})
				server.Close()
				if !errors.Is(err, errHandshakeTimeout) {
					t.Errorf("negotiation ended with %v", err)
				}
				if took := time.Since(start); took != 30*time.Second {
					t.Errorf("it took %v", took)
				}
				<-talked
				client.Close()
			})
		})
	}
}

// The timeout ends with the negotiation.
func TestRow11TimeoutIsCleared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		go func() {
			client.Read(make([]byte, 18))
			client.Write(append(wire(t, "00000003"), nbdtest.OptionBytes(optExportName, nil)...))
			client.Read(make([]byte, 10))
			time.Sleep(time.Hour)
			client.Write([]byte("x"))
		}()
		if _, err := negotiate(server, twoExports(), Limits{HandshakeTimeout: time.Second}); err != nil {
			t.Fatal(err)
		}
		if _, err := server.Read(make([]byte, 1)); err != nil {
			t.Errorf("an hour later: %v", err)
		}
	})
}

func TestRow11NumberOfOptions(t *testing.T) {
	h := startNegotiation(t, twoExports(), Limits{MaxOptions: 3})
	h.Hello()
	for range 3 {
		h.List()
	}
	h.SendOption(optList, nil)
	h.expectBreach()
}

func TestRow11OptionBytes(t *testing.T) {
	h := startNegotiation(t, twoExports(), Limits{MaxOptionBytes: 100})
	h.Hello()
	long := nbdtest.InfoData("a", make([]uint16, 100)...)
	for _, id := range []uint32{optInfo, optGo} {
		h.SendOption(id, long)
		h.ExpectOptionReply(id, repErrTooBig)
	}
	h.SendOption(50, long)
	h.ExpectOptionReply(50, repErrUnsup)
	h.Go("a")
	h.expectTransmission("a")
}

// An option that would go past the limit for all of them is not even read.
func TestRow11NegotiationBytes(t *testing.T) {
	for _, tc := range []struct{ name, header string }{
		{"one byte too many", "00000063 00000031"},
		{"4 GiB", "00000063 ffffffff"},
		{"4 GiB of GO", "00000007 ffffffff"},
		{"4 GiB of ABORT", "00000002 ffffffff"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// One empty option, then room for a header and 48 bytes.
			h := startNegotiation(t, twoExports(), Limits{MaxNegotiationBytes: 16 + 16 + 48})
			h.Hello()
			h.SendOption(optList, nil)
			for range 3 {
				h.ReadOptionReply()
			}
			h.Send(wire(t, optionHex+tc.header))
			h.expectBreach()
		})
	}
	t.Run("exactly all", func(t *testing.T) {
		h := startNegotiation(t, twoExports(), Limits{MaxNegotiationBytes: 16 + 48})
		h.Hello()
		h.SendOption(99, make([]byte, 48))
		h.ExpectOptionReply(99, repErrUnsup)
		h.SendOption(optList, nil)
		h.expectBreach()
	})
}

// Row 26: haggling clients get ERR_SHUTDOWN to whatever they ask, and are
// disconnected.
func TestRow26HagglingClientsGetErrShutdown(t *testing.T) {
	for _, tc := range []struct {
		id   uint32
		data []byte
	}{
		{optList, nil},
		{optList, []byte("data")},
		{optInfo, nbdtest.InfoData("a")},
		{optGo, nbdtest.InfoData("a")},
		{optGo, nbdtest.InfoData("unknown")},
		{optGo, []byte("x")},
		{optGo, make([]byte, 70_000)},
		{optStartTLS, nil},
		{1000, []byte("data")},
	} {
		tbl := twoExports()
		h := startNegotiation(t, tbl, Limits{})
		h.Hello()
		h.List()
		tbl.closing.Store(true)
		h.SendOption(tc.id, tc.data)
		h.ExpectOptionReply(tc.id, repErrShutdown)
		h.expectError(errShuttingDown)
	}
}

func TestRow26ShutdownClosesOnExportName(t *testing.T) {
	tbl := twoExports()
	h := startNegotiation(t, tbl, Limits{})
	h.Hello()
	tbl.closing.Store(true)
	h.SendOption(optExportName, []byte("a"))
	h.expectError(errShuttingDown)
}

func TestRow26ShutdownStillAcknowledgesAbort(t *testing.T) {
	tbl := twoExports()
	h := startNegotiation(t, tbl, Limits{})
	h.Hello()
	tbl.closing.Store(true)
	h.Abort()
	h.expectError(errAborted)
}

func TestRow26NoGreetingDuringShutdown(t *testing.T) {
	tbl := twoExports()
	tbl.closing.Store(true)
	startNegotiation(t, tbl, Limits{}).expectError(errShuttingDown)
}

// A deadline that the server sets wakes an idle client's negotiation.
func TestRow26ShutdownInterruptsIdleClient(t *testing.T) {
	tbl := twoExports()
	client, server := nbdtest.Socketpair(t)
	done := make(chan error, 1)
	go func() {
		_, err := negotiate(server, tbl, Limits{})
		server.Close()
		done <- err
	}()
	client.Hello()
	client.List()
	tbl.closing.Store(true)
	server.SetDeadline(time.Now())
	client.ExpectClosed()
	if err := <-done; !errors.Is(err, errShuttingDown) {
		t.Errorf("negotiation ended with %v", err)
	}
}

func TestGarbageIsAProtocolError(t *testing.T) {
	for _, tc := range []struct{ name, bytes string }{
		{"web browser", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"},
		{"zeroes", "\x00\x00\x00\x03" + strings.Repeat("\x00", 16)},
		{"one bit off", "\x00\x00\x00\x03IHAVEOPU\x00\x00\x00\x03\x00\x00\x00\x00"},
		{"a request where an option belongs", "\x00\x00\x00\x03\x25\x60\x95\x13" + strings.Repeat("\x00", 24)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := startNegotiation(t, twoExports(), Limits{})
			h.Greet()
			h.Send([]byte(tc.bytes))
			h.expectBreach()
		})
	}
}
