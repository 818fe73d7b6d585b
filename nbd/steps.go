package nbd

import (
	"math"
	"time"

	"scstuser/scsi"
)

// scsiStep is a kind of SCSI command that a request needs (nbd.md "NBD to SCSI").
//
//	map ── main ─┬─ main, the next piece ─┬─ sync ── answer
//	             └─ zero, piece by piece ─┘
type scsiStep uint8

const (
	stepMain scsiStep = iota // what the request says, or the next piece of it
	stepZero                 // a plain WRITE of zeroes, of the next piece
	stepSync                 // SYNCHRONIZE CACHE, for a FUA that the others can't carry
	stepMap                  // GET LBA STATUS, before a READ that may be sparse, and for BLOCK_STATUS
)

// zeroPiece is how much a plain WRITE of zeroes writes at most, in bytes.
const zeroPiece = 256 << 10

// submit gives the command of the present step to the target.
func (r *request) submit() {
	if r.step == stepMain && r.h.typ == cmdWriteZeroes && r.piece() == 1 {
		// Some handlers say GOOD to a WRITE SAME of one block and write
		// nothing (nbd.md).
		r.step = stepZero
	}
	r.taken = false
	cdb := r.cdb()
	r.cmd.Init(cdb.Slice(), scsi.QueueSimple)
	// Parts of other requests, and pieces of sparse READs, are looked at.
	r.cmd.TakesFile = r.h.typ == cmdRead && r.step == stepMain && r.call == nil && len(r.runs) == 0 && r.c.tr.sendsFiles()
	r.c.sess.Submit(&r.cmd)
}

// cdb builds the command of the present step.
func (r *request) cdb() scsi.CDB {
	e, n := r.c.exp, r.piece()
	switch r.step {
	case stepSync:
		return scsi.EncodeSyncCache16(0, 0)
	case stepZero:
		return scsi.EncodeWrite16(r.lba, uint32(n), false)
	case stepMap:
		return scsi.EncodeGetLBAStatus16(r.lba, r.mapLength())
	}
	switch r.h.typ {
	case cmdRead:
		return scsi.EncodeRead16(r.lba, uint32(n), false)
	case cmdWrite:
		return scsi.EncodeWrite16(r.lba, uint32(n), r.h.flags&cmdFlagFUA != 0 && e.fua)
	case cmdTrim:
		return scsi.EncodeUnmap(unmapListLen)
	case cmdWriteZeroes:
		return scsi.EncodeWriteSame16(r.lba, uint32(n), r.h.flags&cmdFlagNoHole == 0 && e.canWriteSameUnmap, true)
	case cmdCache:
		return scsi.EncodePreFetch16(r.lba, uint32(n), true)
	}
	return scsi.EncodeSyncCache16(0, 0) // cmdFlush
}

const unmapListLen = scsi.UnmapHeaderLen + scsi.UnmapDescriptorLen

// piece is how many blocks the command of the present step covers.
func (r *request) piece() uint64 {
	e := r.c.exp
	switch {
	case r.step == stepZero:
		return min(r.left, e.zeroBlocks)
	case r.h.typ == cmdTrim:
		return min(r.left, e.maxUnmap)
	case r.h.typ == cmdWriteZeroes:
		return min(r.left, e.maxWriteSame)
	case r.h.typ == cmdCache:
		return min(r.left, math.MaxUint32)
	}
	return r.left
}

// takes is how many bytes of data the command of the present step takes; the
// target has a buffer of n.
func (r *request) takes(n int) int {
	block := int(r.c.exp.blockSize)
	switch {
	case r.step == stepSync:
		return 0
	case r.step == stepZero:
		return int(r.piece()) * block
	case r.h.typ == cmdWrite:
		return int(r.h.length)
	case r.h.typ == cmdTrim:
		return unmapListLen
	case r.h.typ == cmdWriteZeroes && n == block:
		return n // a handler that does not know NDOB: it gets its zeroes
	}
	return 0
}

