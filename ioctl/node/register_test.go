package node

import (
	"context"
	"syscall"
	"testing"
	"time"

	"scstuser/ioctl/abi"
	"scstuser/ucmd"
)

// Rules R7 to R9, R12, facts 2, 4 to 7.
func TestR7Register(t *testing.T) {
	text := func(r *rig, s string) abi.Addr { return r.mem.put([]byte(s + "\x00")) }
	for _, x := range []struct {
		name   string
		change func(r *rig, d *abi.DevDesc)
		want   syscall.Errno
	}{
		{"good", func(*rig, *abi.DevDesc) {}, 0},
		{"license", func(r *rig, d *abi.DevDesc) { d.LicenseStr = text(r, "MIT") }, syscall.EPERM},
		{"dual license", func(r *rig, d *abi.DevDesc) { d.LicenseStr = text(r, "Dual BSD/GPL") }, 0},
		{"version", func(r *rig, d *abi.DevDesc) { d.VersionStr = text(r, "2.0") }, syscall.EINVAL},
		{"license before version", func(r *rig, d *abi.DevDesc) {
			d.LicenseStr, d.VersionStr = text(r, "MIT"), text(r, "2.0")
		}, syscall.EPERM},
		{"license before an unreadable version", func(r *rig, d *abi.DevDesc) { d.LicenseStr, d.VersionStr = text(r, "MIT"), 0 }, syscall.EPERM},
		{"unreadable license", func(r *rig, d *abi.DevDesc) { d.LicenseStr = 8 }, syscall.EFAULT},
		{"null license", func(r *rig, d *abi.DevDesc) { d.LicenseStr = 0 }, syscall.EFAULT},
		{"unreadable version", func(r *rig, d *abi.DevDesc) { d.VersionStr = ^abi.Addr(0) - 3 }, syscall.EFAULT},
		{"string at the end of its memory", func(r *rig, d *abi.DevDesc) {
			at := r.mem.alloc(pageSize) + pageSize - 4
			r.mem.set(at, []byte("GPL\x00"))
			d.LicenseStr = at
		}, 0},
		{"string without an end", func(r *rig, d *abi.DevDesc) {
			at := r.mem.alloc(pageSize) + pageSize - 3
			r.mem.set(at, []byte("GPL"))
			d.LicenseStr = at
		}, syscall.EFAULT},
		{"block size 0", func(_ *rig, d *abi.DevDesc) { d.BlockSize = 0 }, syscall.EINVAL},
		{"block size 256", func(_ *rig, d *abi.DevDesc) { d.BlockSize = 256 }, syscall.EINVAL},
		{"block size 520", func(_ *rig, d *abi.DevDesc) { d.BlockSize = 520 }, syscall.EINVAL},
		{"block size of a tape", func(_ *rig, d *abi.DevDesc) { d.Type, d.BlockSize = 1, 0 }, 0},
		{"option", func(_ *rig, d *abi.DevDesc) { d.Opt.QErr = 2 }, syscall.EINVAL},
		{"empty name", func(_ *rig, d *abi.DevDesc) { d.Name = "" }, syscall.ENOMEM},
		{"slash", func(_ *rig, d *abi.DevDesc) { d.Name = "a/b" }, syscall.EINVAL},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newRig(t, Options{}, true)
			d := r.desc()
			x.change(r, &d)
			r.do(abi.IoctlRegisterDevice, r.encode(&d, abi.SizeDevDesc), x.want)
			if (r.file.Device() != nil) != (x.want == 0) {
				t.Error("the file has a device after an error, or none without one")
			}
			// R13: an error leaves nothing behind.
			if x.want != 0 {
				d := r.desc()
				r.do(abi.IoctlRegisterDevice, r.encode(&d, abi.SizeDevDesc), 0)
			}
		})
	}
}

// R6, facts 3: before REGISTER there is nothing, and what is no ioctl of the
// interface is EINVAL.
func TestR6BeforeRegister(t *testing.T) {
	r := newRig(t, Options{}, true)
	for _, cmd := range []abi.Ioctl{
		abi.IoctlUnregisterDevice, abi.IoctlSetOptions, abi.IoctlGetOptions, abi.IoctlReplyAndGetCmd, abi.IoctlReplyCmd,
		abi.IoctlFlushCache, abi.IoctlCapacityChanged, abi.IoctlGetExtendedCDB, abi.IoctlPreallocBuffer, abi.IoctlReplyAndGetMulti,
	} {
		r.do(cmd, make([]byte, cmd.Size()), syscall.ENODEV)
	}
	for _, cmd := range []abi.Ioctl{0, 0x750c, 0xC0207505, 0x5401, abi.IoctlFlushCache | 0x80000000} {
		r.do(cmd, make([]byte, cmd.Size()), syscall.EINVAL)
	}
}

