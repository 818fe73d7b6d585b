package ucmd

import (
	"syscall"

	"scstuser/target"
)

// Prealloc gives the device a buffer before any command needs one (rule R38,
// fact 34). It becomes an idle buffer of the plain or the clustered pool; the
// returned handle comes back with its ON_CACHED_MEM_FREE, at once if the
// buffer is larger than what the pool keeps. EINVAL: not page aligned; EFAULT:
// not the handler's memory; ENOMEM: the length does not fill a size class, or
// the pool's limit is reached; ENODEV: the device is being released. Each call
// uses up a handle.
func (d *Device) Prealloc(addr uint64, n int, clust bool) (h uint32, err error) {
	d.mu.Lock()
	if d.released {
		d.mu.Unlock()
		return 0, syscall.ENODEV
	}
	u := d.newUcmd(StateNew)
	u.since = target.Now()
	u.buffCached = true
	u.clust = clust && d.clust != nil
	h = u.h
	d.mu.Unlock()

	err = d.preallocBuffer(u, addr, n)

	d.mu.Lock()
	d.put(u, OwnerCreation)
	d.mu.Unlock()
	return h, err
}

func (d *Device) preallocBuffer(u *Ucmd, addr uint64, n int) error {
	switch {
	case addr%PageSize != 0:
		return errEINVAL
	case n <= 0 || n > d.maxAlloc:
		return errENOMEM
	}
	n = pageAlign(n)
	if err := d.mapBuf(u, addr, n); err != nil {
		return err
	}
	pool := d.poolOf(u.clust)
	if pool.AllocLen(n) != n {
		d.unmap(u) // the module leaves the pages behind here
		return errENOMEM
	}
	u.obj = pool.GetEmpty(n)
	filled := d.fillObject(u)
	if !filled {
		d.unmap(u)
	}
	obj := u.obj
	u.obj, u.bufUcmd = nil, nil
	pool.Put(obj, filled)
	if !filled {
		return errENOMEM
	}
	return nil
}
