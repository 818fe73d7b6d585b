package kernel

import (
	"context"
	"errors"
	"fmt"
)

// Resize asks the server for the size of an export that has grown, and tells the
// kernel, which has device attached to it by netlink. File systems on it stay
// mounted. It returns the size of the device, in bytes. opt is as for Attach;
// connections and timeouts do not matter. ctx bounds it.
func Resize(ctx context.Context, t Target, device string, opt Options) (uint64, error) {
	index, err := indexOf(device)
	if err != nil {
		return 0, err
	}
	dial, err := dialTarget(t, opt)
	if err != nil {
		return 0, err
	}
	f, err := open()
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return resize(ctx, f, index, t.Export, opt, dial)
}

// resize is Resize on a family.
func resize(ctx context.Context, f *family, index uint32, export string, opt Options, dial dialer) (uint64, error) {
	a := &Attachment{f: f, opt: opt, export: export, dial: dial}
	defer a.stopRelays()
	c, info, err := a.connection(ctx)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	d, err := info.disk(index, opt)
	if err != nil {
		return 0, err
	}
	return d.size, f.resize(&d)
}

// errNotNetlink explains why a device can't be resized.
var errNotNetlink = errors.New("it is not attached, or not by netlink (with --ioctl): detach it and attach it again")

// resize tells the kernel the size of a device, and the flags of its export.
func (f *family) resize(d *disk) error {
	b := appendU32(nil, attrIndex, d.index)
	b = appendU64(b, attrSize, d.size)
	_, err := f.request(cmdReconfigure, familyVersion, b)
	if err != nil {
		return fmt.Errorf("resize /dev/nbd%d (%w): %w", d.index, errNotNetlink, err)
	}
	return nil
}
