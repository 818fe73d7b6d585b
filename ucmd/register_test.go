package ucmd

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
)

// tryRegister registers a device in a fresh registry and closes it again.
func tryRegister(t *testing.T, change func(*Desc)) (Desc, error) {
	t.Helper()
	r := NewRegistry(Limits{})
	desc := plainDesc()
	change(&desc)
	d, err := r.Register(desc, newTestMemory(), nil)
	if err != nil {
		if l := r.Devices(); len(l) > 0 || len(r.pools) > 0 {
			t.Errorf("R13: a failed registration left %d devices and %d pools", len(l), len(r.pools))
		}
		return Desc{}, err
	}
	if err := d.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if len(r.pools) > 0 {
		t.Errorf("R72: the release left %d pools", len(r.pools))
	}
	return d.Desc(), nil
}

func TestR8BlockSize(t *testing.T) { // fact 4
	for _, x := range []struct {
		typ  DeviceType
		size uint32
		want error
	}{
		{TypeDisk, 0, errEINVAL}, {TypeDisk, 1, errEINVAL}, {TypeDisk, 256, errEINVAL}, {TypeDisk, 511, errEINVAL},
		{TypeDisk, 512, nil}, {TypeDisk, 1024, nil}, {TypeDisk, 4096, nil}, {TypeDisk, 65536, nil}, {TypeDisk, 1 << 31, nil},
		// The module takes these and rounds down; here they are refused.
		{TypeDisk, 520, errEINVAL}, {TypeDisk, 1000, errEINVAL},
		{TypeROM, 0, errEINVAL}, {TypeROM, 2048, nil},
		{TypeMO, 0, errEINVAL}, {TypeMO, 512, nil},
		{0x01, 0, nil}, {0x03, 0, nil}, {0x08, 0, nil}, {0x1f, 0, nil}, {0xff, 0, nil}, {0xff, 3, nil},
	} {
		_, err := tryRegister(t, func(d *Desc) { d.Type, d.BlockSize = x.typ, x.size })
		if !errors.Is(err, x.want) {
			t.Errorf("type %#x, block size %d: %v, want %v", uint8(x.typ), x.size, err, x.want)
		}
	}
}

