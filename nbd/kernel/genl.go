package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// socket is a netlink socket: each Write is one request to the kernel, each Read
// what it says at a time.
type socket interface {
	io.ReadWriteCloser
	SetReadDeadline(t time.Time) error
}

// openSocket opens a netlink socket; groups are the multicast groups to hear.
func openSocket(groups ...uint32) (socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_GENERIC)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	for _, g := range groups {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, int(g)))
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}

// answerTimeout is how long the kernel may take. Only a disconnect waits for others
// (see Detach), and that in the request itself, which can't be ended.
const answerTimeout = 30 * time.Second

// family is a family of generic netlink on a socket, for requests.
type family struct {
	s   socket
	seq uint32
	// What the kernel calls it.
	id     uint16
	groups map[string]uint32
}

// errNoFamily: the kernel does not have the family, or not its module.
var errNoFamily = errors.New("the kernel has no NBD client: load its module (as root: modprobe nbd)")

// openFamily looks a family up by its name. It takes s over if it succeeds.
func openFamily(s socket, name string) (*family, error) {
	f := &family{s: s, id: unix.GENL_ID_CTRL, groups: map[string]uint32{}}
	attrs, err := f.request(unix.CTRL_CMD_GETFAMILY, 1, appendString(nil, unix.CTRL_ATTR_FAMILY_NAME, name))
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil, errNoFamily
	case err != nil:
		return nil, fmt.Errorf("look up the kernel's NBD client: %w", err)
	}
	f.id = 0
	if err := eachAttr(attrs, f.learn); err != nil {
		return nil, err
	}
	if f.id == 0 {
		return nil, fmt.Errorf("%w: a family without a number", errMalformed)
	}
	return f, nil
}

// learn takes in what the kernel says about the family.
func (f *family) learn(typ uint16, value []byte) error {
	switch typ {
	case unix.CTRL_ATTR_FAMILY_ID:
		if len(value) != 2 {
			return errMalformed
		}
		f.id = order.Uint16(value)
	case unix.CTRL_ATTR_MCAST_GROUPS:
		return eachAttr(value, func(_ uint16, group []byte) error {
			var name string
			var id uint32
			err := eachAttr(group, func(typ uint16, value []byte) (err error) {
				switch typ {
				case unix.CTRL_ATTR_MCAST_GRP_NAME:
					name = string(bytes.TrimRight(value, "\x00"))
				case unix.CTRL_ATTR_MCAST_GRP_ID:
					id, err = u32(value)
				}
				return err
			})
			f.groups[name] = id
			return err
		})
	}
	return nil
}

// request makes the kernel do something and returns the attributes of what it
// says; nil if it says nothing but yes. Its no is a unix.Errno, wrapped.
func (f *family) request(cmd, version uint8, attrs []byte) ([]byte, error) {
	f.seq++
	m := message{typ: f.id, flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK, seq: f.seq, payload: command(cmd, version, attrs)}
	if _, err := f.s.Write(m.append(nil)); err != nil {
		return nil, fmt.Errorf("ask the kernel: %w", err)
	}
	if err := f.s.SetReadDeadline(time.Now().Add(answerTimeout)); err != nil {
		return nil, err
	}
	var said []byte
	b := make([]byte, 32<<10)
	for {
		n, err := f.s.Read(b)
		if err != nil {
			return nil, fmt.Errorf("hear from the kernel: %w", err)
		}
		for rest := b[:n]; len(rest) > 0; {
			var m message
			if m, rest, err = nextMessage(rest); err != nil {
				return nil, err
			}
			switch {
			case m.seq != f.seq: // an answer that came too late for its question
			case m.typ == unix.NLMSG_ERROR:
				return said, outcome(m.payload)
			case m.typ == f.id:
				_, attrs, err := parseCommand(m.payload)
				if err != nil {
					return nil, err
				}
				said = bytes.Clone(attrs)
			}
		}
	}
}

// outcome is what NLMSG_ERROR says: nil is yes.
func outcome(payload []byte) error {
	if len(payload) < 4 {
		return errMalformed
	}
	if e := int32(order.Uint32(payload)); e != 0 {
		return unix.Errno(-e)
	}
	return nil
}

// Close closes the socket.
func (f *family) Close() error { return f.s.Close() }
