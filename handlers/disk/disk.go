package disk

import (
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"scstuser/handlers"
	"scstuser/scsi"
	"scstuser/ucmd"
)

// Disk is the handler of one logical unit. All methods may be called from many
// goroutines at once. It does not close its Backing.
type Disk struct {
	backing handlers.Backing
	opts    Options
	shift   uint // log2 of the block size

	// What the Backing can do besides; nil if it can't.
	nonBlocker handlers.NonBlocker
	fileReader handlers.FileReader
	syncer     handlers.Syncer
	durableW   handlers.DurableWriter
	puncher    handlers.Puncher
	zeroer     handlers.Zeroer
	mapper     handlers.Mapper
	prefetcher handlers.Prefetcher
	resizer    handlers.Resizer

	// supported lists the commands that this Backing allows, in the order of
	// their operation codes.
	supported []scsi.CommandID
	// readOnly never changes; software write protection is in state.
	readOnly bool
	chunks   chunkPool

	// blocks is the capacity.
	blocks atomic.Uint64
	// state has the bits that follow. It is read at any time, and changed
	// under mu.
	state atomic.Uint32
	// mu serialises the commands that change state.
	mu sync.Mutex
	// faults are what the medium fails to do; see faults.go.
	faults faults
}

// The bits of Disk.state.
const (
	stateWCE     uint32 = 1 << iota // write cache enabled
	stateDSense                     // descriptor sense data
	stateSWP                        // software write protect
	stateStopped                    // START STOP UNIT stopped the unit
)

var (
	_ handlers.Handler  = (*Disk)(nil)
	_ handlers.Trier    = (*Disk)(nil)
	_ handlers.Attacher = (*Disk)(nil)
	_ handlers.Parser   = (*Disk)(nil)
)

// New makes the handler of a disk whose blocks are in b. A tail of b that is
// shorter than a block is not used. The error says which option is wrong, or
// that b has no room for a block.
func New(b handlers.Backing, o Options) (*Disk, error) {
	if a, ok := b.(handlers.Aligned); ok && o.PhysicalBlockSize == 0 {
		o.PhysicalBlockSize = max(a.Alignment(), o.BlockSize, defaultPhysicalBlock)
	}
	if err := o.EnsureDefaults(); err != nil {
		return nil, err
	}
	d := &Disk{
		backing:  b,
		opts:     o,
		shift:    uint(bits.TrailingZeros(uint(o.BlockSize))),
		readOnly: o.ReadOnly || b.ReadOnly(),
		chunks:   newChunkPool(),
	}
	d.nonBlocker, _ = b.(handlers.NonBlocker)
	d.fileReader, _ = b.(handlers.FileReader)
	d.syncer, _ = b.(handlers.Syncer)
	d.durableW, _ = b.(handlers.DurableWriter)
	d.puncher, _ = b.(handlers.Puncher)
	d.zeroer, _ = b.(handlers.Zeroer)
	d.mapper, _ = b.(handlers.Mapper)
	d.prefetcher, _ = b.(handlers.Prefetcher)
	d.resizer, _ = b.(handlers.Resizer)

	if d.durableW != nil && d.syncer == nil {
		return nil, fmt.Errorf("disk %s: the backing has a DurableWriter's cache but is no Syncer: implement Sync", o.Name)
	}
	if d.blocks.Store(d.toBlocks(b.Size())); d.blocks.Load() == 0 {
		return nil, fmt.Errorf("disk %s: the medium has %d bytes, less than a block of %d: make it larger", o.Name, b.Size(), o.BlockSize)
	}
	d.state.Store(d.defaultState())
	d.faults.observer, d.faults.now = o.Faults, time.Now
	for i := range commands {
		if commands[i].offered(d) {
			d.supported = append(d.supported, commands[i].id)
		}
	}
	return d, nil
}

func (d *Disk) toBlocks(size int64) uint64 { return uint64(max(size, 0)) >> d.shift }

// defaultState is the state at start, which the default mode pages tell.
func (d *Disk) defaultState() uint32 {
	var s uint32
	if !d.opts.WriteThrough {
		s |= stateWCE
	}
	if d.opts.Control.DSense {
		s |= stateDSense
	}
	if d.opts.Control.SWP {
		s |= stateSWP
	}
	return s
}

// Size is the medium's size in bytes, in whole blocks.
func (d *Disk) Size() int64 { return int64(d.blocks.Load() << d.shift) }

// BlockSize is in bytes.
func (d *Disk) BlockSize() int { return d.opts.BlockSize }

// ReadOnly says whether writes are refused whatever the initiators do.
func (d *Disk) ReadOnly() bool { return d.readOnly }

// DSense says whether sense data is to be encoded in the descriptor format (the
// D_SENSE bit of the control mode page).
func (d *Disk) DSense() bool { return d.has(stateDSense) }

func (d *Disk) has(bit uint32) bool { return d.state.Load()&bit != 0 }

func (d *Disk) writeProtected() bool { return d.readOnly || d.has(stateSWP) }

// Resize looks at the medium again, if the Backing is a Resizer, and says
// whether the size changed and what it is now, in bytes. The caller announces
// a change to the initiators (rule R36). On an error the size stays.
func (d *Disk) Resize() (changed bool, size int64, err error) {
	if d.resizer == nil {
		return false, d.Size(), nil
	}
	bytes, err := d.resizer.Refresh()
	if err != nil {
		return false, d.Size(), fmt.Errorf("disk %s: look at the medium's size: %w", d.opts.Name, err)
	}
	now := d.toBlocks(bytes)
	before := d.blocks.Swap(now)
	return before != now, int64(now << d.shift), nil
}

// Attach accepts every session (rule R40).
func (d *Disk) Attach(uint64, *ucmd.SessInfo) error { return nil }

// Detach has nothing to forget: no state belongs to a session.
func (d *Disk) Detach(uint64) {}
