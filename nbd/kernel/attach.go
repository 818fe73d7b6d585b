package kernel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"github.com/sirupsen/logrus"
)

// Options say how a device is attached. The zero value is one connection, no
// timeouts and no TLS.
type Options struct {
	// Connections is how many connections the device has; more than one only
	// where the server says that it may. Default 1.
	Connections int
	// Timeout is how long a request may take before the kernel gives its
	// connection up, in whole seconds. Default 0: for ever, but 30 seconds with
	// Reconnect: it is only then that the kernel repeats what was under way on
	// a connection that died.
	Timeout time.Duration
	// Reconnect is how long requests wait for a new connection when the last
	// one has died, in whole seconds. Default 0: they fail at once, and no
	// connection is made again.
	Reconnect time.Duration
	// Ioctl attaches by ioctls, as before Linux 4.10, instead of by netlink:
	// the device then needs this process whatever the other options are, and
	// Reconnect and Resize are not to be had.
	Ioctl bool
	// WriteBack is for how long the server may do nothing while it is sent what
	// was written to the device, before that is detached: if it does not go on,
	// that is lost, and Detach says so. 0: it is not sent. A device that is
	// attached by netlink needs that only if somebody has it open, and only
	// the function Detach does it.
	WriteBack time.Duration
	// Hurry, once it is closed, ends that wait. nil: it is never closed.
	Hurry <-chan struct{}
	// TLS is what connections are secured with; needed for a Target with TLS.
	TLS *tls.Config
	// Log is where is reported what happens later; logrus.StandardLogger() if
	// nil.
	Log *logrus.Logger
}

func (o *Options) log() *logrus.Logger {
	if o.Log == nil {
		return logrus.StandardLogger()
	}
	return o.Log
}

// reconnectTimeout is the default of Timeout with Reconnect.
const reconnectTimeout = 30 * time.Second

// negotiationTimeout is how long a server may take to let us in.
const negotiationTimeout = 30 * time.Second

// Attachment is an attached device.
type Attachment struct {
	// f is the kernel by netlink, dev the device by ioctls: one of them is nil.
	f      *family
	dev    *ioctlDevice
	events socket // what the kernel tells of dead connections; nil without Reconnect
	disk   disk
	info   exportInfo
	opt    Options
	export string
	dial   dialer
	relays []*relay
}

// dialer makes a connection to the server.
type dialer func(ctx context.Context) (net.Conn, error)

// Attach connects to the server and gives the kernel what it needs to have
// device, such as /dev/nbd0, be the export. ctx bounds that. The caller has to
// call Wait or Close.
func Attach(ctx context.Context, t Target, device string, opt Options) (*Attachment, error) {
	dial, err := dialTarget(t, opt)
	if err != nil {
		return nil, err
	}
	return attachTo(ctx, device, t.Export, opt, dial)
}

// dialTarget returns what connects to the server of a URI.
func dialTarget(t Target, opt Options) (dialer, error) {
	if t.TLS != (opt.TLS != nil) {
		return nil, errors.New("certificates and nbds:// go together: give both or none")
	}
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, t.Network, t.Address)
		if err != nil {
			return nil, fmt.Errorf("connect to the server: %w", err)
		}
		return c, nil
	}, nil
}

// AttachLocal attaches an export of this process. serve serves the other end of
// a connection (as nbd's Server.ServeLocal does).
//
// The kernel may have to write to the device to get memory free, and this
// process may need memory for that: where memory is scarce the server is better
// off on another machine.
func AttachLocal(ctx context.Context, serve func(net.Conn), export, device string, opt Options) (*Attachment, error) {
	return attachTo(ctx, device, export, opt, func(context.Context) (net.Conn, error) {
		server, f, err := socketPair()
		if err != nil {
			return nil, err
		}
		client, err := net.FileConn(f)
		f.Close()
		if err != nil {
			server.Close()
			return nil, err
		}
		serve(server)
		return client, nil
	})
}

func attachTo(ctx context.Context, device, export string, opt Options, dial dialer) (*Attachment, error) {
	index, err := indexOf(device)
	if err != nil {
		return nil, err
	}
	if opt.Ioctl && opt.Reconnect > 0 {
		return nil, errors.New("connections of a device that is attached by ioctls can't be made again: leave one of the two out")
	}
	a := &Attachment{opt: opt, export: export, dial: dial}
	if opt.Ioctl {
		a.dev, err = openDevice(index)
	} else {
		a.f, err = open()
	}
	if err == nil && opt.Reconnect > 0 {
		// From before the device is there: a connection may die at once.
		a.events, err = openSocket(a.f.groups[groupName])
	}
	if err == nil {
		err = a.begin(ctx, index)
	}
	if err != nil {
		_ = a.Close() // nothing came of it
		return nil, err
	}
	return a, nil
}

