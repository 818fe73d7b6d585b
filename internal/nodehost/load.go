package nodehost

import (
	"encoding/binary"
	"testing"
	"time"
)

// Load reads from an export, one request after the other, until one is not
// answered with data: the device has gone. It returns when the export is in
// use; the channel then gets the time of the end, which must be that of an error
// reply or of the connection. A test that waits for it learns whether a request
// was left without any answer.
func (h *Host) Load(t testing.TB, name string) <-chan time.Time {
	t.Helper()
	c := h.Dial(t)
	c.Hello()
	c.Go(name)
	const (
		size         = 65536
		requestMagic = 0x25609513
	)
	var request [28]byte // a READ of the first bytes; the cookie does not matter
	binary.BigEndian.PutUint32(request[:], requestMagic)
	binary.BigEndian.PutUint32(request[24:], size)
	ended := make(chan time.Time, 1)
	go func() {
		defer func() { ended <- time.Now() }()
		defer c.Close()
		for {
			if err := c.TrySend(request[:]); err != nil {
				return
			}
			reply, err := c.TryRecv(16)
			if err != nil || binary.BigEndian.Uint32(reply[4:]) != 0 {
				return
			}
			if _, err := c.TryRecv(size); err != nil {
				return
			}
		}
	}()
	return ended
}
