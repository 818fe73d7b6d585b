package fusenode

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"scstuser/ioctl/abi"
	"scstuser/ioctl/node"
)

// userNode is scst_user, the node that handlers open.
type userNode struct {
	fs.Inode
	tree *tree
}

var (
	_ fs.NodeOpener    = (*userNode)(nil)
	_ fs.NodeGetattrer = (*userNode)(nil)
	_ fs.NodeSetattrer = (*userNode)(nil)
)

// Getattr implements fs.NodeGetattrer.
func (n *userNode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode = syscall.S_IFREG | uint32(n.tree.opt.Mode.Perm())
	return 0
}

// Setattr implements fs.NodeSetattrer: opening for writing may truncate, which
// means nothing here; mode and owner are options of the mount.
func (n *userNode) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if in.Valid&(fuse.FATTR_MODE|fuse.FATTR_UID|fuse.FATTR_GID) != 0 {
		return syscall.EPERM
	}
	return n.Getattr(ctx, f, out)
}

// Open implements fs.NodeOpener: an open file description of its own (R14).
func (n *userNode) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	f := n.tree.opt.Host.Open(flags&syscall.O_NONBLOCK != 0, tidOf(ctx))
	return &userFile{n.tree, f}, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NONSEEKABLE | fuse.FOPEN_NOFLUSH, 0
}

// userFile is an open node.
type userFile struct {
	tree *tree
	file *node.File
}

var (
	_ fs.FileIoctler  = (*userFile)(nil)
	_ fs.FileReleaser = (*userFile)(nil)
	_ fs.FileReader   = (*userFile)(nil)
	_ fs.FileWriter   = (*userFile)(nil)
)

// Ioctl implements fs.FileIoctler.
func (f *userFile) Ioctl(ctx context.Context, cmd uint32, arg uint64, input, output []byte) (int32, syscall.Errno) {
	c := calls.Get().(*call)
	c.tid = tidOf(ctx)
	c.Call = node.Call{Cmd: abi.Ioctl(cmd), Arg: abi.Addr(arg), In: input, Out: output, TID: c.tid, Mem: &c.caller}
	result, errno, out := f.file.Ioctl(ctx, &c.Call)
	if errno == 0 && len(output) > 0 {
		n := copy(output, out)
		if n < len(output) { // nothing came out: leave the caller's bytes alone
			copy(output[n:], input[min(n, len(input)):])
		}
	}
	f.tree.ioctls.Add(1)
	f.tree.copies.Add(c.copies)
	c.Call, c.copies = node.Call{}, 0
	calls.Put(c)
	return result, errno
}

// Read implements fs.FileReader: there is nothing to read (fact 3).
func (f *userFile) Read(context.Context, []byte, int64) (fuse.ReadResult, syscall.Errno) {
	return nil, syscall.EINVAL
}

// Write implements fs.FileWriter: nor to write.
func (f *userFile) Write(context.Context, []byte, int64) (uint32, syscall.Errno) {
	return 0, syscall.EINVAL
}

// Release implements fs.FileReleaser: the last descriptor is gone (F6).
func (f *userFile) Release(ctx context.Context) syscall.Errno {
	f.file.Close(tidOf(ctx))
	return 0
}

// tidOf is the calling thread, 0 if the kernel itself calls or the thread is in
// a process namespace that this process does not see.
func tidOf(ctx context.Context) int {
	if c, ok := fuse.FromContext(ctx); ok {
		return int(c.Pid)
	}
	return 0
}
