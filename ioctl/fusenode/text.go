package fusenode

import (
	"context"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// textFile is a small file whose content is made when it is opened, as in
// sysfs.
type textFile struct {
	fs.Inode
	show  func() (string, syscall.Errno)
	store func(string) syscall.Errno // nil: read only
}

var (
	_ fs.NodeOpener    = (*textFile)(nil)
	_ fs.NodeGetattrer = (*textFile)(nil)
	_ fs.NodeSetattrer = (*textFile)(nil)
	_ fs.NodeWriter    = (*textFile)(nil)
)

// Getattr implements fs.NodeGetattrer. The size is a page, as in sysfs.
func (n *textFile) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size = syscall.S_IFREG|0o444, 4096
	if n.store != nil {
		out.Mode |= 0o200
	}
	return 0
}

// Setattr implements fs.NodeSetattrer: truncation before a write is fine.
func (n *textFile) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if in.Valid&(fuse.FATTR_MODE|fuse.FATTR_UID|fuse.FATTR_GID) != 0 {
		return syscall.EPERM
	}
	return n.Getattr(ctx, f, out)
}

// Open implements fs.NodeOpener.
func (n *textFile) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY && n.store == nil {
		return nil, 0, syscall.EACCES
	}
	text, errno := n.show()
	return &textHandle{text}, fuse.FOPEN_DIRECT_IO, errno
}

// Write implements fs.NodeWriter; the text comes in one piece, as in sysfs.
func (n *textFile) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	if n.store == nil || off != 0 {
		return 0, syscall.EINVAL
	}
	return uint32(len(data)), n.store(strings.TrimSpace(string(data)))
}

// textHandle is an open textFile.
type textHandle struct{ text string }

var _ fs.FileReader = (*textHandle)(nil)

// Read implements fs.FileReader.
func (h *textHandle) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if off >= int64(len(h.text)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(dest[:copy(dest, h.text[off:])]), 0
}
