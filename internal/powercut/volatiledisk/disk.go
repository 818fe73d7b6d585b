package volatiledisk

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"scstuser/handlers"
)

// ErrOff is what calls return that were waiting for a disk without power when it
// was closed.
var ErrOff = errors.New("the disk has no power")

// Disk is a Medium with the power on. It implements handlers.Backing and what
// is optional of it, for any number of goroutines.
type Disk struct {
	m *Medium
	// cut is closed when the power is gone, closed by Close.
	cut, closed chan struct{}
	closeOnce   sync.Once

	// mu guards what follows, and m's table.
	mu  sync.Mutex
	off bool
	// now is what a read returns.
	now []*chunk
	// dirty are the chunks in which now and m may differ.
	dirty map[int64]struct{}
	// cache is what was written since the last flush, in that order; first
	// counts what was before.
	cache []change
	first int
	// until is how many commands are carried out before the power goes by
	// itself; negative: any number.
	until int

	// Set before the disk is used. lies leaves out what makes data stable;
	// latency is how long a flush takes; whole is what a cut leaves whole, in
	// bytes.
	lies    bool
	latency time.Duration
	whole   int64
}

// change is a write. What was durable at once is among them because it
// replaces what is before it in the cache.
type change struct {
	off, n  int64
	data    []byte // nil: zeroes
	durable bool
}

var (
	_ handlers.Backing       = (*Disk)(nil)
	_ handlers.NonBlocker    = (*Disk)(nil)
	_ handlers.Syncer        = (*Disk)(nil)
	_ handlers.DurableWriter = (*Disk)(nil)
	_ handlers.Puncher       = (*Disk)(nil)
	_ handlers.Zeroer        = (*Disk)(nil)
	_ handlers.Aligned       = (*Disk)(nil)
	_ handlers.Described     = (*Disk)(nil)
)

// PowerOn switches the medium on. There can be only one Disk at a time: the one
// before has to be cut or closed.
func (m *Medium) PowerOn() (*Disk, error) {
	if m.disk != nil {
		return nil, errors.New("the disk is on already: cut or close it first")
	}
	d := &Disk{
		m: m, cut: make(chan struct{}), closed: make(chan struct{}),
		now: append([]*chunk(nil), m.chunks...), dirty: map[int64]struct{}{}, until: -1, whole: SectorSize,
	}
	m.disk = d
	return d, nil
}

// Lie makes the disk answer flushes and durable writes without making anything
// stable, for showing that somebody notices. It must be called before anybody
// else uses the disk.
func (d *Disk) Lie() { d.lies = true }

// SlowFlush makes a flush take some time, so that there is something in the cache
// when the power goes, and an answer that did not wait for it comes too early. It
// must be called before anybody else uses the disk.
func (d *Disk) SlowFlush(latency time.Duration) { d.latency = latency }

// KeepWhole makes a cut leave aligned parts of this many bytes whole, a power of
// two from SectorSize to 16 KiB, as disks do whose physical sectors are larger
// than the logical ones. Default: SectorSize. It must be called before anybody else
// uses the disk.
func (d *Disk) KeepWhole(bytes int64) {
	if bytes < SectorSize || bytes > chunkSize || bytes&(bytes-1) != 0 {
		panic(fmt.Sprintf("parts of %d bytes: use a power of two from %d to %d", bytes, SectorSize, chunkSize))
	}
	d.whole = bytes
}

func (d *Disk) check(op string, off, n int64) error {
	if off < 0 || n < 0 || off > d.m.size || n > d.m.size-off || off%SectorSize != 0 || n%SectorSize != 0 {
		return fmt.Errorf("%s %d bytes at %d: not sectors of a disk of %d", op, n, off, d.m.size)
	}
	return nil
}

// begin takes mu for an operation, or waits for the end of a disk without power.
func (d *Disk) begin(op string, off, n int64) error {
	if err := d.check(op, off, n); err != nil {
		return err
	}
	d.mu.Lock()
	if d.off {
		d.mu.Unlock()
		<-d.closed
		return ErrOff
	}
	return nil
}

// beginChange is begin for what CutAfter counts.
func (d *Disk) beginChange(op string, off, n int64) error {
	if err := d.begin(op, off, n); err != nil {
		return err
	}
	if d.until == 0 {
		d.powerOff()
		d.mu.Unlock()
		<-d.closed
		return ErrOff
	}
	d.until--
	return nil
}

// ReadAt implements handlers.Backing.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	if err := d.begin("read", off, int64(len(p))); err != nil {
		return 0, err
	}
	defer d.mu.Unlock()
	readChunks(d.now, p, off)
	return len(p), nil
}

// WriteAt implements handlers.Backing: p is in the cache afterwards.
func (d *Disk) WriteAt(p []byte, off int64) (int, error) { return d.write(p, off, false) }

// WriteAtDurable implements handlers.DurableWriter: p is on the medium.
func (d *Disk) WriteAtDurable(p []byte, off int64) (int, error) { return d.write(p, off, !d.lies) }

