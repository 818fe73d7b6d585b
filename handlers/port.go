package handlers

import (
	"context"

	"scstuser/ucmd"
)

// Port is where subcommands come from and replies go to: rule R23 and the
// following. *ucmd.Device is one in this process, *client.Device of ioctl/client
// one at an scst_user node. Several goroutines use it at once.
type Port interface {
	// ReplyAndGet gives replies, in order, and then waits for subcommands and
	// puts them into subs. done is how many replies were taken; if that is
	// not all of them, replies[done] was refused with err, the later ones
	// were not looked at, and nothing was fetched. n is how many subcommands
	// came; with an error they count all the same. The wait ends with ctx
	// (EINTR); EAGAIN is for a port that does not wait, or not any more. See
	// ucmd.Device.ReplyAndGet.
	ReplyAndGet(ctx context.Context, replies []ucmd.Reply, subs []ucmd.Subcommand) (done, n int, err error)
}

// InlinePort is a Port in this process that can run the handler on the
// goroutine that made a subcommand ready.
type InlinePort interface {
	Port
	// SetInline makes f that handler, nil nobody. A call of an earlier f may
	// still come shortly after.
	SetInline(f ucmd.InlineFunc)
}

// ExtendedCDBPort is a Port that can tell the part of a CDB beyond 16 bytes
// (rule R37). Without it commands that long are refused.
type ExtendedCDBPort interface {
	ExtendedCDB(handle uint32) ([]byte, error)
}

// ReleasedPort is a Port that tells when its device is gone. A non-blocking one
// has no other way: it says EAGAIN for that as for everything.
type ReleasedPort interface {
	Released() <-chan struct{}
}

// OptionsPort is a Port that tells how its device was registered.
type OptionsPort interface {
	GetOptions() ucmd.Opt
}

// Preallocator is a Port that takes buffers before they are needed (rule R38).
// After an error the buffer is still the caller's.
type Preallocator interface {
	Prealloc(addr uint64, n int, clust bool) (handle uint32, err error)
}

var (
	_ InlinePort      = (*ucmd.Device)(nil)
	_ ExtendedCDBPort = (*ucmd.Device)(nil)
	_ ReleasedPort    = (*ucmd.Device)(nil)
	_ OptionsPort     = (*ucmd.Device)(nil)
	_ Preallocator    = (*ucmd.Device)(nil)
)
