package nbd

import "scstuser/scsi"

// A READ with structured replies sends holes as such (row 17), and does not read
// them. What it sends is decided by GET LBA STATUS, which is asked before the
// READ unless the export is known to have data there (knowndata.go). Then the
// data is read and sent piece by piece, each piece with the holes before it:
//
//	map ─┬─ no holes: one READ, one chunk
//	     ├─ only holes: their chunks
//	     └─ READ of a piece ── its chunks ── sent ── READ of the next piece ─ …
//
// A piece ends where a hole is worth a command of its own. The pieces follow each
// other when the one before has left, so a request never needs more than one
// buffer.

const (
	// mapRuns is how many runs are asked for at a time. What lies behind them
	// is read as data.
	mapRuns = 128
	// worthSkipping is how long a hole is, in bytes, that is not read along
	// with the data around it.
	worthSkipping = 64 << 10
)

// mayBeSparse says whether r is a READ to which holes matter and that may have
// some.
func (r *request) mayBeSparse() bool {
	e := r.c.exp
	if r.c.mode == modeSimple || !e.holesAreZero || r.call != nil || r.h.flags&cmdFlagDF != 0 || !e.aligned(&r.h) {
		return false
	}
	return !e.data.covers(r.lba, r.left)
}

// mapLength is the allocation length of GET LBA STATUS.
func (r *request) mapLength() uint32 {
	r.seen = r.c.exp.data.state()
	runs := mapRuns
	if r.h.flags&cmdFlagReqOne != 0 {
		runs = 1
	}
	return uint32(scsi.LBAStatusHeaderLen + runs*scsi.LBAStatusDescriptorLen)
}

// notMapped goes on when the device can't or does not want to tell where its
// holes are: all is data.
func (r *request) notMapped() (over bool) {
	r.tries = 0
	r.step = stepMain
	return r.h.typ == cmdBlockStatus
}

// mapped goes on with what GET LBA STATUS has answered.
func (r *request) mapped() (over bool) {
	runs, err := scsi.ParseLBAStatus(r.runs[:0], r.cmd.Data())
	if err != nil {
		return r.notMapped()
	}
	e := r.c.exp
	r.tries = 0
	r.step = stepMain
	r.runs = contiguous(runs, r.lba)
	e.data.learn(r.seen, r.runs)
	if r.h.typ == cmdBlockStatus {
		return true
	}
	r.runs = cutTo(r.runs, r.lba, r.left)
	if !hasHoles(r.runs) {
		r.runs = r.runs[:0]
		return false // an ordinary READ
	}
	r.run = 0
	return r.nextPiece()
}

// nextPiece sets lba and left to the data that is to be read next. over: there is
// none, and the chunks of the holes that are left are the rest of the reply.
func (r *request) nextPiece() (over bool) {
	first := r.run
	for first < len(r.runs) && r.runs[first].Status != scsi.LBAMapped {
		first++
	}
	if first == len(r.runs) {
		r.appendChunks(len(r.runs), 0)
		return true
	}
	r.lba = r.runs[first].LBA
	r.left = r.pieceEnd(first) - r.lba
	return false
}

// pieceEnd is the end of the data that is read together with run first: the first
// hole that is worth a command of its own, or the last data.
func (r *request) pieceEnd(first int) uint64 {
	least := worthSkipping / uint64(r.c.exp.blockSize)
	end := uint64(0)
	for _, s := range r.runs[first:] {
		switch {
		case s.Status == scsi.LBAMapped:
			end = s.LBA + uint64(s.Blocks)
		case uint64(s.Blocks) >= least:
			return end
		}
	}
	return end
}

// pieceRead makes the chunks of the piece that was read, and of the holes around
// it. over: they are the last ones. Otherwise they are sent, and the next piece
// follows.
func (r *request) pieceRead() (over bool) {
	end, from := r.lba+r.left, r.lba
	last := r.run
	for last < len(r.runs) && r.runs[last].LBA < end {
		last++
	}
	rest := last
	for rest < len(r.runs) && r.runs[rest].Status != scsi.LBAMapped {
		rest++
	}
	if rest == len(r.runs) {
		last = rest // nothing but holes is left
	}
	r.appendChunks(last, from)
	r.data = nil
	if last == len(r.runs) {
		return true
	}
	r.nextPiece()
	r.tries = 0
	r.partial = true
	return false
}

// appendChunks sets more to the chunks of the runs up to the given one. data is
// what was read from block from on.
func (r *request) appendChunks(to int, from uint64) {
	block := uint64(r.c.exp.blockSize)
	runs := r.runs[r.run:to]
	heads := make([]byte, 0, len(runs)*maxChunkHeader) // never grows: more points into it
	r.more = make([][]byte, 0, 2*len(runs))
	for i, s := range runs {
		flags := uint16(0)
		if r.run+i == len(r.runs)-1 {
			flags = chunkDone
		}
		at, n := s.LBA*block, uint64(s.Blocks)*block
		begin := len(heads)
		if s.Status != scsi.LBAMapped {
			heads = appendHoleChunk(heads, r.c.mode, flags, &r.h, at, uint32(n))
			r.more = append(r.more, heads[begin:])
			continue
		}
		heads = appendDataChunk(heads, r.c.mode, flags, &r.h, at, n)
		r.more = append(r.more, heads[begin:len(heads):len(heads)], r.data[(s.LBA-from)*block:][:n])
	}
	r.run = to
}
