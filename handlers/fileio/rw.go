package fileio

import (
	"io"

	"golang.org/x/sys/unix"
)

// ReadAt fills p from off. It returns fewer bytes than len(p) only with an
// error: ErrRange, ErrTruncated, or the errno of the system call, wrapped.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if err := f.checkRange("read", off, int64(len(p))); err != nil {
		return 0, err
	}
	var n int
	var err error
	if f.opts.Direct {
		n, err = f.readDirect(p, off)
	} else {
		n, err = f.readFull(p, off)
	}
	if err != nil {
		return n, f.failed("read", off, int64(len(p)), err)
	}
	return n, nil
}

// readFull is pread until p is full.
func (f *File) readFull(p []byte, off int64) (done int, err error) {
	for done < len(p) {
		n, err := f.sys.pread(f.fd, p[done:], off+int64(done))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return done, err
		default:
			if n = f.advance(n, len(p)-done); n == 0 {
				return done, ErrTruncated
			}
			done += n
		}
	}
	return done, nil
}

// advance is how far a system call got that moved n of the left bytes: n, or
// with O_DIRECT, which can go on only from an aligned place, as much of it as
// ends at one. To move some bytes twice does no harm.
func (f *File) advance(n, left int) int {
	if n < left {
		n -= n % f.align
	}
	return n
}

// WriteAt writes all of p at off, durably if Options.WriteThrough is set. An
// error comes with the number of bytes that were written before it: ErrRange,
// ErrReadOnly, or the errno, wrapped. It never writes beyond Size.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	return f.write(p, off, f.opts.WriteThrough)
}

// WriteAtDurable is WriteAt that returns when the bytes are stable, which costs
// less than WriteAt and Sync since it waits for its own bytes only. It fails
// like Sync once Sync has failed. With Options.NVCache it is WriteAt.
//
// When its durable part fails, that counts as a failed Sync (see Sync, also for
// what the error wraps), except
// that ENOSPC, EDQUOT, EFBIG, EINVAL and ENOMEM don't: they mean that bytes
// were refused. Should they mean that bytes were taken and then lost, the next
// Sync is told so by the kernel itself, having an open file of its own.
func (f *File) WriteAtDurable(p []byte, off int64) (int, error) {
	return f.write(p, off, f.opts.WriteThrough || !f.opts.NVCache)
}

func (f *File) write(p []byte, off int64, durable bool) (int, error) {
	if err := f.checkChange("write", off, int64(len(p))); err != nil {
		return 0, err
	}
	if durable {
		if err := f.commit.failure(); err != nil {
			return 0, err
		}
	}
	var n int
	var err error
	if f.opts.Direct {
		n, err = f.writeDirect(p, off, durable)
	} else {
		n, err = f.writeFull(p, off, durable)
	}
	if err != nil {
		return n, f.failed("write", off, int64(len(p)), err)
	}
	return n, nil
}

// writeFull is pwrite until all of p is written, and stable if durable.
func (f *File) writeFull(p []byte, off int64, durable bool) (done int, err error) {
	if len(p) > quickMax {
		f.holders.Add(1)
		defer f.holders.Add(-1)
	}
	for done < len(p) {
		dsync := durable && !f.noDsync.Load()
		pwrite := f.sys.pwrite
		if dsync {
			pwrite = f.sys.pwriteDsync
		}
		n, err := pwrite(f.fd, p[done:], off+int64(done))
		switch {
		case err == unix.EINTR:
		case dsync && unsupported(err):
			f.noDsync.Store(true)
		case err != nil:
			if dsync && !refusal(err) {
				err = f.lost(err)
				f.commit.fail(err)
			}
			return done, err
		default:
			if n = f.advance(n, len(p)-done); n == 0 {
				return done, io.ErrShortWrite
			}
			done += n
		}
	}
	if durable && f.noDsync.Load() {
		// Also when only the last part was written without RWF_DSYNC.
		return done, f.commit.wait()
	}
	return done, nil
}

// refusal says whether an errno of a durable write means that the bytes were
// not taken, rather than taken and not made stable.
func refusal(err error) bool {
	switch err {
	case unix.ENOSPC, unix.EDQUOT, unix.EFBIG, unix.EINVAL, unix.ENOMEM:
		return true
	}
	return false
}
