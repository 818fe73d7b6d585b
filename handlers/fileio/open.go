package fileio

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Open opens an image file or a block device. The error is an *OpenError.
// Nothing is created or changed, access times included where the process may
// ask for that.
//
// A block device that is opened for writing is opened exclusively: one that is
// mounted, or part of something that is, is refused as InUse.
func Open(path string, o Options) (*File, error) {
	f, err := open(path, o)
	if err != nil {
		// Not "return f, err": that would make an interface of a nil
		// *OpenError when all is well.
		return nil, err
	}
	return f, nil
}

func open(path string, o Options) (*File, *OpenError) {
	o.EnsureDefaults()
	if !validBlockSize(o.BlockSize) {
		return nil, refuse(path, BadBlockSize, nil,
			"block size %d is not possible: use a power of two from %d to %d",
			o.BlockSize, MinBlockSize, MaxBlockSize)
	}
	// What it is has to be known before it is opened: to open a pipe would
	// wait for its other end, to open a device may do something.
	var st unix.Stat_t
	if err := ignoringEINTR(func() error { return unix.Stat(path, &st) }); err != nil {
		return nil, refuseErrno(path, o, err)
	}
	device, oerr := checkKind(path, &st)
	if oerr != nil {
		return nil, oerr
	}

	flags := unix.O_RDWR
	switch {
	case o.ReadOnly:
		flags = unix.O_RDONLY
	case device:
		flags |= unix.O_EXCL
	}
	if o.Direct {
		flags |= unix.O_DIRECT
	}
	fd, err := openFd(path, flags)
	if err != nil {
		return nil, refuseErrno(path, o, err)
	}
	f := &File{path: path, opts: o, fd: fd, syncFd: -1, device: device, sys: systemKernel}
	f.commit.init(f.datasync)
	if oerr := f.setUp(flags, &st); oerr != nil {
		f.closeFds()
		return nil, oerr
	}
	return f, nil
}

// setUp finishes a File that has its fd. st is what Open decided on.
func (f *File) setUp(flags int, st *unix.Stat_t) *OpenError {
	if err := sameFile(f.fd, st); err != nil {
		return refuse(f.path, Other, err, "%v: try again", err)
	}
	if !f.opts.ReadOnly {
		if f.device && deviceReadOnly(f.fd) { // it opens for writing all the same
			return refuse(f.path, ReadOnlyFile, unix.EROFS, "the device is read-only: %s", makeWritable)
		}
		// The exclusive claim on a device is held by the first.
		fd, err := openFd(f.path, flags&^unix.O_EXCL)
		if err != nil {
			return refuseErrno(f.path, f.opts, err)
		}
		f.syncFd = fd
		if err := sameFile(f.syncFd, st); err != nil {
			return refuse(f.path, Other, err, "%v: try again", err)
		}
	}
	f.align = 1
	if f.opts.Direct {
		align, err := directAlignment(f.fd, f.device)
		if err != nil {
			return refuse(f.path, NoDirect, err,
				"direct I/O is not supported there: leave out --direct")
		}
		f.align = align
	}
	f.learnMedium(st)
	return f.setUpSize()
}

// setUpSize finds the size and objects to one that can't be exported.
func (f *File) setUpSize() *OpenError {
	bytes, err := f.mediumSize()
	if err != nil {
		return refuse(f.path, Other, err, "its size can't be found: %v", err)
	}
	if bytes < int64(f.opts.BlockSize) {
		return refuseEmpty(f.path, f.device, bytes, f.opts.BlockSize)
	}
	f.setSize(bytes)
	// The last blocks would be in a sector that direct I/O can't write
	// without making the file longer.
	if whole := bytes - bytes%int64(f.opts.BlockSize); whole != f.Size() {
		return refuse(f.path, NoDirect, nil,
			"direct I/O there needs a size that is a multiple of %d, not %d: leave out --direct, or change the size",
			f.align, bytes)
	}
	return nil
}

