package nbd

import (
	"crypto/tls"
	"net"
	"sync"
	"time"
)

const (
	// recordSize is the most that one TLS record holds.
	recordSize = 16 << 10
	// secureBatch is how much is encrypted before it is sent, in bytes.
	secureBatch = 128 << 10
)

// records are where small parts are put together that share a TLS record.
var records = sync.Pool{New: func() any { return new([recordSize]byte) }}

// secure is a transport for a socket under TLS. Many small replies share a
// record, and many records leave with one system call; what several records
// brought is received together. Nothing waits inside package tls, which would
// hold on to a receive buffer meanwhile: see tlsWire.
type secure struct {
	conn net.Conn // the socket
	tls  *tls.Conn
	wire *tlsWire
}

// recv implements transport.
func (s *secure) recv(a []byte, in *inbox) (int, error) {
	for {
		n, err := s.take(a, in)
		if err != error(errNotYet) {
			return n, err
		}
		in.giveBack()
		if err := s.wire.fill(); err != nil {
			return 0, err
		}
	}
}

// take receives what there is, or returns errNotYet.
func (s *secure) take(a []byte, in *inbox) (int, error) {
	dst := a
	if len(a) == 0 {
		dst = in.room()
	}
	got := 0
	for got < len(dst) {
		n, err := s.tls.Read(dst[got:])
		got += n
		if err != nil {
			if got == 0 {
				return 0, err
			}
			break // it comes again if it is one for good
		}
	}
	if len(a) == 0 {
		in.filled(got)
		return 0, nil
	}
	return got, nil
}

// send implements transport. Before it returns errWouldBlock it may have
// encrypted up to secureBatch bytes, which count as sent and leave first next
// time.
func (s *secure) send(v *vector, wait bool) error {
	for {
		if err := s.wire.flush(wait); err != nil {
			return err
		}
		if v.sent() {
			return nil
		}
		if err := s.encrypt(v); err != nil {
			return err
		}
	}
}

// encrypt moves v's next bytes through TLS into the wire.
func (s *secure) encrypt(v *vector) error {
	stage := records.Get().(*[recordSize]byte)
	defer records.Put(stage)
	for n := 0; n < secureBatch && !v.sent(); {
		p := v.parts[v.idx][v.off:]
		if len(p) >= recordSize {
			p = p[:recordSize] // a record of its own, without a copy
			v.advance(len(p))
		} else {
			p = stage[:v.take(stage[:])]
		}
		if _, err := s.tls.Write(p); err != nil {
			return err
		}
		n += len(p)
	}
	return nil
}

// take copies bytes into p, moves the position behind them, and returns how
// many.
func (v *vector) take(p []byte) int {
	n := 0
	for n < len(p) && !v.sent() {
		m := copy(p[n:], v.parts[v.idx][v.off:])
		v.advance(m)
		n += m
	}
	return n
}

// sendsFiles implements transport: what is sent has to be encrypted.
func (s *secure) sendsFiles() bool { return false }

// stopReading implements transport.
func (s *secure) stopReading(then time.Time) { _ = s.conn.SetReadDeadline(then) }

// stopSending implements transport.
func (s *secure) stopSending(then time.Time) { _ = s.conn.SetWriteDeadline(then) }