// fill puts the data that the command takes into its buffer. false: the data
// is in the socket.
func (r *request) fill(buf []byte) bool {
	switch {
	case r.h.typ == cmdTrim:
		scsi.PutUnmapDescriptors(buf, scsi.UnmapDescriptor{LBA: r.lba, Blocks: uint32(r.piece())})
	case r.h.typ == cmdWriteZeroes:
		clear(buf)
	case r.payload != nil:
		copy(buf, r.payload)
	default:
		return false
	}
	return true
}

// maxTries is how often a command is tried that the target has no room for, or
// that a unit attention has got in the way of: some seconds.
const maxTries = 12

func backOff(try int) time.Duration {
	return min(time.Millisecond<<try, 500*time.Millisecond)
}

// outcome looks at how the present command ended. over: the request is, and
// errno and data are set. Otherwise another command is to follow, after wait.
func (r *request) outcome() (over bool, wait time.Duration) {
	status := r.cmd.Status
	if status == scsi.Good && !r.mute {
		return r.good(), 0
	}
	var sense scsi.Sense
	if status == scsi.CheckCondition {
		sense, _ = scsi.ParseSense(r.cmd.Sense()) // without sense: EIO
	}
	switch {
	case r.mute: // half of its data is not worth another try
		return true, 0
	case status == scsi.Busy || status == scsi.TaskSetFull:
		if r.tries < maxTries {
			r.tries++
			return false, backOff(r.tries)
		}
	case sense.Key == scsi.KeyUnitAttention && !sense.Deferred:
		if sense.Is(scsi.SenseCapacityChanged) {
			r.c.exp.capacityChanged()
		}
		if r.tries < maxTries {
			r.tries++
			return false, 0
		}
	case status != scsi.Good && r.step == stepMap && (r.h.typ == cmdRead || unknownToHandler(sense)):
		return r.notMapped(), 0
	case unknownToHandler(sense) && r.step == stepMain:
		switch r.h.typ {
		case cmdWriteZeroes:
			if r.h.flags&cmdFlagFastZero != 0 {
				r.fail(refuseSlowZeroes)
				return true, 0
			}
			r.step = stepZero
			return false, 0
		case cmdTrim, cmdCache: // advisory
			r.left = 0
			return r.next(), 0
		}
	}
	r.failWithSense(status, sense)
	return r.errno != errnoNone || r.good(), 0
}

// unknownToHandler says whether a handler does not know a command, or not this
// form of it (NDOB, say).
func unknownToHandler(s scsi.Sense) bool {
	return s.Is(scsi.SenseInvalidOpcode) || s.Is(scsi.SenseInvalidFieldInCDB) || s.Is(scsi.SenseInvalidFieldInParameterList)
}

// good goes on after a command that went well, if all of its data moved. over:
// there is nothing to go on with.
func (r *request) good() (over bool) {
	switch {
	case r.step == stepSync:
		return true
	case r.step == stepMap:
		return r.mapped()
	case r.h.typ == cmdRead:
		r.data, r.file = r.cmd.Data(), r.cmd.File
		if uint64(len(r.data)) != r.left*uint64(r.c.exp.blockSize) {
			r.fail(refuseShortAnswer)
		}
		return len(r.runs) == 0 || r.errno != errnoNone || r.pieceRead()
	case (r.h.typ == cmdWrite || r.step == stepZero) && !r.taken:
		r.fail(refuseNoData) // a handler whose parse saw no data to be written
		return true
	}
	n := r.piece()
	r.lba += n
	r.left -= n
	return r.next()
}

// next moves on to what is left to be done.
func (r *request) next() (over bool) {
	r.tries = 0
	switch {
	case r.left > 0:
		return false
	case r.syncAfter:
		r.syncAfter = false
		r.step = stepSync
		return false
	}
	return true
}