func refuseEmpty(path string, device bool, bytes int64, block int) *OpenError {
	what, do := "it is empty", "give it a size first, for example with truncate -s 64M"
	if device {
		do = "attach a medium to the device first"
	}
	if bytes > 0 {
		what = fmt.Sprintf("its %d bytes are less than one block of %d", bytes, block)
	}
	return refuse(path, Empty, nil, "%s: %s", what, do)
}

// checkKind accepts regular files and block devices.
func checkKind(path string, st *unix.Stat_t) (device bool, _ *OpenError) {
	const want = "give an image file or a block device"
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return false, nil
	case unix.S_IFBLK:
		return true, nil
	case unix.S_IFDIR:
		return false, refuse(path, IsDirectory, unix.EISDIR, "it is a directory: %s", want)
	case unix.S_IFCHR:
		return false, refuse(path, NotRegular, nil, "it is a character device: %s", want)
	case unix.S_IFIFO:
		return false, refuse(path, NotRegular, nil, "it is a pipe: %s", want)
	case unix.S_IFSOCK:
		return false, refuse(path, NotRegular, nil, "it is a socket: %s", want)
	}
	return false, refuse(path, NotRegular, nil, "it is neither a file nor a block device: %s", want)
}

// openFd opens without touching the access time where that is allowed: the
// time's update goes through the file system's journal and can wait, in the
// middle of a read that must not.
func openFd(path string, flags int) (fd int, err error) {
	flags |= unix.O_CLOEXEC | unix.O_NOCTTY
	err = ignoringEINTR(func() error {
		fd, err = unix.Open(path, flags|unix.O_NOATIME, 0)
		if err == unix.EPERM { // neither owner nor privileged
			fd, err = unix.Open(path, flags, 0)
		}
		return err
	})
	return fd, err
}

var errReplaced = errors.New("it was replaced while it was being opened")

// sameFile checks that fd is the file that st was taken from.
func sameFile(fd int, st *unix.Stat_t) error {
	var now unix.Stat_t
	if err := unix.Fstat(fd, &now); err != nil {
		return err
	}
	if now.Dev != st.Dev || now.Ino != st.Ino || now.Rdev != st.Rdev {
		return errReplaced
	}
	return nil
}

const makeWritable = "export it with --read_only, or make it writable"

// refuseErrno says what the errno of a failed stat or open means for this path.
func refuseErrno(path string, o Options, err error) *OpenError {
	switch err {
	case unix.ENOENT:
		return refuse(path, NotFound, err, "there is no such file: check the path (files are not created)")
	case unix.ENOTDIR:
		return refuse(path, NotFound, err, "a part of the path is not a directory: check the path")
	case unix.EISDIR:
		return refuse(path, IsDirectory, err, "it is a directory: give an image file or a block device")
	case unix.EBUSY, unix.ETXTBSY:
		return refuse(path, InUse, err,
			"it is in use (mounted, or held by another program): release it there, or export it with --read_only")
	case unix.EINVAL:
		if o.Direct {
			return refuse(path, NoDirect, err, "direct I/O is not supported there: leave out --direct")
		}
	case unix.EROFS, unix.EACCES, unix.EPERM:
		if !o.ReadOnly && mayRead(path) {
			return refuse(path, ReadOnlyFile, err,
				"%s: %s", whyReadOnly(path, err), makeWritable)
		}
		return refuse(path, Permission, err,
			"permission denied: run as a user who may open it, or change its permissions")
	}
	return refuse(path, Other, err, "%v: check that it can be opened", err)
}

// mayRead asks with the rights that open would use.
func mayRead(path string) bool {
	return unix.Faccessat(unix.AT_FDCWD, path, unix.R_OK, unix.AT_EACCESS) == nil
}

func whyReadOnly(path string, err error) string {
	var st unix.Statx_t
	switch {
	case err == unix.EROFS:
		return "its file system is read-only"
	case unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BASIC_STATS, &st) == nil &&
		st.Attributes&(unix.STATX_ATTR_IMMUTABLE|unix.STATX_ATTR_APPEND) != 0:
		return "it is marked immutable or append-only (see lsattr)"
	}
	return "it may be read but not written"
}
