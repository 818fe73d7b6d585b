package client

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"scstuser/handlers/arena"
	"scstuser/ioctl/abi"
	"scstuser/ucmd"
)

// Options are the settings of Open. Zero fields get the defaults.
type Options struct {
	// Version is DEV_USER_VERSION of the headers that the kernel module was
	// built with (rule R5). Default abi.Version, which a host of this project
	// accepts; a kernel module accepts its own only.
	Version string
	// License is the handler's license (rule R7). Default "GPL".
	License string
	// Multi is how many subcommands, and how many replies, one ioctl carries
	// at most; a larger ReplyAndGet takes several. Default 64, at most 1024.
	Multi int
}

// maxMulti bounds Options.Multi: more don't make an ioctl any cheaper.
const maxMulti = 1024

// EnsureDefaults fills in what was left zero, and limits what is too large.
func (o *Options) EnsureDefaults() {
	if o.Version == "" {
		o.Version = abi.Version
	}
	if o.License == "" {
		o.License = "GPL"
	}
	if o.Multi <= 0 {
		o.Multi = 64
	}
	o.Multi = min(o.Multi, maxMulti)
}

// Open opens the node at path and registers a device with it (rules R7 to
// R14). The caller closes it.
func Open(path string, desc ucmd.Desc, o Options) (*Device, error) {
	sys, err := newLinux()
	if err != nil {
		return nil, fmt.Errorf("make an eventfd: %w", err)
	}
	return open(sys, path, desc, o)
}

// open is Open with any kernel.
func open(sys kernel, path string, desc ucmd.Desc, o Options) (*Device, error) {
	o.EnsureDefaults()
	fd, err := sys.open(path, desc.NonBlocking)
	if err != nil {
		sys.close(-1)
		return nil, openError(path, err)
	}
	d := &Device{
		path: path, desc: desc, multi: o.Multi, sys: sys, fd: fd, opt: desc.Opt,
		frames: arena.New(arena.Options{}),
		poll:   make(chan struct{}, 1), sleep: time.NewTimer(time.Hour), gone: make(chan struct{}), closed: make(chan struct{}),
	}
	d.sleep.Stop()
	d.polling.Store(desc.NonBlocking)
	if err := d.register(o); err != nil {
		d.release()
		return nil, err
	}
	return d, nil
}

// Where REGISTER_DEVICE's strings are in a frame; behind each there are
// abi.StringMax bytes that can be read.
const (
	versionAt = 256
	licenseAt = 512
)

// register makes the device known to the node.
func (d *Device) register(o Options) error {
	var code syscall.Errno
	err := d.do(abi.IoctlRegisterDevice, func(f *frame) error {
		clear(f.mem[:smallLen])
		if len(o.Version) >= licenseAt-versionAt || len(o.License) >= smallLen-licenseAt {
			return errors.New("the version or the license is too long; leave them out for the defaults")
		}
		copy(f.mem[versionAt:], o.Version)
		copy(f.mem[licenseAt:], o.License)
		x := abi.DevDescOf(&d.desc, f.at(versionAt), f.at(licenseAt))
		return x.Encode(f.mem)
	}, nil)
	if err == nil || !errors.As(err, &code) {
		return err
	}
	// What the module's errnos mean for a handler (rules R7 to R13).
	hint := map[syscall.Errno]string{
		syscall.EPERM:  "the license is none that the node accepts",
		syscall.EINVAL: "the node accepts other versions of the interface, or a setting of the device is out of its range",
		syscall.EEXIST: "the node has a device of that name",
		syscall.ENOMEM: "the node has a device of that name, or one that is being released, or no memory",
		syscall.ENOTTY: "this is no scst_user node",
	}[code]
	if hint == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, hint)
}
