package kernel

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"

	"github.com/pojntfx/go-nbd/pkg/protocol"
)

// What a client needs of the protocol; the rest is go-nbd's.
const (
	flagNoZeroes  = uint16(1 << 1)
	optStartTLS   = uint32(5)
	repErrTLSReqd = uint32(1<<31 | 5)

	transReadOnly  = uint16(1 << 1)
	transMultiConn = protocol.NEGOTIATION_REPLY_FLAGS_CAN_MULTI_CONN

	// maxReply is the longest reply that is believed, in bytes.
	maxReply = 64 << 10
	// maxReplies is how many replies an option may have.
	maxReplies = 64
)

// exportInfo is what the server says about the export.
type exportInfo struct {
	size      uint64
	flags     uint16
	blockSize uint32 // what requests have to be multiples of; 0: not told
}

// negotiate does the client's part on a fresh connection, up to transmission.
// cfg is nil without TLS. The connection returned is the one to go on with. The
// caller sets deadlines.
func negotiate(c net.Conn, export string, cfg *tls.Config) (net.Conn, exportInfo, error) {
	if err := greet(c); err != nil {
		return nil, exportInfo{}, fmt.Errorf("negotiate: %w", err)
	}
	if cfg != nil {
		secured, err := startTLS(c, cfg)
		if err != nil {
			return nil, exportInfo{}, err
		}
		c = secured
	}
	info, err := choose(c, export)
	if err != nil {
		return nil, exportInfo{}, fmt.Errorf("negotiate export %q: %w", export, err)
	}
	return c, info, nil
}

// greet takes the server's greeting and answers it.
func greet(c net.Conn) error {
	var b [18]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return fmt.Errorf("no greeting: %w", err)
	}
	if binary.BigEndian.Uint64(b[:]) != protocol.NEGOTIATION_MAGIC_OLDSTYLE || binary.BigEndian.Uint64(b[8:]) != protocol.NEGOTIATION_MAGIC_OPTION {
		return errors.New("what answers is no NBD server, or one of before 2011")
	}
	flags := binary.BigEndian.Uint16(b[16:])
	if flags&protocol.NEGOTIATION_HANDSHAKE_FLAG_FIXED_NEWSTYLE == 0 {
		return errors.New("the server does not speak fixed newstyle, which has been usual since 2013")
	}
	_, err := c.Write(binary.BigEndian.AppendUint32(nil, uint32(flags&(protocol.NEGOTIATION_HANDSHAKE_FLAG_FIXED_NEWSTYLE|flagNoZeroes))))
	return err
}

// startTLS puts the connection under TLS.
func startTLS(c net.Conn, cfg *tls.Config) (net.Conn, error) {
	if err := sendOption(c, optStartTLS, nil); err != nil {
		return nil, fmt.Errorf("negotiate TLS: %w", err)
	}
	typ, data, err := readReply(c, optStartTLS)
	if err == nil && typ != protocol.NEGOTIATION_TYPE_REPLY_ACK {
		err = refused(typ, data)
	}
	if err != nil {
		return nil, fmt.Errorf("the server does not do TLS: %w", err)
	}
	secured := tls.Client(c, cfg)
	if err := secured.Handshake(); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return secured, nil
}

// choose picks the export, with GO.
func choose(c net.Conn, export string) (info exportInfo, err error) {
	data := binary.BigEndian.AppendUint32(nil, uint32(len(export)))
	data = append(data, export...)
	data = binary.BigEndian.AppendUint16(data, 1)
	data = binary.BigEndian.AppendUint16(data, protocol.NEGOTIATION_TYPE_INFO_BLOCKSIZE)
	if err := sendOption(c, protocol.NEGOTIATION_ID_OPTION_GO, data); err != nil {
		return info, err
	}
	known := false
	for range maxReplies {
		typ, data, err := readReply(c, protocol.NEGOTIATION_ID_OPTION_GO)
		switch {
		case err != nil:
			return info, err
		case typ == protocol.NEGOTIATION_TYPE_REPLY_ACK && !known:
			return info, errors.New("the server does not tell the size of the export")
		case typ == protocol.NEGOTIATION_TYPE_REPLY_ACK:
			return info, nil
		case typ != protocol.NEGOTIATION_TYPE_REPLY_INFO:
			return info, refused(typ, data)
		case len(data) == 12 && binary.BigEndian.Uint16(data) == protocol.NEGOTIATION_TYPE_INFO_EXPORT:
			info.size, info.flags, known = binary.BigEndian.Uint64(data[2:]), binary.BigEndian.Uint16(data[10:]), true
		case len(data) == 14 && binary.BigEndian.Uint16(data) == protocol.NEGOTIATION_TYPE_INFO_BLOCKSIZE:
			info.blockSize = binary.BigEndian.Uint32(data[2:])
		}
	}
	return info, errors.New("the server's answer does not end")
}

func sendOption(c net.Conn, id uint32, data []byte) error {
	b := binary.BigEndian.AppendUint64(nil, protocol.NEGOTIATION_MAGIC_OPTION)
	b = binary.BigEndian.AppendUint32(b, id)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	_, err := c.Write(append(b, data...))
	return err
}

// readReply reads one reply to the option id.
func readReply(c net.Conn, id uint32) (typ uint32, data []byte, err error) {
	var b [20]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(b[16:])
	if binary.BigEndian.Uint64(b[:]) != protocol.NEGOTIATION_MAGIC_REPLY || binary.BigEndian.Uint32(b[8:]) != id || n > maxReply {
		return 0, nil, errors.New("the server's answer is not what the protocol says")
	}
	data = make([]byte, n)
	_, err = io.ReadFull(c, data)
	return binary.BigEndian.Uint32(b[12:]), data, err
}

// refused makes an error of an error reply.
func refused(typ uint32, data []byte) error {
	why := strconv.Quote(string(data))
	switch typ {
	case repErrTLSReqd:
		return fmt.Errorf("the server requires TLS: use nbds:// (it says %s)", why)
	case protocol.NEGOTIATION_TYPE_REPLY_ERR_UNKNOWN:
		return fmt.Errorf("there is no such export (the server says %s)", why)
	}
	return fmt.Errorf("refused with reply %#x (the server says %s)", typ, why)
}
