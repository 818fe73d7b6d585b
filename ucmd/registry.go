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

	// mu guards devices, pools and graces.
	mu      sync.Mutex
	devices map[string]*Device
	pools   map[string]*sharedPool
	// graces are the devices that wait for another handler; they are in
	// devices too.
	graces map[string]*grace
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
	return &Registry{limits: l, devices: map[string]*Device{}, pools: map[string]*sharedPool{}, graces: map[string]*grace{}}
}

// Register makes a device whose handler's memory is mem; obs may be nil. The
// errors wrap the errno of the interface: EINVAL, EEXIST, ENOMEM (rules R8 to
// R13, facts 4 to 7). After an error the name is as free as before.
//
// A device of that name whose handler is gone, and that waits for another one
// (Device.HandlerGone), is continued by the new one: its Target is the same,
// and its sessions are attached to the handler, with ATTACH_SESS each, once
// that fetches. EINVAL if it does not fit what initiators know; EAGAIN if the
// wait was ended meanwhile. It may take until the old device's cleanup is over.
func (r *Registry) Register(desc Desc, mem Memory, obs Observer) (*Device, error) {
	if err := desc.check(); err != nil {
		return nil, fmt.Errorf("register device %q: %w", desc.Name, err)
	}
	desc.Opt = desc.parsable(desc.Opt)
	d := &Device{
		hash: make([]*Ucmd, hashSize),
		reg:  r, desc: desc, limits: r.limits, maxAlloc: r.limits.maxAlloc(), mem: mem, obs: obs,
		opt: desc.Opt, nonBlocking: desc.NonBlocking,
		patience: r.limits.ReleaseTimeout,
		done:     make(chan struct{}), wake: make(chan struct{}, 1),
	}
	d.modes.Store(desc.Opt.pack())
	d.mu.Before = r.beforeLock

	g, err := r.enter(d)
	if err == nil && g != nil {
		err = r.succeed(g, d)
	}
	if err != nil {
		return nil, fmt.Errorf("register device %q: %w", desc.Name, err)
	}
	return d, nil
}

// enter gives d its pools and its name, or claims the wait of the device of
// that name for it, which is returned.
func (r *Registry) enter(d *Device) (*grace, error) {
	desc := &d.desc
	r.mu.Lock()
	defer r.mu.Unlock()
	if g := r.graces[desc.Name]; g != nil && g.state == graceWaiting {
		r.setGrace(g, graceClaimed)
		return g, nil
	}
	if r.devices[desc.Name] != nil {
		return nil, fmt.Errorf("a device of that name exists: %w", errEEXIST)
	}
	if err := r.usePools(d); err != nil {
		return nil, err
	}
	d.tdev = target.NewDevice(desc.Name, d, target.Options{
		BlockSize: desc.BlockSize,
		OwnOrder:  desc.Opt.OwnOrder == 1, DSense: desc.Opt.DSense == 1, TAS: desc.Opt.TAS == 1,
	})
	r.devices[desc.Name] = d
	d.superviseFrom()
	return nil, nil
}

// usePools gives d its pools, both or none. Caller holds mu.
func (r *Registry) usePools(d *Device) (err error) {
	if d.pool, err = r.usePool(d.desc, d.desc.SGVName, d.mem); err != nil || d.desc.SGVNoClustered {
		return err
	}
	if d.clust, err = r.usePool(d.desc, d.desc.SGVName+"-clust", d.mem); err != nil {
		r.dropPool(d.pool)
	}
	return err
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
	r.forget(d)
	r.dropPools(d)
}

func (r *Registry) forget(d *Device) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.devices, d.desc.Name)
}

// dropPools gives the device's pools up, for good.
func (r *Registry) dropPools(d *Device) {
	r.mu.Lock()
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
