package ucmd

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"scstuser/target"
	"scstuser/ucmd/sgv"
)

// Registry holds the devices of a process and their buffer pools, by name. It
// is what the scst_user module as a whole is to its devices. Its methods may
// be called from any goroutine.
type Registry struct {
	limits Limits
	// beforeLock, if not nil, is called before a lock of a device or a pool is
	// taken. Tests set it, before they register anything.
	beforeLock func()
	// releases are counted for Releases.
	releases struct{ ended, stuck, abandoned atomic.Uint64 }

	// mu guards devices and pools.
	mu      sync.Mutex
	devices map[string]*Device
	pools   map[string]*sharedPool
}

// sharedPool is a pool and how many devices use it.
type sharedPool struct {
	*sgv.Pool
	users  int
	shared bool
	mem    Memory // whose the buffers are
}

// NewRegistry makes an empty registry; devices get the limits.
func NewRegistry(l Limits) *Registry {
	l.EnsureDefaults()
	return &Registry{limits: l, devices: map[string]*Device{}, pools: map[string]*sharedPool{}}
}

// Register makes a device whose handler's memory is mem; obs may be nil. The
// errors wrap the errno of the interface: EINVAL, EEXIST, ENOMEM (rules R8 to
// R13, facts 4 to 7). After an error the name is free.
func (r *Registry) Register(desc Desc, mem Memory, obs Observer) (*Device, error) {
	if err := desc.check(); err != nil {
		return nil, fmt.Errorf("register device %q: %w", desc.Name, err)
	}
	desc.Opt = desc.parsable(desc.Opt)
	d := &Device{
		reg: r, desc: desc, limits: r.limits, maxAlloc: r.limits.maxAlloc(), mem: mem, obs: obs,
		opt: desc.Opt, nonBlocking: desc.NonBlocking,
		done: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	d.modes.Store(desc.Opt.pack())
	d.mu.Before = r.beforeLock

	r.mu.Lock()
	defer r.mu.Unlock()
	if r.devices[desc.Name] != nil {
		return nil, fmt.Errorf("register device %q: a device of that name exists: %w", desc.Name, errEEXIST)
	}
	var err error
	if d.pool, err = r.usePool(desc, desc.SGVName, mem); err != nil {
		return nil, fmt.Errorf("register device %q: %w", desc.Name, err)
	}
	if !desc.SGVNoClustered {
		if d.clust, err = r.usePool(desc, desc.SGVName+"-clust", mem); err != nil {
			r.dropPool(d.pool)
			return nil, fmt.Errorf("register device %q: %w", desc.Name, err)
		}
	}
	d.tdev = target.NewDevice(desc.Name, d, target.Options{
		BlockSize: desc.BlockSize,
		OwnOrder:  desc.Opt.OwnOrder == 1, DSense: desc.Opt.DSense == 1, TAS: desc.Opt.TAS == 1,
	})
	r.devices[desc.Name] = d
	d.superviseFrom()
	return d, nil
}

// check applies the rules and fills in what follows from others.
func (desc *Desc) check() error {
	if len(desc.Name) > MaxName {
		desc.Name = desc.Name[:MaxName]
	}
	if len(desc.SGVName) > MaxName {
		desc.SGVName = desc.SGVName[:MaxName]
	}
	switch {
	case desc.Name == "":
		return fmt.Errorf("the name is empty: %w", errENOMEM) // fact 6
	case strings.ContainsAny(desc.Name, "/\x00"):
		return fmt.Errorf("the name contains a slash or a NUL byte: %w", errEINVAL)
	case desc.SGVSinglePages < 0:
		return fmt.Errorf("sgv_single_alloc_pages is negative: %w", errENOMEM)
	}
	if desc.SGVName == "" {
		desc.SGVName = desc.Name
	}
	if desc.hasBlocks() {
		if b := desc.BlockSize; b < 512 || b&(b-1) != 0 {
			return fmt.Errorf("block size %d is not a power of two of at least 512: %w", b, errEINVAL)
		}
	}
	return desc.Opt.Validate()
}

// hasBlocks says whether it is a device with blocks: the only ones that have
// a block size, and that the standard parser knows (rules R8, R12).
func (desc *Desc) hasBlocks() bool {
	return desc.Type == TypeDisk || desc.Type == TypeROM || desc.Type == TypeMO
}

// parsable returns o with what a device without blocks has to have: its
// handler parses (rule R12).
func (desc *Desc) parsable(o Opt) Opt {
	if !desc.hasBlocks() {
		o.Parse = uint8(ParseCall)
	}
	return o
}

// usePool finds or makes a pool. The buffers in a pool are addresses in a
// handler's memory, so only devices of one handler can share it. Caller holds
// mu.
func (r *Registry) usePool(desc Desc, name string, mem Memory) (*sgv.Pool, error) {
	if p := r.pools[name]; p != nil {
		switch {
		case !p.shared || !desc.SGVShared:
			return nil, fmt.Errorf("a buffer pool %q exists and is not shared: %w", name, errEEXIST)
		case !sameMemory(p.mem, mem):
			return nil, fmt.Errorf("a buffer pool %q exists and belongs to another handler: %w", name, errEEXIST)
		}
		p.users++
		return p.Pool, nil
	}
	p := &sharedPool{users: 1, shared: desc.SGVShared, mem: mem, Pool: sgv.New(sgv.Options{
		Name: name, SinglePages: int(desc.SGVSinglePages),
		PurgeInterval: time.Duration(desc.SGVPurgeInterval) * time.Second,
		MaxPages:      r.limits.MaxPages, MaxIdlePages: r.limits.MaxIdlePages,
		BeforeLock: r.beforeLock,
	})}
	r.pools[name] = p
	return p.Pool, nil
}

// sameMemory says whether two devices have one handler. What can't be
// compared is not the same.
func sameMemory(a, b Memory) bool {
	return a != nil && b != nil && reflect.ValueOf(a).Comparable() && reflect.ValueOf(b).Comparable() && a == b
}

// dropPool gives a pool up and returns it if nobody uses it any more: the
// caller closes it, without mu. Caller holds mu.
func (r *Registry) dropPool(p *sgv.Pool) (unused *sgv.Pool) {
	if p == nil {
		return nil
	}
	s := r.pools[p.Name()]
	if s.users--; s.users > 0 {
		return nil
	}
	delete(r.pools, p.Name())
	return p
}

// remove forgets a released device: its name is free from now on (rule R72).
func (r *Registry) remove(d *Device) {
	r.mu.Lock()
	delete(r.devices, d.desc.Name)
	unused := []*sgv.Pool{r.dropPool(d.pool), r.dropPool(d.clust)}
	r.mu.Unlock()
	for _, p := range unused {
		if p != nil {
			p.Close()
		}
	}
}

// Devices returns the devices that exist, in no particular order.
func (r *Registry) Devices() []*Device {
	r.mu.Lock()
	defer r.mu.Unlock()
	ds := make([]*Device, 0, len(r.devices))
	for _, d := range r.devices {
		ds = append(ds, d)
	}
	return ds
}
