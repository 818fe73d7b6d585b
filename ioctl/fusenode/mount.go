package fusenode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// fsName is the type of the mount (fuse.scst_user), by which a stale one is
// known as ours.
const fsName = "scst_user"

// NodeName is the node's name in the mount.
const NodeName = "scst_user"

// Mounted is a mount that is being served.
type Mounted struct {
	dir    string
	server *fuse.Server
	tree   *tree
}

// ErrNoFUSE says that this machine has no /dev/fuse.
var ErrNoFUSE = errors.New("no /dev/fuse here: load the fuse module (modprobe fuse), or give the container that device and CAP_SYS_ADMIN")

// Mount mounts the tree and serves it. A mount that a crashed process of this
// kind left at the same place is taken away first.
func Mount(o Options) (*Mounted, error) {
	o.EnsureDefaults()
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("mount: %w", err)
	}
	if err := usable(dir, o.Log); err != nil {
		return nil, err
	}
	t := newTree(o)
	var zero time.Duration
	opts := &fs.Options{
		// What the tree shows changes by itself: the kernel keeps nothing.
		EntryTimeout: &zero, AttrTimeout: &zero, NegativeTimeout: &zero,
		UID: o.UID, GID: o.GID,
		MountOptions: fuse.MountOptions{
			Name: fsName, FsName: fsName, DirectMount: true, DisableXAttrs: true, DisableSplice: true,
			AllowOther: o.shared(), Options: []string{"default_permissions"},
			MaxWrite: maxIO, MaxBackground: 128,
			Logger: log.New(io.Discard, "", 0), // its errors come back as such
		},
	}
	server, err := fs.Mount(dir, t.root(), opts)
	if err != nil {
		return nil, fmt.Errorf("mount at %s: %w (mounting needs root, or fusermount3 and, for other users, user_allow_other in /etc/fuse.conf)", dir, err)
	}
	return &Mounted{dir: dir, server: server, tree: t}, nil
}

// usable checks the mount point, and clears it of a stale mount.
func usable(dir string, l logger) error {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return ErrNoFUSE
	}
	if err := clearStale(dir, l); err != nil {
		return err
	}
	st, err := os.Stat(dir)
	switch {
	case err != nil:
		return fmt.Errorf("mount: %w; create the directory first", err)
	case !st.IsDir():
		return fmt.Errorf("mount: %s is not a directory", dir)
	}
	return nil
}

// NodePath is where handlers find the node.
func (m *Mounted) NodePath() string { return filepath.Join(m.dir, NodeName) }

// Counters are what the node has done since it was mounted: ioctls, and system
// calls that reached into their callers' memory.
func (m *Mounted) Counters() (ioctls, copies uint64) {
	return m.tree.ioctls.Load(), m.tree.copies.Load()
}

// Close unmounts. Programs that still have files of the mount open are cut off:
// their calls fail with ENOTCONN or ECONNABORTED. The host was closed before,
// so nobody's command is lost by that. It waits for requests under way, or for
// ctx.
func (m *Mounted) Close(ctx context.Context) error {
	m.tree.close()
	err := unix.Unmount(m.dir, 0)
	if err != nil {
		// Somebody is in there. MNT_FORCE ends the connection.
		_ = unix.Unmount(m.dir, unix.MNT_FORCE)
		err = unix.Unmount(m.dir, unix.MNT_DETACH)
	}
	if errors.Is(err, unix.EPERM) { // mounted by fusermount
		err = m.server.Unmount()
	}
	if err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: it is gone already
		return fmt.Errorf("unmount %s: %w", m.dir, err)
	}
	over := make(chan struct{})
	go func() {
		m.server.Wait()
		close(over)
	}()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("unmount %s: requests are still under way: %w", m.dir, ctx.Err())
	}
}
