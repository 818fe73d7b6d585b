package fusenode

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"scstuser/scsi"
)

// lunNode is devices/NAME/lun.
type lunNode struct {
	fs.Inode
	disk *disk
}

var (
	_ fs.NodeOpener    = (*lunNode)(nil)
	_ fs.NodeGetattrer = (*lunNode)(nil)
	_ fs.NodeSetattrer = (*lunNode)(nil)
	_ fs.NodeStatfser  = (*lunNode)(nil)
)

// lunUnit is what lun is best read, written and punched in units of, in bytes.
const lunUnit = 4096

// attr fills in the attributes.
func (n *lunNode) attr(out *fuse.AttrOut, size int64) {
	out.Mode = syscall.S_IFREG | 0o600
	out.Size = uint64(size)
	out.Blocks = (out.Size + 511) / 512
	out.Blksize = lunUnit
}

// Getattr implements fs.NodeGetattrer. A device that can't tell its size has
// none.
func (n *lunNode) Getattr(ctx context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	size, err := n.disk.size(ctx)
	if errno := errnoOf(err); errno == syscall.EINTR {
		return errno
	}
	n.attr(out, size)
	return 0
}

// Statfs implements fs.NodeStatfser. A loop device takes its discard granularity
// from here, and can't discard if there is none.
func (n *lunNode) Statfs(ctx context.Context, out *fuse.StatfsOut) syscall.Errno {
	size, err := n.disk.size(ctx)
	if errno := errnoOf(err); errno == syscall.EINTR {
		return errno
	}
	out.Bsize, out.Frsize, out.NameLen = lunUnit, lunUnit, 255
	out.Blocks = uint64(size) / lunUnit
	return 0
}

// Setattr implements fs.NodeSetattrer. The size is the device's: truncation on
// open (O_TRUNC, > in a shell) is taken to mean nothing, another size is
// refused.
func (n *lunNode) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if in.Valid&(fuse.FATTR_MODE|fuse.FATTR_UID|fuse.FATTR_GID) != 0 {
		return syscall.EPERM
	}
	if size, ok := in.GetSize(); ok && size != 0 {
		now, err := n.disk.size(ctx)
		if err != nil {
			return errnoOf(err)
		}
		if int64(size) != now {
			return syscall.EPERM
		}
	}
	return n.Getattr(ctx, f, out)
}

// Open implements fs.NodeOpener: the initiator attaches for as long as the file
// is open.
func (n *lunNode) Open(ctx context.Context, _ uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if err := n.disk.enter(ctx); err != nil {
		return nil, 0, errnoOf(err)
	}
	if _, err := n.disk.capacity(ctx); err != nil {
		n.disk.leave()
		return nil, 0, errnoOf(err)
	}
	return &lunFile{n.disk}, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_PARALLEL_DIRECT_WRITES, 0
}

// lunFile is an open lun.
type lunFile struct{ disk *disk }

var (
	_ fs.FileReader    = (*lunFile)(nil)
	_ fs.FileWriter    = (*lunFile)(nil)
	_ fs.FileFsyncer   = (*lunFile)(nil)
	_ fs.FileAllocater = (*lunFile)(nil)
	_ fs.FileLseeker   = (*lunFile)(nil)
	_ fs.FileReleaser  = (*lunFile)(nil)
)

// Release implements fs.FileReleaser.
func (f *lunFile) Release(context.Context) syscall.Errno {
	f.disk.leave()
	return 0
}

// Fsync implements fs.FileFsyncer: SYNCHRONIZE CACHE of everything (I6).
func (f *lunFile) Fsync(ctx context.Context, _ uint32) syscall.Errno {
	_, err := f.disk.do(ctx, scsi.EncodeSyncCache16(0, 0), nil)
	return errnoOf(err)
}

// Read implements fs.FileReader.
func (f *lunFile) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	c, err := f.disk.capacity(ctx)
	if err != nil {
		return nil, errnoOf(err)
	}
	n, err := f.disk.readAt(ctx, c, dest, off)
	if n == 0 && err != nil {
		return nil, errnoOf(err) // a result beside an error would count as the end of the file
	}
	return fuse.ReadResultData(dest[:n]), 0
}

// Write implements fs.FileWriter.
func (f *lunFile) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	c, err := f.disk.capacity(ctx)
	if err != nil {
		return 0, errnoOf(err)
	}
	n, err := f.disk.writeAt(ctx, c, data, off)
	if n > 0 {
		return uint32(n), 0
	}
	return 0, errnoOf(err)
}

// Allocate implements fs.FileAllocater: punching holes and writing zeroes.
func (f *lunFile) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	c, err := f.disk.capacity(ctx)
	if err != nil {
		return errnoOf(err)
	}
	end := (c.LastLBA + 1) * uint64(c.BlockSize)
	if off+size < off || mode&unix.FALLOC_FL_KEEP_SIZE == 0 && off+size > end {
		return syscall.EFBIG
	}
	size = min(size, max(end, off)-off)
	switch mode &^ unix.FALLOC_FL_KEEP_SIZE {
	case unix.FALLOC_FL_PUNCH_HOLE:
		return errnoOf(f.disk.zero(ctx, c, int64(off), int64(size), true))
	case unix.FALLOC_FL_ZERO_RANGE:
		return errnoOf(f.disk.zero(ctx, c, int64(off), int64(size), false))
	}
	return syscall.EOPNOTSUPP
}

// Lseek implements fs.FileLseeker for SEEK_DATA and SEEK_HOLE; the kernel does
// the others itself.
func (f *lunFile) Lseek(ctx context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	c, err := f.disk.capacity(ctx)
	if err != nil {
		return 0, errnoOf(err)
	}
	if whence != unix.SEEK_DATA && whence != unix.SEEK_HOLE {
		return 0, syscall.EINVAL
	}
	at, err := f.disk.seek(ctx, c, int64(off), whence == unix.SEEK_HOLE)
	return uint64(at), errnoOf(err)
}
