package fileio

import "scstuser/handlers"

// inlineWriteMax is the longest write that TryWriteAt does, in bytes: a copy of
// some 100 us, which the other requests of the connection wait for. On another
// goroutine it would be made from a cold processor cache.
const inlineWriteMax = 1 << 20

// TryReadAt fills p if all of it is in the page cache; otherwise, and always
// with Options.Direct, it returns handlers.ErrWouldBlock and has perhaps
// scribbled on p. ErrRange is the only other error: any real one is for
// ReadAt to find.
//
// On tmpfs and ramfs there is no RWF_NOWAIT, but there is no device to wait
// for either: it is a plain read there. (A tmpfs page may be in swap; a server
// whose images are swapped out has worse problems.)
func (f *File) TryReadAt(p []byte, off int64) error {
	if err := f.checkRange("read", off, int64(len(p))); err != nil {
		return err
	}
	if len(p) == 0 {
		return nil
	}
	var n int
	var err error
	switch {
	case f.opts.Direct:
		return handlers.ErrWouldBlock
	case f.memory:
		n, err = f.sys.readMemory(f.fd, p, off)
	case f.noNowaitRead.Load():
		return handlers.ErrWouldBlock
	default:
		n, err = f.sys.readNowait(f.fd, p, off)
		if unsupported(err) {
			f.noNowaitRead.Store(true)
		}
	}
	if err != nil || n != len(p) {
		return handlers.ErrWouldBlock
	}
	return nil
}

// TryWriteAt copies p into the page cache. It returns handlers.ErrWouldBlock
// where that would wait, for writes beyond 1 MiB, and always with
// Options.Direct or WriteThrough, and on the foreign file systems; the first bytes of p may have been written
// then, and WriteAt will write them again. Other errors are ErrRange and
// ErrReadOnly: any real one is for WriteAt to find.
//
// File systems that know RWF_NOWAIT for writes are asked with it. Others (ext4
// is one) refuse it, and there a plain write is done. It waits for no data
// from the device, because a page that the write covers only in part, and that
// would be read first, is required to be in memory. Two waits remain
// possible: the file system's journal may be between two transactions, and a
// process that dirties pages faster than the device takes them is put to sleep
// for some milliseconds at a time (balance_dirty_pages). A write that took more
// than 2 ms is taken for one of them, and for the next 100 ms writes are left
// to WriteAt (patience.go).
func (f *File) TryWriteAt(p []byte, off int64) error {
	if err := f.checkChange("write", off, int64(len(p))); err != nil {
		return err
	}
	if len(p) == 0 {
		return nil
	}
	if f.opts.Direct || f.opts.WriteThrough || f.foreign || len(p) > inlineWriteMax {
		return handlers.ErrWouldBlock
	}
	if f.memory {
		quick := len(p) <= quickMax
		if !quick {
			f.holders.Add(1)
			defer f.holders.Add(-1)
		}
		n, err := f.sys.writeMemory(f.fd, p, off, quick && f.holders.Load() == 0)
		return allOrBlock(n, len(p), err)
	}
	if !f.noNowaitWrite.Load() {
		n, err := f.sys.writeNowait(f.fd, p, off)
		if !unsupported(err) {
			return allOrBlock(n, len(p), err)
		}
		f.noNowaitWrite.Store(true)
	}
	if !f.edgesInMemory(off, int64(len(p))) {
		return handlers.ErrWouldBlock
	}
	start := now()
	if f.patience.busy(start) {
		return handlers.ErrWouldBlock
	}
	n, err := f.sys.pwrite(f.fd, p, off)
	f.patience.took(start, now())
	return allOrBlock(n, len(p), err)
}

func allOrBlock(n, want int, err error) error {
	if err != nil || n != want {
		return handlers.ErrWouldBlock
	}
	return nil
}

// edgesInMemory says whether the pages that a write would cover only in part
// are in the page cache.
func (f *File) edgesInMemory(off, n int64) bool {
	first, last := off&^(f.cacheUnit-1), (off+n-1)&^(f.cacheUnit-1)
	if off != first && !f.inMemory(off) {
		return false
	}
	if off+n == last+f.cacheUnit || (last == first && off != first) {
		return true
	}
	return f.inMemory(off + n - 1)
}

// inMemory says whether the page cache has the byte at off.
func (f *File) inMemory(off int64) bool {
	if f.noNowaitRead.Load() {
		return false
	}
	// Not through f.sys: that would move b to the heap, once per write.
	var b [1]byte
	n, err := readNowait(f.fd, b[:], off)
	if unsupported(err) {
		f.noNowaitRead.Store(true)
	}
	return err == nil && n == 1
}
