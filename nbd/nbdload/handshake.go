package nbdload

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// What of the protocol is needed (proto.md).
const (
	magicOption  = 0x49484156454f5054
	magicRequest = 0x25609513
	magicReply   = 0x67446698
	optGo        = 7
	repAck       = 1
	repInfo      = 3
	infoExport   = 0
	cmdRead      = 0
	cmdWrite     = 1
	cmdDisc      = 2
	requestSize  = 28
	replySize    = 16
)

// connect makes the connection of worker i and negotiates.
func connect(ctx context.Context, dial func(context.Context) (net.Conn, error), l *Load, i int) (*worker, error) {
	c, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	size, err := handshake(c, l.export(i))
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("negotiate with the server: %w", err)
	}
	if size < uint64(l.BlockSize) {
		c.Close()
		return nil, fmt.Errorf("the export has %d bytes, less than a block of %d", size, l.BlockSize)
	}
	return newWorker(c, l, i, size), nil
}

// handshake asks for an export with simple replies and returns its size.
func handshake(c net.Conn, export string) (size uint64, err error) {
	r := bufio.NewReaderSize(c, 4096)
	var greeting [18]byte
	if _, err := io.ReadFull(r, greeting[:]); err != nil {
		return 0, err
	}
	if binary.BigEndian.Uint64(greeting[8:]) != magicOption {
		return 0, errors.New("it does not speak the newstyle protocol")
	}
	b := binary.BigEndian.AppendUint32(nil, 3) // fixed newstyle, no zeroes
	b = binary.BigEndian.AppendUint64(b, magicOption)
	b = binary.BigEndian.AppendUint32(b, optGo)
	b = binary.BigEndian.AppendUint32(b, uint32(len(export)+6))
	b = binary.BigEndian.AppendUint32(b, uint32(len(export)))
	b = append(b, export...)
	b = append(b, 0, 0) // nothing else is wanted
	if _, err := c.Write(b); err != nil {
		return 0, err
	}
	for {
		var h [20]byte
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return 0, err
		}
		data := make([]byte, min(binary.BigEndian.Uint32(h[16:]), 4096))
		if _, err := io.ReadFull(r, data); err != nil {
			return 0, err
		}
		switch typ := binary.BigEndian.Uint32(h[12:]); {
		case typ == repAck && size == 0:
			return 0, errors.New("it did not tell the export's size")
		case typ == repAck:
			return size, nil
		case typ != repInfo:
			return 0, fmt.Errorf("it refuses export %q (reply %#x: %s)", export, typ, data)
		case len(data) >= 10 && binary.BigEndian.Uint16(data) == infoExport:
			size = binary.BigEndian.Uint64(data[2:])
		}
	}
}
