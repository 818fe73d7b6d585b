package node

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"scstuser/ioctl/abi"
	"scstuser/ucmd"
)

// register is REGISTER_DEVICE (rules R7 to R14). After an error the name is
// free (R13).
func (f *File) register(ctx context.Context, c *Call) error {
	f.mu.Lock()
	if f.registering || f.att != nil {
		f.mu.Unlock()
		return fmt.Errorf("this open file has a device already; open the node again for another one: %w", syscall.EINVAL) // R9
	}
	f.registering = true
	f.mu.Unlock()
	a, err := f.makeDevice(ctx, c)
	f.mu.Lock()
	f.registering = false
	f.att = a
	closed := f.closed
	f.mu.Unlock()
	if err == nil && closed { // the host was closed meanwhile
		a.dev.Release()
		a.cancel()
		return syscall.ENODEV
	}
	return err
}

func (f *File) makeDevice(ctx context.Context, c *Call) (*attended, error) {
	var x abi.DevDesc
	if err := x.Decode(c.In); err != nil {
		return nil, syscall.EFAULT
	}
	h := f.host
	if err := h.checkIdentity(c.Mem, &x); err != nil {
		return nil, err
	}
	desc := x.Desc(f.nonBlocking)
	a := newAttended(f)
	a.name = desc.Name
	if err := h.reserve(ctx, desc.Name, a); err != nil {
		return nil, err
	}
	a.space = h.joinSpace(c.Mem, desc.SGVShared)
	var obs ucmd.Observer
	if h.opt.Observe != nil {
		obs = h.opt.Observe(desc)
	}
	var err error
	a.dev, err = h.reg.Register(desc, a.space, obs)
	if a.former != nil && errors.Is(err, syscall.EEXIST) && within(ctx, nameWait, a.former.over) {
		// Its wait was over at this very moment.
		a.dev, err = h.reg.Register(desc, a.space, obs)
	}
	if err != nil {
		a.cancel()
		h.leaveSpace(a.space)
		h.refuse(a)
		close(a.over)
		return nil, err
	}
	if f := a.former; f != nil && f.dev.Target() == a.dev.Target() {
		a.service = f.service
	} else {
		a.service = h.serve(a.dev)
	}
	go h.attend(a)
	return a, nil
}

// checkIdentity reads and judges license and version, in this order (R7, F9).
func (h *Host) checkIdentity(m CallerMemory, x *abi.DevDesc) error {
	license, ok := readString(m, x.LicenseStr, abi.StringMax)
	if !ok {
		return fmt.Errorf("register: license_str is not readable: %w", syscall.EFAULT)
	}
	if err := abi.CheckLicense(abi.CString(license)); err != nil {
		return err
	}
	version, ok := readString(m, x.VersionStr, abi.StringMax)
	if !ok {
		return fmt.Errorf("register: version_str is not readable: %w", syscall.EFAULT)
	}
	known, err := abi.CheckIdentity(license, version, &h.opt.Versions)
	if err != nil {
		return err
	}
	if v := abi.CString(version); !known {
		if _, told := h.unknown.LoadOrStore(v, nil); !told {
			h.opt.Log.WithField("version", v).Warn("a handler was built with headers that this program was not checked against; accepted by its release")
		}
	}
	return nil
}
