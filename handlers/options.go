package handlers

import (
	"time"

	"scstuser/handlers/arena"
)

// Options are the settings of Serve. Zero fields get the defaults.
type Options struct {
	// Arena is where the data buffers come from. Required.
	Arena *arena.Arena
	// Threads bounds how many commands may wait in Exec at once, and how many
	// goroutines fetch subcommands. Default 7, as SCST's fileio_tgt has it.
	Threads int
	// Multi is how many subcommands one fetch may bring. Their replies go out
	// together, when the last has been carried out: with a Handler that is no
	// Trier one that waits holds up those behind it. Default 32 for a Trier,
	// otherwise 1.
	Multi int
	// Inline lets an InlinePort run what does not wait on the goroutine that
	// made it ready. It takes a Trier.
	Inline bool
	// NonBlocking: the port never waits (rule R10); look again after
	// PollInterval.
	NonBlocking bool
	// PollInterval is for NonBlocking. Default 1 ms.
	PollInterval time.Duration
	// BlockSize is for the standard parse of a device registered with parse
	// "call" whose Handler is no Parser, in bytes. Default 512.
	BlockSize uint32
}

// EnsureDefaults fills in what was left zero, for a Handler that is a Trier
// or not.
func (o *Options) EnsureDefaults(trier bool) {
	if o.Threads <= 0 {
		o.Threads = 7
	}
	if o.Multi <= 0 {
		o.Multi = 1
		if trier {
			o.Multi = 32
		}
	}
	if o.PollInterval <= 0 {
		o.PollInterval = time.Millisecond
	}
	if o.BlockSize == 0 {
		o.BlockSize = 512
	}
}
