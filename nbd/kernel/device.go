package kernel

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel's interface, as linux/nbd-netlink.h has it.
const (
	familyName    = "nbd"
	familyVersion = 1
	groupName     = "nbd_mc_group"

	cmdConnect     = 1
	cmdDisconnect  = 2
	cmdReconfigure = 3
	cmdLinkDead    = 4

	attrIndex           = 1
	attrSize            = 2
	attrBlockSize       = 3
	attrTimeout         = 4
	attrServerFlags     = 5
	attrSockets         = 7
	attrDeadConnTimeout = 8

	sockItem = 1
	sockFD   = 1
)

var deviceName = regexp.MustCompile(`^(?:/dev/)?nbd([0-9]{1,4})$`)

// indexOf returns the number of a device.
func indexOf(device string) (uint32, error) {
	m := deviceName.FindStringSubmatch(device)
	if m == nil {
		return 0, fmt.Errorf("%q is no device of the kernel's NBD client; write /dev/nbd0, say", device)
	}
	n, err := strconv.ParseUint(m[1], 10, 32)
	return uint32(n), err
}

// CheckDevice says what is wrong with a device's name.
func CheckDevice(device string) error {
	_, err := indexOf(device)
	return err
}

// disk is what the kernel is told about a device.
type disk struct {
	index     uint32
	size      uint64
	blockSize uint64
	flags     uint64
	timeout   time.Duration // of a request; 0: the kernel's default, which is none
	deadConn  time.Duration // 0: without a connection requests fail at once
}

// connectAttrs are the attributes of cmdConnect.
func (d *disk) connectAttrs(fds []int) []byte {
	b := appendU32(nil, attrIndex, d.index)
	b = appendU64(b, attrSize, d.size)
	b = appendU64(b, attrBlockSize, d.blockSize)
	b = appendU64(b, attrServerFlags, d.flags)
	if d.timeout > 0 {
		b = appendU64(b, attrTimeout, seconds(d.timeout))
	}
	if d.deadConn > 0 {
		b = appendU64(b, attrDeadConnTimeout, seconds(d.deadConn))
	}
	return appendSockets(b, fds)
}

// seconds rounds up, so that a short time is not none.
func seconds(d time.Duration) uint64 { return uint64((d + time.Second - 1) / time.Second) }

// appendSockets appends the list of sockets.
func appendSockets(b []byte, fds []int) []byte {
	var items []byte
	for _, fd := range fds {
		items = appendNested(items, sockItem, appendU32(nil, sockFD, uint32(fd)))
	}
	return appendNested(b, attrSockets, items)
}

// connect gives the kernel a device's sockets. It keeps them open itself.
func (f *family) connect(d *disk, fds []int) error {
	_, err := f.request(cmdConnect, familyVersion, d.connectAttrs(fds))
	return explain(d.index, err)
}

// reconnect gives it a socket in place of a dead one.
func (f *family) reconnect(d *disk, fd int) error {
	_, err := f.request(cmdReconfigure, familyVersion, appendSockets(appendU32(nil, attrIndex, d.index), []int{fd}))
	return explain(d.index, err)
}

// disconnect takes a device out of use.
func (f *family) disconnect(index uint32) error {
	_, err := f.request(cmdDisconnect, familyVersion, appendU32(nil, attrIndex, index))
	return explain(index, err)
}

// explain says what a no of the kernel means, and what to do.
func explain(index uint32, err error) error {
	name := pathOf(index)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%s: only root may attach and detach (CAP_SYS_ADMIN): %w", name, err)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%s is attached already: detach it first, or choose another one: %w", name, err)
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENOENT):
		return fmt.Errorf("%s is not there: choose another one, or load the module with more (modprobe nbd nbds_max=16): %w", name, err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%s: the kernel does not take it (is it attached?): %w", name, err)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// pathOf is where the device with an index is.
func pathOf(index uint32) string { return fmt.Sprintf("/dev/nbd%d", index) }

// Detach takes a device out of use, whoever has attached it. What programs wrote to
// it is sent before; see Options.WriteBack, and only Hurry and Log matter besides.
// Requests that are in flight after that fail, so it has to be unmounted before. The
// kernel waits, and nobody can end that, while it has something to send to a server
// that does not read, unless the device was attached with a Timeout.
func Detach(device string, opt Options) error {
	index, err := indexOf(device)
	if err != nil {
		return err
	}
	f, err := open()
	if err != nil {
		return err
	}
	defer f.Close()
	lost := startWriting(func() error { return openAndWriteBack(index) }, &opt).await(index, &opt)
	if errors.Is(lost, errGivenUp) {
		opt.log().Warnf("%s: the server does not take what was written to it; "+
			"if that keeps the kernel from letting the device go, stop the server or its connection", pathOf(index))
	}
	if err := f.disconnect(index); err != nil {
		return err
	}
	return explainLost(index, lost)
}

// open finds the kernel's NBD client.
func open() (*family, error) {
	s, err := openSocket()
	if err != nil {
		return nil, err
	}
	f, err := openFamily(s, familyName)
	if err != nil {
		s.Close()
	}
	return f, err
}
