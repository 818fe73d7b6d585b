package nbd

import (
	"net"
	"time"
)

// plain is a transport on a connection that is no socket.
type plain struct{ c net.Conn }

func (p *plain) recv(a []byte, in *inbox) (int, error) {
	if len(a) > 0 {
		n, err := p.c.Read(a)
		if n > 0 {
			err = nil
		}
		return n, err
	}
	n, err := p.c.Read(in.room())
	if n > 0 {
		in.filled(n)
		return 0, nil
	}
	in.giveBack()
	return 0, err
}

// send can't tell whether a Write would wait, so it does not try without wait.
func (p *plain) send(v *vector, wait bool) error {
	if !wait {
		return errWouldBlock
	}
	for !v.sent() {
		n, err := p.c.Write(v.parts[v.idx][v.off:])
		v.advance(n)
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *plain) sendsFiles() bool { return false }

func (p *plain) stopReading(then time.Time) { _ = p.c.SetReadDeadline(then) }
func (p *plain) stopSending(then time.Time) { _ = p.c.SetWriteDeadline(then) }
