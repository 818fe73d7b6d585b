package fileio

import (
	"sync"
	"unsafe"
)

// bounceSize is how much a bounce buffer holds, in bytes. Longer requests go
// through it in pieces.
const bounceSize = 256 << 10

// bounce is memory as O_DIRECT wants it. The Go heap doesn't move it.
type bounce struct{ mem []byte }

var bounces = sync.Pool{New: func() any { return newBounce() }}

// bounceAlign is at least any device's alignment.
const bounceAlign = MaxBlockSize

func newBounce() *bounce {
	raw := make([]byte, bounceSize+bounceAlign)
	skip := -int(address(raw)) & (bounceAlign - 1)
	return &bounce{raw[skip : skip+bounceSize]}
}

func address(p []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(p))) }

// sectors is the whole sectors around n bytes at off. They are inside Size,
// which is a multiple of the alignment.
func (f *File) sectors(off, n int64) (start, end int64) {
	a := int64(f.align)
	return off &^ (a - 1), (off + n + a - 1) &^ (a - 1)
}

func (f *File) memoryAligned(p []byte) bool { return address(p)&uintptr(f.align-1) == 0 }

// readDirect is readFull for an fd with O_DIRECT.
func (f *File) readDirect(p []byte, off int64) (done int, err error) {
	start, end := f.sectors(off, int64(len(p)))
	if off == start && off+int64(len(p)) == end && f.memoryAligned(p) {
		return f.readFull(p, off)
	}
	b := bounces.Get().(*bounce)
	defer bounces.Put(b)
	for pos := start; pos < end; {
		piece := b.mem[:min(end-pos, bounceSize)]
		n, err := f.readFull(piece, pos)
		if skip := off + int64(done) - pos; skip < int64(n) {
			done += copy(p[done:], piece[skip:n])
		}
		if err != nil {
			return done, err
		}
		pos += int64(n)
	}
	return done, nil
}

// writeDirect is writeFull for an fd with O_DIRECT. The sectors that p covers
// only in part keep their other bytes, also against writes at the same time.
func (f *File) writeDirect(p []byte, off int64, durable bool) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	start, end := f.sectors(off, int64(len(p)))
	whole := off == start && off+int64(len(p)) == end
	held := f.ranges.lock(start, end, !whole)
	defer f.ranges.unlock(held)
	if whole && f.memoryAligned(p) {
		return f.writeFull(p, off, durable)
	}
	b := bounces.Get().(*bounce)
	defer bounces.Put(b)
	return f.writeBounced(b.mem, p, off, durable)
}

// writeBounced writes p through mem, piece by piece. The caller holds the
// sectors.
func (f *File) writeBounced(mem, p []byte, off int64, durable bool) (int, error) {
	start, end := f.sectors(off, int64(len(p)))
	done := 0
	for pos := start; pos < end; {
		piece := mem[:min(end-pos, bounceSize)]
		skip := int(off + int64(done) - pos) // only in the first piece
		fill := min(len(p)-done, len(piece)-skip)
		if err := f.readEdges(piece, pos, skip, skip+fill); err != nil {
			return done, err
		}
		copy(piece[skip:], p[done:done+fill])
		n, err := f.writeFull(piece, pos, durable)
		if err != nil {
			return done + min(max(n-skip, 0), fill), err
		}
		done += fill
		pos += int64(n)
	}
	return done, nil
}

// readEdges reads the first and the last sector of piece, which belongs at pos,
// if the bytes from lo to hi don't cover them.
func (f *File) readEdges(piece []byte, pos int64, lo, hi int) error {
	last := len(piece) - f.align
	if lo > 0 {
		if _, err := f.readFull(piece[:f.align], pos); err != nil {
			return err
		}
	}
	if hi < len(piece) && (last > 0 || lo == 0) {
		if _, err := f.readFull(piece[last:], pos+int64(last)); err != nil {
			return err
		}
	}
	return nil
}