// begin makes the connections and has the kernel attach the device.
func (a *Attachment) begin(ctx context.Context, index uint32) error {
	a.opt.Log = a.opt.log()
	if a.opt.Reconnect > 0 && a.opt.Timeout == 0 {
		a.opt.Timeout = reconnectTimeout
	}
	files, err := a.connections(ctx)
	defer closeAll(&files) // the kernel has its own
	if err != nil {
		return err
	}
	if a.disk, err = a.info.disk(index, a.opt); err != nil {
		return err
	}
	if a.dev != nil {
		sockets := files
		files = nil
		return a.dev.connect(&a.disk, sockets)
	}
	return a.f.connect(&a.disk, descriptors(files))
}

func descriptors(files []*os.File) []int {
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	return fds
}

func closeAll(files *[]*os.File) {
	for _, f := range *files {
		f.Close()
	}
}

// connections makes the device's connections.
func (a *Attachment) connections(ctx context.Context) (files []*os.File, err error) {
	for n := max(a.opt.Connections, 1); len(files) < n; {
		f, info, err := a.connection(ctx)
		if err != nil {
			return files, err
		}
		files = append(files, f)
		if len(files) == 1 {
			a.info = info
			if n > 1 && info.flags&transMultiConn == 0 {
				a.opt.Log.Warn("the server does not say that several connections see the same data; one is used")
				n = 1
			}
		}
	}
	return files, nil
}

// connection makes one connection, ready for transmission. From the second one
// on it has to be to the same disk, which may have grown.
func (a *Attachment) connection(ctx context.Context) (*os.File, exportInfo, error) {
	c, err := a.dial(ctx)
	if err != nil {
		return nil, exportInfo{}, err
	}
	end := time.Now().Add(negotiationTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		end = d
	}
	err = c.SetDeadline(end)
	secured, info := c, exportInfo{}
	if err == nil {
		secured, info, err = negotiate(c, a.export, a.opt.TLS)
	}
	if err == nil && a.info.size != 0 && (info.size < a.info.size || info.flags != a.info.flags) {
		err = fmt.Errorf("export %q has changed: it has %d bytes and flags %#x, and had %d and %#x",
			a.export, info.size, info.flags, a.info.size, a.info.flags)
	}
	if err == nil {
		err = c.SetDeadline(time.Time{})
	}
	if err != nil {
		c.Close()
		return nil, exportInfo{}, err
	}
	var f *os.File
	if secured == c {
		f, err = fileOf(c)
	} else {
		var r *relay
		if r, f, err = startRelay(secured); err == nil {
			ended := func(r *relay) bool { return r.over.Load() }
			a.relays = append(slices.DeleteFunc(a.relays, ended), r)
		} else {
			c.Close()
		}
	}
	return f, info, err
}

// The kernel's limits for a device's blocks.
const (
	minBlock = 512
	maxBlock = 4096
)

// disk is what the kernel is told.
func (i exportInfo) disk(index uint32, opt Options) (disk, error) {
	d := disk{
		index: index, size: i.size, blockSize: max(uint64(i.blockSize), minBlock), flags: uint64(i.flags),
		timeout: opt.Timeout, deadConn: opt.Reconnect,
	}
	if d.blockSize > maxBlock || d.blockSize&(d.blockSize-1) != 0 {
		return d, fmt.Errorf("the export wants requests in blocks of %d bytes, and the kernel has at most %d", d.blockSize, maxBlock)
	}
	if d.size -= d.size % d.blockSize; d.size == 0 {
		return d, errors.New("the export has less than one block")
	}
	return d, nil
}

// Size returns the size of the device, in bytes.
func (a *Attachment) Size() uint64 { return a.disk.size }

// ReadOnly says whether the device can't be written to.
func (a *Attachment) ReadOnly() bool { return a.info.flags&transReadOnly != 0 }

// Resident says whether the device needs this process: see Wait.
func (a *Attachment) Resident() bool {
	return len(a.relays) > 0 || a.opt.Reconnect > 0 || a.dev != nil
}

// Detach takes the device out of use, and ends what this process does for it. See
// Options.WriteBack for what programs wrote to it.
func (a *Attachment) Detach() error {
	if a.dev != nil {
		return a.Close()
	}
	detached := make(chan error, 1)
	go func() { detached <- a.f.disconnect(a.disk.index) }()
	select {
	case err := <-detached:
		return errors.Join(err, a.Close())
	case <-a.opt.Hurry:
	case <-time.After(politeTime):
	}
	a.stopRelays() // a server that does not read holds the kernel up
	return errors.Join(<-detached, a.Close())
}

// Close ends what this process does for the device. One that is not Resident
// goes on.
func (a *Attachment) Close() error {
	var err error
	if a.dev != nil { // before its relays: what is in flight needs them
		err = a.dev.Close(&a.opt)
	}
	a.stopRelays()
	if a.events != nil {
		err = errors.Join(err, a.events.Close())
	}
	if a.f != nil {
		err = errors.Join(err, a.f.Close())
	}
	return err
}

func (a *Attachment) stopRelays() {
	for _, r := range a.relays {
		r.stop()
	}
	a.relays = nil
}
