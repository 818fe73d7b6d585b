package fusenode

import (
	"os"
	"time"

	"github.com/sirupsen/logrus"

	"scstuser/ioctl/node"
)

// Options are a mount's settings. Dir and Host have to be set.
type Options struct {
	// Dir is the mount point, a directory.
	Dir string
	// Host has the devices. Its owner closes it before the mount.
	Host *node.Host
	// Mode is the node's permission bits. Default 0600.
	Mode os.FileMode
	// UID and GID own the node; whoever they are can register devices. They
	// are this process's user and group if Owner is not set.
	Owner    bool
	UID, GID uint32
	// Version is what the file version shows.
	Version string
	// MaxInflight is how many commands of one lun are under way at a time.
	// Default 64.
	MaxInflight int
	// Linger is how long the session of a lun stays after its last use.
	// Default 1 s.
	Linger time.Duration
	// Log is where the mount reports, and whose level trace_level is;
	// logrus.StandardLogger() if nil.
	Log *logrus.Logger
}

// EnsureDefaults fills in what was left zero.
func (o *Options) EnsureDefaults() {
	if o.Mode == 0 {
		o.Mode = 0o600
	}
	if !o.Owner {
		o.UID, o.GID = uint32(os.Geteuid()), uint32(os.Getegid())
	}
	if o.MaxInflight <= 0 {
		o.MaxInflight = 64
	}
	if o.Linger <= 0 {
		o.Linger = time.Second
	}
	if o.Log == nil {
		o.Log = logrus.StandardLogger()
	}
}

// shared says whether others than this process's user have to get in.
func (o *Options) shared() bool {
	return os.Geteuid() == 0 || o.UID != uint32(os.Geteuid()) || o.Mode&0o077 != 0
}
