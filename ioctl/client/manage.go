package client

import (
	"encoding/binary"
	"fmt"
	"os"

	"scstuser/ioctl/abi"
	"scstuser/ucmd"
)

// do makes one of the ioctls that are no exchange of commands. in writes its
// argument, out reads it; nil is none.
func (d *Device) do(nr abi.Ioctl, in func(*frame) error, out func([]byte) error) error {
	f, err := d.enter()
	if err != nil {
		return err
	}
	defer d.leave(f)
	if in != nil {
		if err := in(f); err != nil {
			return d.errorf(nr.String(), err)
		}
	}
	if errno := d.sys.ioctl(d.fd, nr, f.at(0)); errno != 0 {
		return d.failed(nr, errno)
	}
	if out != nil {
		return out(f.mem)
	}
	return nil
}

// GetOptions returns the options as they were registered or last set by
// SetOptions. It implements handlers.OptionsPort.
func (d *Device) GetOptions() ucmd.Opt {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.opt
}

// Options asks the node for the options in force (rule R16).
func (d *Device) Options() (ucmd.Opt, error) {
	var x abi.Opt
	err := d.do(abi.IoctlGetOptions, nil, func(b []byte) error { return x.Decode(b) })
	return x.Options(), err
}

// SetOptions changes the options for subsequent commands (rules R16 to R20). It
// waits until the device's commands have ended, so others must go on serving;
// EBUSY if they don't end in time, EINVAL for what can't be.
func (d *Device) SetOptions(o ucmd.Opt) error {
	x := abi.OptOf(o)
	if err := d.do(abi.IoctlSetOptions, func(f *frame) error { return x.Encode(f.mem) }, nil); err != nil {
		return err
	}
	d.mu.Lock()
	d.opt = o
	d.mu.Unlock()
	return nil
}

// FlushCache makes the node give every idle buffer back, with
// ON_CACHED_MEM_FREE (rule R35). It waits until the device's commands have
// ended, so others must go on serving; EBUSY if they don't end in time.
func (d *Device) FlushCache() error { return d.do(abi.IoctlFlushCache, nil, nil) }

// CapacityChanged makes the node tell every session that the capacity has
// changed (rule R36).
func (d *Device) CapacityChanged() error { return d.do(abi.IoctlCapacityChanged, nil, nil) }

// Prealloc gives the node n bytes at addr, memory of an arena.Arena, for its
// plain or its clustered pool; handle is that of the later ON_CACHED_MEM_FREE
// (rule R38). After an error the buffer is still the caller's. It implements
// handlers.Preallocator.
func (d *Device) Prealloc(addr uint64, n int, clust bool) (handle uint32, err error) {
	x := abi.PreallocIn{PBuf: abi.Addr(addr), BuffLen: uint32(n)}
	if clust {
		x.ForClustPool = 1
	}
	err = d.do(abi.IoctlPreallocBuffer,
		func(f *frame) error {
			if n < 0 || int64(n) > 1<<32-1 {
				return fmt.Errorf("a buffer of %d bytes: the length must fit 32 bits", n)
			}
			return x.Encode(f.mem)
		},
		func(b []byte) error {
			handle = binary.LittleEndian.Uint32(b)
			return nil
		})
	return handle, err
}

// ExtendedCDB returns the bytes of a command's CDB beyond the first 16, none if
// it is not longer; only while its subcommand is with the handler (rule R37). It
// implements handlers.ExtendedCDBPort.
func (d *Device) ExtendedCDB(handle uint32) (rest []byte, err error) {
	d.mu.Lock()
	n := d.long[handle]
	d.mu.Unlock()
	if n == 0 {
		return nil, nil
	}
	// A CDB may be longer than a frame.
	addr, err := d.frames.Alloc(n)
	if err != nil {
		return nil, d.errorf("make room for a CDB", err)
	}
	defer func() { _ = d.frames.Free(addr) }()
	x := abi.GetExtCDB{CmdH: handle, ExtCDBBuffer: abi.Addr(addr)}
	err = d.do(abi.IoctlGetExtendedCDB,
		func(f *frame) error { return x.Encode(f.mem) },
		func([]byte) error {
			rest = append(rest, d.frames.Bytes(addr, n)...)
			return nil
		})
	return rest, err
}

// rememberLong keeps how long a CDB is: GET_EXTENDED_CDB does not tell.
func (d *Device) rememberLong(s *ucmd.Subcommand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.long == nil {
		d.long = make(map[uint32]int)
	}
	d.long[s.Handle] = int(s.CDBLen) - len(s.CDB)
}

// forgetLong drops what was kept of commands that are not with the handler any
// more.
func (d *Device) forgetLong(replies []ucmd.Reply) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.long) == 0 {
		return
	}
	for i := range replies {
		delete(d.long, replies[i].Handle)
	}
}

// openError adds to an error of open what to do about it.
func openError(path string, err error) error {
	hint := "is it an scst_user node?"
	switch {
	case os.IsNotExist(err):
		hint = "start its host, or load the scst_user kernel module"
	case os.IsPermission(err):
		hint = "run as its owner"
	}
	return fmt.Errorf("open the scst_user node %s: %w; %s", path, err, hint)
}
