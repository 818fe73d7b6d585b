package faultfs

import (
	"context"
	"errors"
	"io"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// root is the mount's directory.
type root struct {
	fs.Inode
	s *FS
}

var _ fs.NodeOnAdder = (*root)(nil)

// OnAdd implements fs.NodeOnAdder: the one file.
func (r *root) OnAdd(ctx context.Context) {
	file := r.NewPersistentInode(ctx, &file{s: r.s}, fs.StableAttr{Mode: syscall.S_IFREG})
	r.AddChild(Name, file, false)
}

// file is the file.
type file struct {
	fs.Inode
	s *FS
}

var (
	_ fs.NodeOpener    = (*file)(nil)
	_ fs.NodeGetattrer = (*file)(nil)
	_ fs.NodeSetattrer = (*file)(nil)
)

// Open implements fs.NodeOpener.
func (f *file) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	var flags uint32 = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_PARALLEL_DIRECT_WRITES
	if f.s.o.Cached {
		flags = fuse.FOPEN_KEEP_CACHE
	}
	return &openFile{f.s}, flags, 0
}

// Getattr implements fs.NodeGetattrer.
func (f *file) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	var st unix.Stat_t
	if err := unix.Fstat(f.s.fd(), &st); err != nil {
		return errnoOf(err)
	}
	out.Mode = syscall.S_IFREG | 0o600
	out.Size = uint64(st.Size)
	out.Blocks = uint64(st.Blocks)
	out.Blksize = uint32(st.Blksize)
	return 0
}

// Setattr implements fs.NodeSetattrer. Times and modes are of no interest; the
// size is the backing's own.
func (f *file) Setattr(ctx context.Context, h fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if _, ok := in.GetSize(); ok {
		return syscall.EPERM
	}
	return f.Getattr(ctx, h, out)
}

// openFile is one open of the file.
type openFile struct{ s *FS }

var (
	_ fs.FileReader    = (*openFile)(nil)
	_ fs.FileWriter    = (*openFile)(nil)
	_ fs.FileFsyncer   = (*openFile)(nil)
	_ fs.FileAllocater = (*openFile)(nil)
	_ fs.FileLseeker   = (*openFile)(nil)
)

// Read implements fs.FileReader.
func (o *openFile) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	left, _, errno := o.s.suffer(Read, o, off, int64(len(dest)))
	if errno != 0 {
		return nil, errno
	}
	n, err := o.s.o.Backing.ReadAt(dest[:left], off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errnoOf(err)
	}
	return fuse.ReadResultData(dest[:n]), 0
}

// Write implements fs.FileWriter.
func (o *openFile) Write(_ context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	left, lose, errno := o.s.suffer(Write, o, off, int64(len(data)))
	if errno != 0 || lose {
		return uint32(left), errno
	}
	n, err := o.s.o.Backing.WriteAt(data[:left], off)
	return uint32(n), errnoOf(err)
}

// Fsync implements fs.FileFsyncer. The backing needs none: it outlives a server
// that is killed.
func (o *openFile) Fsync(context.Context, uint32) syscall.Errno {
	_, _, errno := o.s.suffer(Sync, o, 0, 0)
	return errno
}

// Allocate implements fs.FileAllocater.
func (o *openFile) Allocate(_ context.Context, off, size uint64, mode uint32) syscall.Errno {
	op := Zero
	if mode&unix.FALLOC_FL_PUNCH_HOLE != 0 {
		op = Punch
	}
	if _, _, errno := o.s.suffer(op, o, int64(off), int64(size)); errno != 0 {
		return errno
	}
	return errnoOf(unix.Fallocate(o.s.fd(), mode, int64(off), int64(size)))
}

// Lseek implements fs.FileLseeker.
func (o *openFile) Lseek(_ context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	if _, _, errno := o.s.suffer(Map, o, int64(off), 1); errno != 0 {
		return 0, errno
	}
	// The backing's own offset is used for nothing.
	n, err := unix.Seek(o.s.fd(), int64(off), int(whence))
	return uint64(n), errnoOf(err)
}

// fd is the backing's. Fd would make it a blocking one; a regular file is.
func (s *FS) fd() int { return int(s.o.Backing.Fd()) }

// errnoOf is the errno of a system call.
func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &errno):
		return errno
	}
	return syscall.EIO
}
