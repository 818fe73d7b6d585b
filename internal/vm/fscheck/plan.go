package main

import (
	"fmt"
	"math/rand/v2"
)

const (
	maxFiles = 24
	maxSize  = 1 << 20 // of a file, in bytes
	maxWrite = 96 << 10
)

// plan draws operations.
type plan struct {
	rng  *rand.Rand
	fill *rand.ChaCha8 // what is written
}

func newPlan(seed uint64) *plan {
	var key [32]byte
	copy(key[:], fmt.Sprintf("fscheck %d", seed))
	return &plan{rng: rand.New(rand.NewPCG(seed, 0)), fill: rand.NewChaCha8(key)}
}

// next draws an operation that can be done to m.
func (p *plan) next(m *model) op {
	names := m.names()
	if len(names) == 0 || len(names) < maxFiles && p.rng.IntN(8) == 0 {
		return p.write(p.newName(), 0)
	}
	name := names[p.rng.IntN(len(names))]
	size := int64(len(m.files[name]))
	switch n := p.rng.IntN(100); {
	case n < 35:
		return p.write(name, size)
	case n < 45:
		o := p.write(name, size)
		o.offset = size // append
		return p.within(o)
	case n < 57:
		return op{kind: opTruncate, name: name, length: p.rng.Int64N(maxSize)}
	case n < 67:
		return op{kind: opPunch, name: name, offset: p.rng.Int64N(size + 1), length: 1 + p.rng.Int64N(maxSize/4)}
	case n < 75:
		to := p.newName()
		if p.rng.IntN(2) == 0 {
			to = names[p.rng.IntN(len(names))]
		}
		return op{kind: opRename, name: name, to: to}
	case n < 79:
		return op{kind: opUnlink, name: name}
	case n < 89:
		return op{kind: opSync, name: name}
	default:
		return op{kind: opRead, name: name}
	}
}

// newName draws a name, which may be in use: renaming and writing take that.
func (p *plan) newName() string {
	return fmt.Sprintf("d%d/f%d", p.rng.IntN(4), p.rng.IntN(1000))
}

// write draws a write to a file of that size: whole blocks and any bytes, in the
// middle, over the end, and leaving a hole behind the end.
func (p *plan) write(name string, size int64) op {
	length := 1 + p.rng.Int64N(maxWrite)
	offset := p.rng.Int64N(size + size/8 + 1)
	if p.rng.IntN(2) == 0 {
		offset, length = offset&^4095, (length+4095)&^4095
	}
	o := op{kind: opWrite, name: name, offset: offset, data: make([]byte, length)}
	_, _ = p.fill.Read(o.data) // never fails
	return p.within(o)
}

// within keeps a file from growing beyond maxSize.
func (p *plan) within(o op) op {
	o.offset = max(0, min(o.offset, maxSize-int64(len(o.data))))
	return o
}

// String is for messages.
func (o op) String() string {
	switch o.kind {
	case opWrite:
		return fmt.Sprintf("write %s, %d bytes at %d", o.name, len(o.data), o.offset)
	case opTruncate:
		return fmt.Sprintf("truncate %s to %d", o.name, o.length)
	case opPunch:
		return fmt.Sprintf("punch %s, %d bytes at %d", o.name, o.length, o.offset)
	case opRename:
		return fmt.Sprintf("rename %s to %s", o.name, o.to)
	}
	return string(o.kind) + " " + o.name
}