func (d *Disk) write(p []byte, off int64, durable bool) (int, error) {
	if err := d.beginChange("write", off, int64(len(p))); err != nil {
		return 0, err
	}
	defer d.mu.Unlock()
	d.change(change{off: off, n: int64(len(p)), data: append([]byte{}, p...), durable: durable})
	return len(p), nil
}

// Punch implements handlers.Puncher.
func (d *Disk) Punch(off, n int64) error { return d.Zero(off, n) }

// PunchGranularity implements handlers.Puncher.
func (d *Disk) PunchGranularity() int64 { return SectorSize }

// Zero implements handlers.Zeroer.
func (d *Disk) Zero(off, n int64) error {
	if err := d.beginChange("zero", off, n); err != nil {
		return err
	}
	defer d.mu.Unlock()
	d.change(change{off: off, n: n})
	return nil
}

// Sync implements handlers.Syncer: what is in the cache now gets to the medium;
// what is written meanwhile does not.
func (d *Disk) Sync() error {
	if err := d.beginChange("flush", 0, 0); err != nil {
		return err
	}
	end := d.first + len(d.cache)
	if d.latency > 0 {
		d.mu.Unlock()
		select {
		case <-time.After(d.latency):
		case <-d.cut:
		}
		if err := d.begin("flush", 0, 0); err != nil {
			return err
		}
	}
	defer d.mu.Unlock()
	if n := end - d.first; n > 0 && !d.lies {
		d.flush(n)
	}
	return nil
}

// flush gets the first n changes in the cache to the medium. The caller holds mu.
func (d *Disk) flush(n int) {
	if n < len(d.cache) {
		for i, c := range d.cache {
			// What was durable at once is on the medium, and has to stay on
			// top of what was before it in the cache.
			if i < n || c.durable {
				d.store(c)
			}
		}
	} else {
		for i := range d.dirty {
			d.m.chunks[i] = d.now[i]
		}
		clear(d.dirty)
	}
	d.cache = append([]change(nil), d.cache[n:]...)
	d.first += n
}

// store puts a change on the medium. The caller holds mu.
func (d *Disk) store(c change) {
	for off := c.off; off < c.off+c.n; {
		i := off / chunkSize
		n := min((i+1)*chunkSize, c.off+c.n) - off
		d.apply(d.m.chunks, i, c, off, n, false)
		off += n
	}
}

// change carries out a change. The caller holds mu.
func (d *Disk) change(c change) {
	if c.n == 0 {
		return
	}
	d.cache = append(d.cache, c)
	for off := c.off; off < c.off+c.n; {
		i := off / chunkSize
		n := min((i+1)*chunkSize, c.off+c.n) - off
		// What both tables have must not be changed for one of them only.
		d.apply(d.now, i, c, off, n, !c.durable && d.now[i] == d.m.chunks[i])
		if _, differs := d.dirty[i]; c.durable && differs {
			d.apply(d.m.chunks, i, c, off, n, false)
		} else if c.durable {
			d.m.chunks[i] = d.now[i]
		} else {
			d.dirty[i] = struct{}{}
		}
		off += n
	}
}

// apply changes the range of c from off on, n bytes that are in chunk i, in one
// table, and in the chunk itself unless it has to be copied because the other table
// has it as well.
func (d *Disk) apply(state []*chunk, i int64, c change, off, n int64, shared bool) {
	whole := n == chunkSize
	if c.data == nil && (whole || state[i] == nil) {
		state[i] = nil
		return
	}
	if old := state[i]; old == nil || shared {
		state[i] = new(chunk)
		if old != nil && !whole {
			*state[i] = *old
		}
	}
	part := state[i][off%chunkSize:][:n]
	if c.data == nil {
		clear(part)
	} else {
		copy(part, c.data[off-c.off:])
	}
}

// TryReadAt implements handlers.NonBlocker.
func (d *Disk) TryReadAt(p []byte, off int64) error {
	if err := d.check("read", off, int64(len(p))); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return handlers.ErrWouldBlock
	}
	readChunks(d.now, p, off)
	return nil
}

// TryWriteAt implements handlers.NonBlocker. It leaves writing to WriteAt, which
// may be the one that the power does not last for.
func (d *Disk) TryWriteAt(p []byte, off int64) error {
	if err := d.check("write", off, int64(len(p))); err != nil {
		return err
	}
	return handlers.ErrWouldBlock
}

// Size implements handlers.Backing.
func (d *Disk) Size() int64 { return d.m.size }

// ReadOnly implements handlers.Backing.
func (d *Disk) ReadOnly() bool { return false }

// Alignment implements handlers.Aligned.
func (d *Disk) Alignment() int { return SectorSize }

// Describe implements handlers.Described.
func (d *Disk) Describe() string { return "a disk with a volatile cache" }

// Close implements handlers.Backing. A disk that is still on is switched off as
// people do it, with nothing lost. Calls that wait end with ErrOff.
func (d *Disk) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.off {
		d.flush(len(d.cache))
		d.powerOff()
	}
	d.closeOnce.Do(func() {
		d.m.disk = nil
		close(d.closed)
	})
	return nil
}
