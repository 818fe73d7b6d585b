package ucmd

import (
	"fmt"
	"time"
)

// ParseType says who parses CDBs (rule R43).
type ParseType uint8

// The parse types.
const (
	ParseStandard  ParseType = 0 // inside
	ParseCall      ParseType = 1 // the handler, every command
	ParseException ParseType = 2 // the handler, what the standard parser does not know
)

// OnFreeType says whether the handler hears of freed commands (rule R22).
type OnFreeType uint8

// The on-free types.
const (
	OnFreeCall   OnFreeType = 0
	OnFreeIgnore OnFreeType = 1
)

// ReuseType says for which direction buffers are kept for the next command
// (rule R53).
type ReuseType uint8

// The memory reuse types.
const (
	ReuseNone  ReuseType = 0
	ReuseRead  ReuseType = 1
	ReuseWrite ReuseType = 2
	ReuseAll   ReuseType = 3
)

// Opt are the options that SET_OPTIONS can change (rules R16 to R22). The
// fields are as wide as on the interface, so that bad values can be refused
// as the module does.
type Opt struct {
	Parse        uint8
	OnFree       uint8
	Reuse        uint8
	PartialType  uint8
	PartialLen   int32
	TST          uint8
	TMFOnly      uint8
	QueueAlg     uint8
	QErr         uint8
	TAS          uint8
	SWP          uint8
	DSense       uint8
	OwnOrder     uint8
	ExtCopyRemap uint8
}

// Validate applies the ranges of rule R20; the error is EINVAL.
func (o *Opt) Validate() error {
	for _, f := range []struct {
		name string
		v    uint8
		max  uint8
	}{
		{"parse_type", o.Parse, 2}, {"on_free_cmd_type", o.OnFree, 1},
		{"memory_reuse_type", o.Reuse, 3}, {"partial_transfers_type", o.PartialType, 2},
		{"tst", o.TST, 1}, {"tmf_only", o.TMFOnly, 1}, {"queue_alg", o.QueueAlg, 1},
		{"qerr", o.QErr, 3}, {"tas", o.TAS, 1}, {"swp", o.SWP, 1}, {"d_sense", o.DSense, 1},
		{"has_own_order_mgmt", o.OwnOrder, 1}, {"ext_copy_remap_supported", o.ExtCopyRemap, 1},
	} {
		if f.v > f.max {
			return fmt.Errorf("option %s is %d, at most %d is allowed: %w", f.name, f.v, f.max, errEINVAL)
		}
	}
	if o.QErr == 2 {
		return fmt.Errorf("option qerr is 2, which is reserved (0, 1 and 3 are allowed): %w", errEINVAL)
	}
	return nil
}

// DeviceType is a SCSI peripheral device type.
type DeviceType uint8

// The device types that have blocks (rule R8).
const (
	TypeDisk DeviceType = 0x00
	TypeROM  DeviceType = 0x05
	TypeMO   DeviceType = 0x07
)

// MaxName is how many bytes of a name count (fact 6).
const MaxName = 48

// Desc describes a device to be registered (rules R8 to R13).
type Desc struct {
	Name      string
	Type      DeviceType
	BlockSize uint32
	// SGVName names the buffer pool; empty: the device's name. SGVShared
	// lets devices share the pool of that name.
	SGVName   string
	SGVShared bool
	// SGVNoClustered leaves out the tail-clustered pool.
	SGVNoClustered bool
	// SGVSinglePages, if not 0, makes a pool of one size, in pages.
	SGVSinglePages int32
	// SGVPurgeInterval is in seconds; 0: 60 s; negative: never.
	SGVPurgeInterval int32
	Opt              Opt
	// NonBlocking is latched here (rule R10).
	NonBlocking bool
}

// Limits bound what a device may use and how long it may wait. Zero fields
// get the defaults.
type Limits struct {
	// MaxUcmds bounds the ucmds of one device; commands beyond get TASK SET
	// FULL. Default 65536.
	MaxUcmds int
	// MaxPages bounds the pages in one pool's buffers. Default 1 GiB.
	MaxPages int
	// MaxIdlePages bounds the pages of idle buffers in one pool. Default 32 MiB.
	MaxIdlePages int
	// AttachTimeout is how long ATTACH_SESS may take (rule R40). Default 5 s.
	AttachTimeout time.Duration
	// SuspendTimeout is how long SET_OPTIONS and FLUSH_CACHE wait for
	// commands to end (rules R16, R35). Default 90 s.
	SuspendTimeout time.Duration
	// ReleaseTimeout is how long a release may be without progress before it
	// reports what holds it and goes on without. Default 30 s.
	ReleaseTimeout time.Duration
	// Supervision bounds how long a handler may have a subcommand. Off.
	Supervision Supervision
	// Reporter hears of what these limits had to end. Default: nobody.
	Reporter Reporter
	// HandlerGrace is how long the commands of a handler that died wait for
	// another one to register the same device (Device.HandlerGone). Default 0:
	// they don't, they fail at once (rule R70).
	//
	// It is for handlers whose completed writes outlive their process (in a
	// file's page cache, say). One that keeps them in memory of its own loses
	// them when it dies, and with a grace no initiator would hear of that, nor
	// find out by SYNCHRONIZE CACHE (I6).
	//
	// Meanwhile the data of held writes is kept a second time, in this
	// process: as much as the front ends let their clients have in flight.
	HandlerGrace time.Duration
}

// EnsureDefaults fills in what was left zero.
func (l *Limits) EnsureDefaults() {
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	defT := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		}
	}
	def(&l.MaxUcmds, 65536)
	def(&l.MaxPages, 1<<30/PageSize)
	def(&l.MaxIdlePages, 32<<20/PageSize)
	defT(&l.AttachTimeout, 5*time.Second)
	defT(&l.SuspendTimeout, 90*time.Second)
	defT(&l.ReleaseTimeout, 30*time.Second)
}