// R9, R14: one device per open file, several files, names are taken once.
func TestR9Duplicates(t *testing.T) {
	r := registered(t, Options{}, true, nil)
	d := r.desc()
	d.Name = "other"
	r.do(abi.IoctlRegisterDevice, r.encode(&d, abi.SizeDevDesc), syscall.EINVAL)
	first := r.file
	second := r.host.Open(true, 1)
	defer second.Close(1)
	r.file = second
	d.Name = "disk1"
	r.do(abi.IoctlRegisterDevice, r.encode(&d, abi.SizeDevDesc), syscall.EEXIST)
	d.Name = "other"
	r.do(abi.IoctlRegisterDevice, r.encode(&d, abi.SizeDevDesc), 0)
	if n := len(r.host.Devices()); n != 2 {
		t.Errorf("%d devices, want 2", n)
	}
	r.file = first
}

// R72, fact 8: the name of a closed device can be had again at once.
func TestR72NameAgain(t *testing.T) {
	r := registered(t, Options{}, true, nil)
	for range 20 {
		r.file.Close(1)
		r.file = r.host.Open(true, 1)
		d := r.desc()
		r.do(abi.IoctlRegisterDevice, r.encode(&d, abi.SizeDevDesc), 0)
	}
}

// A host that serves hears of each device, and holds the name until it is done.
func TestServe(t *testing.T) {
	came, gone := make(chan string, 1), make(chan string, 1)
	r := registered(t, Options{Serve: func(ctx context.Context, d *ucmd.Device) {
		came <- d.Desc().Name
		<-ctx.Done()
		gone <- d.Desc().Name
	}}, true, nil)
	select {
	case <-came:
		t.Error("served before the handler asks for commands")
	case <-time.After(20 * time.Millisecond):
	}
	r.do(abi.IoctlReplyAndGetCmd, make([]byte, abi.SizeGetCmd), syscall.EAGAIN)
	if s := <-came; s != "disk1" {
		t.Errorf("%s came", s)
	}
	r.file.Close(1)
	if s := <-gone; s != "disk1" {
		t.Errorf("%s is gone", s)
	}
	<-r.file.att.over
	if n := len(r.host.Devices()); n != 0 {
		t.Errorf("%d devices are left", n)
	}
}

// A limit on devices, and a host that is closing.
func TestRegisterLimits(t *testing.T) {
	r := registered(t, Options{MaxDevices: 1}, true, nil)
	second := r.host.Open(true, 1)
	first := r.file
	r.file = second
	d := r.desc()
	d.Name = "other"
	r.do(abi.IoctlRegisterDevice, r.encode(&d, abi.SizeDevDesc), syscall.ENOMEM)
	if err := r.host.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	r.do(abi.IoctlRegisterDevice, r.encode(&d, abi.SizeDevDesc), syscall.ENODEV)
	r.file = first
	r.do(abi.IoctlUnregisterDevice, nil, syscall.ENODEV)
}

// R11: devices of one process share a pool if they ask for it.
func TestR11SharedPool(t *testing.T) {
	r := newRig(t, Options{}, true)
	d := r.desc()
	d.SGVName, d.SGVShared = "pool", 1
	r.do(abi.IoctlRegisterDevice, r.encode(&d, abi.SizeDevDesc), 0)
	first := r.file
	r.file = r.host.Open(true, 1)
	defer r.file.Close(1)
	d.Name = "disk2"
	r.do(abi.IoctlRegisterDevice, r.encode(&d, abi.SizeDevDesc), 0)
	if first.att.space != r.file.att.space {
		t.Error("the devices of one process have different spaces")
	}
	// Another process can't.
	other := &rig{t: t, host: r.host, file: r.host.Open(true, 1), mem: newMemory()}
	defer other.file.Close(1)
	other.arg = other.mem.alloc(pageSize)
	d = other.desc()
	d.Name, d.SGVName, d.SGVShared = "disk3", "pool", 1
	other.do(abi.IoctlRegisterDevice, other.encode(&d, abi.SizeDevDesc), syscall.EEXIST)
	r.file = first
}