func TestR9DuplicateName(t *testing.T) { // fact 7
	r := NewRegistry(Limits{})
	mem := newTestMemory()
	open := func(change func(*Desc)) (*Device, error) {
		desc := plainDesc()
		change(&desc)
		return r.Register(desc, mem, nil)
	}
	first, err := open(func(*Desc) {})
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Desc){
		"same name":             func(*Desc) {},
		"same name, other pool": func(d *Desc) { d.SGVName = "other" },
		"other name, same pool": func(d *Desc) { d.Name, d.SGVName = "disk2", "disk1" },
		"clustered pool's name": func(d *Desc) { d.Name, d.SGVNoClustered = "disk1-clust", true },
		"name clash behind -clust": func(d *Desc) {
			d.Name, d.SGVName = "disk3", "disk1"
			d.SGVShared = true // the first one's is not
		},
	} {
		if _, err := open(change); !errors.Is(err, errEEXIST) {
			t.Errorf("%s: %v, want EEXIST", name, err)
		}
	}
	if n := len(r.pools); n != 2 {
		t.Errorf("R13: %d pools, want the first device's 2", n)
	}
	other, err := open(func(d *Desc) { d.Name = "disk2" })
	if err != nil {
		t.Errorf("another name: %v", err)
	}
	for _, d := range []*Device{first, other} {
		if err := d.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// Two handlers must not be given each other's buffers: a pool is shared by the
// devices of one handler only.
func TestI7PoolIsNotSharedBetweenHandlers(t *testing.T) {
	r := NewRegistry(Limits{})
	share := func(name string, mem Memory) (*Device, error) {
		desc := plainDesc()
		desc.Name, desc.SGVName, desc.SGVShared = name, "shared", true
		return r.Register(desc, mem, nil)
	}
	mem := newTestMemory()
	a, err := share("a", mem)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := share("b", newTestMemory()); !errors.Is(err, errEEXIST) {
		t.Errorf("another handler: %v, want EEXIST", err)
	}
	b, err := share("b", mem)
	if err != nil {
		t.Fatal(err)
	}
	if a.pool != b.pool || a.clust != b.clust {
		t.Error("the pools are not shared")
	}
	for i, d := range []*Device{a, b} {
		if err := d.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if want := 2 * (1 - i); len(r.pools) != want {
			t.Errorf("%d pools after %d releases, want %d", len(r.pools), i+1, want)
		}
	}
	// A Memory that can't be compared shares with nobody, and breaks nothing.
	odd := oddMemory{x: []int{1}}
	c, err := share("c", odd)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := share("d", odd); !errors.Is(err, errEEXIST) {
		t.Errorf("a Memory that can't be compared: %v, want EEXIST", err)
	}
	if err := c.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

type oddMemory struct{ x []int }

func (oddMemory) Map(uint64, int) ([]byte, error) { return nil, errEFAULT }
func (oddMemory) Unmap(uint64, []byte)            {}

func TestR11Names(t *testing.T) { // fact 6
	long := strings.Repeat("n", 50)
	for _, x := range []struct {
		name      string
		want      error
		as        string
		sgv, sgvs string
	}{
		{name: "", want: errENOMEM},
		{name: "a/b", want: errEINVAL},
		{name: "a\x00b", want: errEINVAL},
		{name: "a b", as: "a b", sgvs: "a b"},
		{name: long[:49], as: long[:48], sgvs: long[:48]},
		{name: long, as: long[:48], sgvs: long[:48]},
		{name: "d", sgv: "pool", as: "d", sgvs: "pool"},
		{name: "d", sgv: long, as: "d", sgvs: long[:48]},
	} {
		d, err := tryRegister(t, func(d *Desc) { d.Name, d.SGVName = x.name, x.sgv })
		if !errors.Is(err, x.want) || d.Name != x.as || d.SGVName != x.sgvs {
			t.Errorf("name %q, sgv_name %q: %v, name %q, sgv_name %q", x.name, x.sgv, err, d.Name, d.SGVName)
		}
	}
}

func TestR11Pools(t *testing.T) {
	b := newBareBench(t)
	if s := b.dev.PoolStats(); len(s) != 2 || s[0].Name != "disk1" || s[1].Name != "disk1-clust" {
		t.Errorf("pools %+v", s)
	}
	b.close()
	b = newBareBench(t, withDesc(func(d *Desc) { d.SGVNoClustered = true }))
	if s := b.dev.PoolStats(); len(s) != 1 {
		t.Errorf("pools %+v, want one", s)
	}
	b.close()
}

func TestFact6SGVOptions(t *testing.T) {
	if _, err := tryRegister(t, func(d *Desc) { d.SGVSinglePages = -1 }); !errors.Is(err, errENOMEM) {
		t.Errorf("sgv_single_alloc_pages -1: %v, want ENOMEM", err)
	}
	for _, f := range []func(*Desc){
		func(d *Desc) { d.SGVSinglePages = 16 },
		func(d *Desc) { d.SGVPurgeInterval = -1 },
		func(d *Desc) { d.SGVPurgeInterval = 1 },
	} {
		if _, err := tryRegister(t, f); err != nil {
			t.Error(err)
		}
	}
}

// badOpts are the values that R20 refuses; okOpts those at its edges (fact 5).
var (
	badOpts = map[string]func(*Opt){
		"parse": func(o *Opt) { o.Parse = 3 }, "on_free": func(o *Opt) { o.OnFree = 2 },
		"reuse": func(o *Opt) { o.Reuse = 4 }, "partial": func(o *Opt) { o.PartialType = 3 },
		"tst": func(o *Opt) { o.TST = 2 }, "tmf_only": func(o *Opt) { o.TMFOnly = 2 },
		"queue_alg": func(o *Opt) { o.QueueAlg = 2 }, "qerr 2": func(o *Opt) { o.QErr = 2 },
		"qerr 4": func(o *Opt) { o.QErr = 4 }, "tas": func(o *Opt) { o.TAS = 2 }, "swp": func(o *Opt) { o.SWP = 2 },
		"d_sense": func(o *Opt) { o.DSense = 2 }, "own_order": func(o *Opt) { o.OwnOrder = 2 },
		"ext_copy": func(o *Opt) { o.ExtCopyRemap = 2 }, "parse 255": func(o *Opt) { o.Parse = 255 },
	}
	okOpts = map[string]func(*Opt){
		"parse": func(o *Opt) { o.Parse = 2 }, "on_free": func(o *Opt) { o.OnFree = 1 },
		"reuse": func(o *Opt) { o.Reuse = 3 }, "partial": func(o *Opt) { o.PartialType = 2 },
		"partial_len": func(o *Opt) { o.PartialLen = -1 },
		"tst":         func(o *Opt) { o.TST = 0 }, "tmf_only": func(o *Opt) { o.TMFOnly = 1 },
		"queue_alg": func(o *Opt) { o.QueueAlg = 0 }, "qerr 1": func(o *Opt) { o.QErr = 1 },
		"qerr 3": func(o *Opt) { o.QErr = 3 }, "tas": func(o *Opt) { o.TAS = 1 }, "swp": func(o *Opt) { o.SWP = 1 },
		"d_sense": func(o *Opt) { o.DSense = 1 }, "own_order": func(o *Opt) { o.OwnOrder = 1 },
		"ext_copy": func(o *Opt) { o.ExtCopyRemap = 1 },
	}
)

func TestR12OptionsAtRegistration(t *testing.T) {
	for name, f := range badOpts {
		if _, err := tryRegister(t, func(d *Desc) { f(&d.Opt) }); !errors.Is(err, errEINVAL) {
			t.Errorf("%s: %v, want EINVAL", name, err)
		}
	}
	for name, f := range okOpts {
		want := plainDesc().Opt
		f(&want)
		d, err := tryRegister(t, func(d *Desc) { f(&d.Opt) })
		if err != nil || d.Opt != want {
			t.Errorf("%s: %v, options %+v, want %+v", name, err, d.Opt, want)
		}
	}
}

// R12: what the standard parser does not know is parsed by its handler.
func TestR12UnknownTypeIsParsedByItsHandler(t *testing.T) {
	d, err := tryRegister(t, func(d *Desc) { d.Type, d.BlockSize = 0x1f, 0 })
	if err != nil || ParseType(d.Opt.Parse) != ParseCall {
		t.Errorf("%v, parse type %d, want call", err, d.Opt.Parse)
	}
}

// R13: what was refused leaves no residue.
func TestR13FailedRegistrationLeavesNothing(t *testing.T) {
	r := NewRegistry(Limits{})
	desc := plainDesc()
	desc.Opt.Parse = 7
	if _, err := r.Register(desc, newTestMemory(), nil); !errors.Is(err, syscall.EINVAL) {
		t.Fatal(err)
	}
	d, err := r.Register(plainDesc(), newTestMemory(), nil)
	if err != nil {
		t.Fatalf("the name is not free after a failed registration: %v", err)
	}
	if err := d.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
