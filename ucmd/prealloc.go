package ucmd

import "syscall"

// Prealloc gives the device a buffer before any command needs one (rule R38,
// fact 34). It becomes an idle buffer of the plain or the clustered pool; the
// returned handle comes back with its ON_CACHED_MEM_FREE. EINVAL: not page
// aligned; EFAULT: not the handler's memory; ENOMEM: the length does not fill
// a size class, or the pool's limit is reached. Each call uses up a handle.
func (d *Device) Prealloc(addr uint64, n int, clust bool) (h uint32, err error) {
	d.mu.Lock()
	if d.released {
		d.mu.Unlock()
		return 0, syscall.ENODEV
	}
	u := d.newUcmd(StateNew)
	u.buffCached = true
	u.clust = clust && d.clust != nil
	h = u.h
	d.mu.Unlock()
	defer func() {
		d.putUnlocked(u, OwnerCreation)
		d.kick()
	}()
	switch {
	case addr%PageSize != 0:
		return h, errEINVAL
	case n <= 0:
		return h, errENOMEM
	}
	pages := pageAlign(n)
	if err := d.mapBuf(u, addr, pages); err != nil {
		return h, err
	}
	pool := d.poolOf(u)
	if pool.AllocLen(pages) != pages {
		d.unmap(u) // the module leaves the pages behind here
		return h, errENOMEM
	}
	obj := pool.GetEmpty(pages)
	u.obj = obj
	if !d.fillObject(u) {
		u.obj = nil
		pool.Put(obj, false)
		d.unmap(u)
		return h, errENOMEM
	}
	u.obj = nil
	pool.Put(obj, true)
	return h, nil
}
