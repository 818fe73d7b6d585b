package handlers

import (
	"context"

	"scstuser/handlers/arena"
	"scstuser/ucmd"
)

// Port is where subcommands come from and replies go to: rule R23 and the
// following. *ucmd.Device is one.
type Port interface {
	// ReplyAndGet gives replies, in order, and gets subcommands; see
	// ucmd.Device.ReplyAndGet.
	ReplyAndGet(ctx context.Context, replies []ucmd.Reply, subs []ucmd.Subcommand) (done, n int, err error)
}

// InlinePort is a Port that can run the handler on the goroutine that made a
// subcommand ready.
type InlinePort interface {
	Port
	SetInline(ucmd.InlineFunc)
}

// ExtendedCDBPort is a Port that can tell the part of a CDB beyond 16 bytes.
type ExtendedCDBPort interface {
	ExtendedCDB(handle uint32) ([]byte, error)
}

// Preallocator is a Port that takes buffers before they are needed (R38).
type Preallocator interface {
	Prealloc(addr uint64, n int, clust bool) (handle uint32, err error)
}

var (
	_ InlinePort      = (*ucmd.Device)(nil)
	_ ExtendedCDBPort = (*ucmd.Device)(nil)
	_ Preallocator    = (*ucmd.Device)(nil)
)

// Memory is an arena as a device in the same process sees it.
type Memory struct{ *arena.Arena }

var _ ucmd.Memory = Memory{}

// Unmap has nothing to do: the bytes are the handler's own.
func (Memory) Unmap(uint64, []byte) {}
