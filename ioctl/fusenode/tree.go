package fusenode

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/sirupsen/logrus"

	"scstuser/ucmd"
)

// tree is the mount's content.
type tree struct {
	opt Options

	// ioctls counts the calls on the node, copies the system calls that reached
	// into their callers' memory.
	ioctls, copies atomic.Uint64

	// mu guards what follows.
	mu sync.Mutex
	// disks are the devices that somebody has looked at.
	disks map[*ucmd.Device]*disk
}

func newTree(o Options) *tree { return &tree{opt: o, disks: map[*ucmd.Device]*disk{}} }

// disk returns what the tree knows about a device. Those that are gone are
// forgotten on the way.
func (t *tree) disk(dev *ucmd.Device) *disk {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d := t.disks[dev]; d != nil {
		return d
	}
	for old := range t.disks {
		select {
		case <-old.Released():
			delete(t.disks, old)
		default:
		}
	}
	d := newDisk(dev, &t.opt)
	t.disks[dev] = d
	return d
}

// close gives up what the tree has with devices.
func (t *tree) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.disks)
}

// root is the top directory.
func (t *tree) root() fs.InodeEmbedder {
	return &dir{list: func() []child {
		return []child{
			{NodeName, func() fs.InodeEmbedder { return &userNode{tree: t} }, syscall.S_IFREG},
			{"devices", func() fs.InodeEmbedder { return t.devices() }, syscall.S_IFDIR},
			{"handlers", func() fs.InodeEmbedder { return t.handlers() }, syscall.S_IFDIR},
			{"sgv", func() fs.InodeEmbedder { return t.pools() }, syscall.S_IFDIR},
			text("version", func() string { return t.opt.Version }),
			{"trace_level", func() fs.InodeEmbedder { return t.traceLevel() }, syscall.S_IFREG},
		}
	}}
}

// child is an entry of a directory.
type child struct {
	name string
	make func() fs.InodeEmbedder
	kind uint32 // S_IFREG or S_IFDIR
}

// text is a child whose content can always be made.
func text(name string, show func() string) child {
	return child{name, func() fs.InodeEmbedder {
		return &textFile{show: func() (string, syscall.Errno) { return show() + "\n", 0 }}
	}, syscall.S_IFREG}
}

// dir is a directory whose entries are found out each time.
type dir struct {
	fs.Inode
	list func() []child
}

var (
	_ fs.NodeLookuper  = (*dir)(nil)
	_ fs.NodeReaddirer = (*dir)(nil)
	_ fs.NodeGetattrer = (*dir)(nil)
)

// Getattr implements fs.NodeGetattrer.
func (d *dir) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode = syscall.S_IFDIR | 0o555
	return 0
}

// Lookup implements fs.NodeLookuper.
func (d *dir) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	for _, c := range d.list() {
		if c.name != name {
			continue
		}
		ops := c.make()
		var attr fuse.AttrOut
		if g, ok := ops.(fs.NodeGetattrer); ok {
			if errno := g.Getattr(ctx, nil, &attr); errno != 0 {
				return nil, errno
			}
		}
		out.Attr = attr.Attr
		return d.NewInode(ctx, ops, fs.StableAttr{Mode: c.kind}), 0
	}
	return nil, syscall.ENOENT
}

// Readdir implements fs.NodeReaddirer.
func (d *dir) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	var l []fuse.DirEntry
	for _, c := range d.list() {
		l = append(l, fuse.DirEntry{Name: c.name, Mode: c.kind})
	}
	return fs.NewListDirStream(l), 0
}

// byName lists a directory for each device.
func (t *tree) byName(make func(*ucmd.Device) fs.InodeEmbedder) *dir {
	return &dir{list: func() (l []child) {
		for _, d := range t.opt.Host.Devices() {
			l = append(l, child{d.Desc().Name, func() fs.InodeEmbedder { return make(d) }, syscall.S_IFDIR})
		}
		slices.SortFunc(l, func(a, b child) int { return strings.Compare(a.name, b.name) })
		return l
	}}
}

func (t *tree) devices() *dir {
	return t.byName(func(d *ucmd.Device) fs.InodeEmbedder { return t.deviceDir(d) })
}

// handlers is SCST's list of device handlers: an scst_user device is one.
func (t *tree) handlers() *dir {
	return t.byName(func(d *ucmd.Device) fs.InodeEmbedder {
		return &dir{list: func() []child { return []child{text("type", func() string { return typeText(d) })} }}
	})
}

// pools lists the buffer pools; shared ones once.
func (t *tree) pools() *dir {
	return &dir{list: func() (l []child) {
		seen := map[string]bool{}
		for _, d := range t.opt.Host.Devices() {
			for i, s := range d.PoolStats() {
				if seen[s.Name] {
					continue
				}
				seen[s.Name] = true
				stats := text("stats", func() string { return poolText(d, i) })
				l = append(l, child{s.Name, func() fs.InodeEmbedder {
					return &dir{list: func() []child { return []child{stats} }}
				}, syscall.S_IFDIR})
			}
		}
		slices.SortFunc(l, func(a, b child) int { return strings.Compare(a.name, b.name) })
		return l
	}}
}

// poolText is the counters of a device's i-th pool as a table.
func poolText(d *ucmd.Device, i int) string {
	s := d.PoolStats()[i] // a device does not change its pools
	var b strings.Builder
	fmt.Fprintf(&b, "%-12s %12s %12s %8s\n", "pages", "hits", "allocations", "idle")
	for _, c := range s.Classes {
		fmt.Fprintf(&b, "%-12d %12d %12d %8d\n", c.Pages, c.Hits, c.Allocs, c.Idle)
	}
	fmt.Fprintf(&b, "big %d, uncached %d, refused %d, pages %d, idle pages %d", s.Big, s.Uncached, s.Refused, s.TotalPages, s.IdlePages)
	return b.String()
}

// traceLevel is the log level, which can be written.
func (t *tree) traceLevel() *textFile {
	return &textFile{
		show: func() (string, syscall.Errno) { return t.opt.Log.GetLevel().String() + "\n", 0 },
		store: func(s string) syscall.Errno {
			level, err := logrus.ParseLevel(s)
			if err != nil || level < logrus.ErrorLevel {
				return syscall.EINVAL // nobody wants to lose errors
			}
			t.opt.Log.SetLevel(level)
			return 0
		},
	}
}
