package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Numbers are in the machine's own byte order.
var order = binary.NativeEndian

// genlHeaderSize is the size of a generic netlink header, in bytes.
const genlHeaderSize = 4

// message is a netlink message. payload is what is behind its header.
type message struct {
	typ, flags uint16
	seq        uint32
	payload    []byte
}

// append encodes m at the end of b.
func (m message) append(b []byte) []byte {
	b = order.AppendUint32(b, uint32(unix.NLMSG_HDRLEN+len(m.payload)))
	b = order.AppendUint16(b, m.typ)
	b = order.AppendUint16(b, m.flags)
	b = order.AppendUint32(b, m.seq)
	b = order.AppendUint32(b, 0) // the kernel fills in who we are
	return pad(append(b, m.payload...))
}

// errMalformed: the kernel says something that is no netlink.
var errMalformed = errors.New("malformed netlink message")

// nextMessage decodes the first message of b and returns what is behind it.
func nextMessage(b []byte) (m message, rest []byte, err error) {
	if len(b) < unix.NLMSG_HDRLEN {
		return m, nil, errMalformed
	}
	n := int(order.Uint32(b))
	if n < unix.NLMSG_HDRLEN || n > len(b) {
		return m, nil, errMalformed
	}
	m = message{typ: order.Uint16(b[4:]), flags: order.Uint16(b[6:]), seq: order.Uint32(b[8:]), payload: b[unix.NLMSG_HDRLEN:n]}
	return m, b[min(len(b), aligned(n)):], nil
}

// command is the payload of a generic netlink message.
func command(cmd, version uint8, attrs []byte) []byte {
	return append([]byte{cmd, version, 0, 0}, attrs...)
}

// parseCommand is the reverse.
func parseCommand(payload []byte) (cmd uint8, attrs []byte, err error) {
	if len(payload) < genlHeaderSize {
		return 0, nil, errMalformed
	}
	return payload[0], payload[genlHeaderSize:], nil
}

// appendAttr appends an attribute, padded.
func appendAttr(b []byte, typ uint16, value []byte) []byte {
	b = order.AppendUint16(b, uint16(unix.NLA_HDRLEN+len(value)))
	b = order.AppendUint16(b, typ)
	return pad(append(b, value...))
}

func appendU32(b []byte, typ uint16, v uint32) []byte {
	return appendAttr(b, typ, order.AppendUint32(nil, v))
}

func appendU64(b []byte, typ uint16, v uint64) []byte {
	return appendAttr(b, typ, order.AppendUint64(nil, v))
}

func appendString(b []byte, typ uint16, s string) []byte {
	return appendAttr(b, typ, append([]byte(s), 0))
}

// appendNested appends an attribute that consists of attributes.
func appendNested(b []byte, typ uint16, attrs []byte) []byte {
	return appendAttr(b, typ|unix.NLA_F_NESTED, attrs)
}

// eachAttr calls f for each attribute.
func eachAttr(b []byte, f func(typ uint16, value []byte) error) error {
	for len(b) > 0 {
		if len(b) < unix.NLA_HDRLEN {
			return errMalformed
		}
		n := int(order.Uint16(b))
		if n < unix.NLA_HDRLEN || n > len(b) {
			return errMalformed
		}
		typ := order.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		if err := f(typ, b[unix.NLA_HDRLEN:n]); err != nil {
			return err
		}
		b = b[min(len(b), aligned(n)):]
	}
	return nil
}

// u32 decodes the value of an attribute.
func u32(value []byte) (uint32, error) {
	if len(value) != 4 {
		return 0, fmt.Errorf("%w: a number of %d bytes", errMalformed, len(value))
	}
	return order.Uint32(value), nil
}

func aligned(n int) int { return (n + 3) &^ 3 }

func pad(b []byte) []byte { return append(b, make([]byte, aligned(len(b))-len(b))...) }
