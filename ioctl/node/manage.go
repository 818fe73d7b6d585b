package node

import (
	"context"
	"syscall"

	"scstuser/ioctl/abi"
	"scstuser/ucmd"
)

// manage carries out the ioctls that bring nothing back but success.
func (x *request) manage(ctx context.Context) error {
	switch x.Cmd {
	case abi.IoctlUnregisterDevice:
		x.host.opt.Log.WithField("device", x.dev.Desc().Name).
			Warn("UNREGISTER_DEVICE is obsolete: the device is non-blocking from now on and goes when the node is closed")
		x.dev.Unregister() // R15
	case abi.IoctlSetOptions:
		var o abi.Opt
		if err := o.Decode(x.In); err != nil {
			return syscall.EFAULT
		}
		dev := x.dev // x is used again when the caller goes before the end
		return apart(ctx, func() error { return dev.SetOptions(o.Options()) })
	case abi.IoctlFlushCache:
		return apart(ctx, x.dev.FlushCache)
	case abi.IoctlCapacityChanged:
		x.dev.CapacityChanged() // R36
	case abi.IoctlGetExtendedCDB:
		return x.extendedCDB()
	}
	return nil
}

// apart runs what waits for commands to end (rules R16, R35) so that a caller
// who is interrupted can go: without it a killed handler would stay until its
// own commands end, which it was to end. What was begun goes on; doing it twice
// does no harm, so a restart may.
func apart(ctx context.Context, f func() error) error {
	over := make(chan error, 1)
	go func() { over <- f() }()
	select {
	case err := <-over:
		return err
	case <-ctx.Done():
		return syscall.EINTR
	}
}

// getOptions is GET_OPTIONS (rule R16).
func (x *request) getOptions() (int32, syscall.Errno, []byte) {
	out := x.outBuf()
	o := abi.OptOf(x.dev.GetOptions())
	_ = o.Encode(out) // has room
	return 0, 0, out
}

// extendedCDB is GET_EXTENDED_CDB (rule R37).
func (x *request) extendedCDB() error {
	var in abi.GetExtCDB
	if err := in.Decode(x.In); err != nil {
		return syscall.EFAULT
	}
	ext, err := x.dev.ExtendedCDB(in.CmdH)
	if err != nil {
		return err
	}
	if len(ext) > 0 && !writeAll(x.Mem, in.ExtCDBBuffer, ext) {
		return syscall.EFAULT
	}
	if x.rec != nil {
		x.rec.extCDB = ext
	}
	return nil
}

// prealloc is PREALLOC_BUFFER (rule R38, fact 34).
func (x *request) prealloc() (int32, syscall.Errno, []byte) {
	var in abi.PreallocIn
	if err := in.Decode(x.In); err != nil {
		return 0, syscall.EFAULT, nil
	}
	n := int(in.BuffLen)
	b := &x.batch
	if in.PBuf%ucmd.PageSize == 0 && n > 0 && n <= 1<<31-1-ucmd.PageSize {
		b.bring(x, -1, in.PBuf, (n+ucmd.PageSize-1)&^(ucmd.PageSize-1))
		b.load(x)
	}
	handle, err := x.dev.Prealloc(uint64(in.PBuf), n, in.ForClustPool != 0)
	b.dropLeft(x.space)
	if err != nil {
		return 0, x.host.errnoOf(err), nil
	}
	out := x.outBuf()
	answer := abi.PreallocOut{CmdH: handle}
	_ = answer.Encode(out) // has room
	return 0, 0, out
}
