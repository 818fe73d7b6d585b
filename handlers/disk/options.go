package disk

import (
	"fmt"
	"hash/fnv"

	"scstuser/scsi"
)

// Block sizes, in bytes.
const (
	MinBlockSize = 512
	MaxBlockSize = 64 << 10
)

// Defaults of Options.
const (
	DefaultVendor       = "SCST_USR"
	DefaultRevision     = "3110" // as SCST's fileio_tgt has it
	DefaultBlockSize    = 512
	DefaultInlineRead   = 128 << 10
	DefaultInlineWrite  = 64 << 10
	DefaultFileRead     = 64 << 10
	DefaultMaxTransfer  = 32 << 20
	DefaultMaxWriteSame = 4 << 30
	DefaultMaxUnmap     = 4 << 30

	defaultPhysicalBlock = 4096
)

// DefaultControl is the control mode page of a unit that was registered with
// SCST's default options: one task set per nexus, unrestricted reordering.
var DefaultControl = scsi.ControlPage{TST: 1, QueueAlgorithm: 1}

// Options say how a disk looks to its initiators. Zero values are replaced by
// the defaults. Sizes and lengths are in bytes.
type Options struct {
	// Name is the device's name; it must be given.
	Name string
	// Vendor (8 characters), Product (16; default Name) and Revision (4) are
	// told by INQUIRY.
	Vendor, Product, Revision string
	// Serial is the unit serial number; the default is a hash of Name and
	// VdiskID. The unit's world wide names derive from it.
	Serial string
	// VdiskID tells units of the same name on different hosts apart.
	VdiskID int

	// BlockSize is a power of two from MinBlockSize to MaxBlockSize.
	BlockSize int
	// PhysicalBlockSize is a power of two, at least BlockSize: transfers of
	// less may be slower. Default: 4096, or more if BlockSize or the Backing's
	// alignment is larger.
	PhysicalBlockSize int
	// Rotational says that the medium seeks.
	Rotational bool

	// WriteThrough starts with WCE=0: every write is durable.
	WriteThrough bool
	// NVCache says that the write cache survives a loss of power.
	NVCache bool
	// ReadOnly refuses writes, as a Backing that is read-only does.
	ReadOnly bool

	// InlineRead and InlineWrite bound what TryExec transfers; negative:
	// nothing.
	InlineRead, InlineWrite int
	// FileRead is the length from which TryExec leaves what is read in the
	// file, if the front end can send it from there; negative: it never does.
	FileRead int

	// MaxTransfer bounds one READ, WRITE or VERIFY.
	MaxTransfer int64
	// MaxWriteSame bounds one WRITE SAME.
	MaxWriteSame int64
	// MaxUnmap bounds all descriptors of one UNMAP.
	MaxUnmap int64

	// Control is the control mode page at start; it should say what the
	// device was registered with. Default: DefaultControl.
	Control *scsi.ControlPage

	// Faults hears of what the medium fails to do; nil: nobody does.
	Faults FaultObserver
}

// EnsureDefaults replaces zero values, and says what is wrong with the others.
func (o *Options) EnsureDefaults() error {
	if o.Name == "" {
		return fmt.Errorf("disk without a name: set Options.Name")
	}
	o.Vendor = or(o.Vendor, DefaultVendor)
	o.Product = or(o.Product, o.Name)
	o.Revision = or(o.Revision, DefaultRevision)
	o.Serial = or(o.Serial, o.defaultSerial())
	o.BlockSize = or(o.BlockSize, DefaultBlockSize)
	o.PhysicalBlockSize = or(o.PhysicalBlockSize, max(o.BlockSize, defaultPhysicalBlock))
	o.InlineRead = or(o.InlineRead, DefaultInlineRead)
	o.InlineWrite = or(o.InlineWrite, DefaultInlineWrite)
	o.FileRead = or(o.FileRead, DefaultFileRead)
	o.MaxTransfer = or(o.MaxTransfer, DefaultMaxTransfer)
	o.MaxWriteSame = or(o.MaxWriteSame, DefaultMaxWriteSame)
	o.MaxUnmap = or(o.MaxUnmap, DefaultMaxUnmap)
	o.Control = or(o.Control, &DefaultControl)
	return o.check()
}

func (o *Options) check() error {
	if !powerOfTwo(o.BlockSize) || o.BlockSize < MinBlockSize || o.BlockSize > MaxBlockSize {
		return fmt.Errorf("disk %s: block size %d: use a power of two from %d to %d", o.Name, o.BlockSize, MinBlockSize, MaxBlockSize)
	}
	if !powerOfTwo(o.PhysicalBlockSize) || o.PhysicalBlockSize < o.BlockSize || o.PhysicalBlockSize > o.BlockSize<<15 {
		return fmt.Errorf("disk %s: physical block size %d: use a power of two from the block size %d to %d", o.Name, o.PhysicalBlockSize, o.BlockSize, o.BlockSize<<15)
	}
	for _, l := range []struct {
		name  string
		value int64
	}{{"transfer", o.MaxTransfer}, {"WRITE SAME", o.MaxWriteSame}, {"UNMAP", o.MaxUnmap}} {
		if l.value < int64(o.BlockSize) {
			return fmt.Errorf("disk %s: maximum %s length %d is less than a block of %d", o.Name, l.name, l.value, o.BlockSize)
		}
	}
	return nil
}

func (o *Options) defaultSerial() string {
	h := fnv.New32a()
	fmt.Fprintf(h, "%s %d", o.Name, o.VdiskID)
	return fmt.Sprintf("%08x", h.Sum32())
}

func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

func powerOfTwo(n int) bool { return n > 0 && n&(n-1) == 0 }
