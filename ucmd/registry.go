package ucmd

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"

	"scstuser/target"
	"scstuser/ucmd/sgv"
)

// Registry holds the devices of a process and their buffer pools, by name. It
// is what the scst_user module as a whole is to its devices.
type Registry struct {
	limits Limits

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
	if desc.Type != TypeDisk && desc.Type != TypeROM && desc.Type != TypeMO {
		desc.Opt.Parse = uint8(ParseCall) // rule R12
	}
	d := &Device{
		reg: r, desc: desc, limits: r.limits, mem: mem, obs: obs,
		opt: desc.Opt, nonBlocking: desc.NonBlocking,
		done: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	d.modes.Store(desc.Opt.pack())

	r.mu.Lock()
	defer r.mu.Unlock()
	if r.devices[desc.Name] != nil {
		return nil, fmt.Errorf("register device %q: a device of that name exists: %w", desc.Name, syscall.EEXIST)
	}
	p, err := r.usePool(desc, desc.SGVName)
	if err != nil {
		return nil, fmt.Errorf("register device %q: %w", desc.Name, err)
	}
	d.pool = p.Pool
	if !desc.SGVNoClustered {
		c, err := r.usePool(desc, desc.SGVName+"-clust")
		if err != nil {
			r.dropPool(d.pool)
			return nil, fmt.Errorf("register device %q: %w", desc.Name, err)
		}
		d.clust = c.Pool
	}
	d.tdev = target.NewDevice(desc.Name, d, target.Options{
		BlockSize: desc.BlockSize,
		OwnOrder:  desc.Opt.OwnOrder == 1, DSense: desc.Opt.DSense == 1, TAS: desc.Opt.TAS == 1,
	})
	r.devices[desc.Name] = d
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
		return fmt.Errorf("the name is empty: %w", syscall.ENOMEM) // fact 6
	case strings.ContainsAny(desc.Name, "/\x00"):
		return fmt.Errorf("the name contains a slash: %w", syscall.EINVAL)
	case desc.SGVSinglePages < 0:
		return fmt.Errorf("sgv_single_alloc_pages is negative: %w", syscall.ENOMEM)
	}
	if desc.SGVName == "" {
		desc.SGVName = desc.Name
	}
	if desc.Type == TypeDisk || desc.Type == TypeROM || desc.Type == TypeMO {
		if b := desc.BlockSize; b < 512 || b&(b-1) != 0 {
			return fmt.Errorf("block size %d is not a power of two of at least 512: %w", b, syscall.EINVAL)
		}
	}
	return desc.Opt.Validate()
}

// usePool finds or makes a pool. Caller holds mu.
func (r *Registry) usePool(desc Desc, name string) (*sharedPool, error) {
	if p := r.pools[name]; p != nil {
		if !p.shared || !desc.SGVShared {
			return nil, fmt.Errorf("a buffer pool %q exists and is not shared: %w", name, syscall.EEXIST)
		}
		p.users++
		return p, nil
	}
	p := &sharedPool{users: 1, shared: desc.SGVShared, Pool: sgv.New(sgv.Options{
		Name: name, SinglePages: int(desc.SGVSinglePages),
		PurgeInterval: time.Duration(desc.SGVPurgeInterval) * time.Second,
		MaxPages:      r.limits.MaxPages, MaxIdlePages: r.limits.MaxIdlePages,
	})}
	r.pools[name] = p
	return p, nil
}

// dropPool gives a pool up; the last user closes it. Caller holds mu; the
// pool is flushed already, so closing calls nobody.
func (r *Registry) dropPool(p *sgv.Pool) {
	if p == nil {
		return
	}
	if s := r.pools[p.Name()]; s != nil && s.Pool == p {
		if s.users--; s.users == 0 {
			p.Close()
			delete(r.pools, p.Name())
		}
	}
}

// remove forgets a released device: its name is free from now on (rule R72).
func (r *Registry) remove(d *Device) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.devices[d.desc.Name] == d {
		delete(r.devices, d.desc.Name)
	}
	r.dropPool(d.pool)
	r.dropPool(d.clust)
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
