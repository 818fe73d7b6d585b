package nbd

import (
	"math"
	"sync/atomic"
	"time"

	"scstuser/scsi"
	"scstuser/target"
)

// request is one request of a client and the SCSI command that carries it
// out. A connection uses its requests again and again.
type request struct {
	cmd target.Cmd
	c   *conn
	h   requestHeader

	// errno is the answer, once there is one.
	errno uint32
	// mute: a request that has not arrived whole gets no reply.
	mute bool
	// data is what a READ answers.
	data []byte
	// hdr is the reply's header.
	hdr [simpleReplySize]byte

	// phase is where a WRITE is that waits for its payload.
	phase atomic.Int32
	// payload is a WRITE's data kept aside, for a second try.
	payload []byte
	// tries counts second tries. rerun: another command follows, after wait.
	tries int
	rerun bool
	wait  time.Duration
	// left, at: what of a long TRIM, WRITE_ZEROES or CACHE is still to be
	// done, in blocks.
	at, left uint64
	// step is which SCSI command is under way; then is what comes after it.
	step, then reqStep

	next *request
}

// The phases of a WRITE whose payload is in the socket: none (or not any more);
// submitted; its buffer is there; it has ended before that.
const (
	phaseNone = iota
	phaseSubmitted
	phaseReady
	phaseAnswered
)

// reqStep is a SCSI command that a request needs.
type reqStep uint8

const (
	stepNone   reqStep = iota
	stepMain           // what the request says, or the next piece of it
	stepZero           // plain WRITEs of zeroes, piece by piece
	stepSync           // SYNCHRONIZE CACHE behind a FUA that the command can't carry
	stepFinish         // nothing more: answer
)

// zeroPiece is how much of a plain write of zeroes is done at a time, in bytes.
const zeroPiece = 256 << 10

// knownFlags says which flags a command may carry (rows 13, 20). FUA is
// accepted on all of them.
func knownFlags(typ uint16) uint16 {
	if typ == cmdWriteZeroes {
		return cmdFlagFUA | cmdFlagNoHole
	}
	return cmdFlagFUA
}

// check applies the rules that need no SCSI command (rows 19 to 24). 0: go on.
func (r *request) check() uint32 {
	e, h := r.c.exp, &r.h
	size, block := e.size.Load(), uint64(e.blockSize)
	write := false
	switch h.typ {
	case cmdRead, cmdFlush, cmdCache:
	case cmdWrite, cmdTrim, cmdWriteZeroes:
		write = true
	default:
		return errnoInval
	}
	if h.flags&^knownFlags(h.typ) != 0 {
		return errnoInval
	}
	switch h.typ {
	case cmdTrim:
		if e.readOnly {
			return errnoPerm
		}
	case cmdCache:
		if !e.canCache {
			return errnoInval
		}
	case cmdFlush:
		// Offset and length are reserved and must be zero (proto.md).
		if h.offset != 0 || h.length != 0 {
			return errnoInval
		}
		return errnoNone
	}
	if write && e.readOnly {
		return errnoPerm
	}
	if (h.typ == cmdRead || h.typ == cmdWrite) && h.length > e.maxPayload {
		return errnoInval
	}
	if h.offset > size || uint64(h.length) > size-h.offset {
		if h.typ == cmdWrite || h.typ == cmdWriteZeroes {
			return errnoNoSpace
		}
		return errnoInval
	}
	if h.offset%block != 0 || uint64(h.length)%block != 0 {
		return errnoInval
	}
	return errnoNone
}

// start begins the SCSI side of a request that check let through. The
// answer may have been given when it returns.
func (r *request) start() {
	block := uint64(r.c.exp.blockSize)
	r.at, r.left = r.h.offset/block, uint64(r.h.length)/block
	r.tries, r.payload, r.data = 0, nil, nil
	r.step, r.then = stepMain, stepFinish
	r.phase.Store(phaseNone)
	switch r.h.typ {
	case cmdWrite:
		r.phase.Store(phaseSubmitted)
		if r.h.flags&cmdFlagFUA != 0 && !r.c.exp.fua {
			r.then = stepSync
		}
	case cmdTrim, cmdWriteZeroes:
		if r.h.flags&cmdFlagFUA != 0 {
			r.then = stepSync
		}
		if r.h.typ == cmdWriteZeroes && (!r.c.exp.canWriteSame || r.left == 1) {
			// One block: some handlers say GOOD to a WRITE SAME of one
			// block and write nothing (nbd.md).
			r.step = stepZero
		}
	}
	r.submit()
}

// submit builds the CDB of the present step and gives it to the target.
func (r *request) submit() {
	e := r.c.exp
	var cdb scsi.CDB
	fua := r.h.flags&cmdFlagFUA != 0
	switch {
	case r.step == stepSync, r.h.typ == cmdFlush:
		cdb = scsi.EncodeSyncCache16(0, 0)
	case r.step == stepZero:
		cdb = scsi.EncodeWrite16(r.at, uint32(min(r.left, uint64(zeroPiece/e.blockSize))), false)
	case r.h.typ == cmdRead:
		cdb = scsi.EncodeRead16(r.at, uint32(r.left), false)
	case r.h.typ == cmdWrite:
		cdb = scsi.EncodeWrite16(r.at, uint32(r.left), fua && e.fua)
	case r.h.typ == cmdTrim:
		cdb = scsi.EncodeUnmap(scsi.UnmapHeaderLen + scsi.UnmapDescriptorLen)
	case r.h.typ == cmdWriteZeroes:
		cdb = scsi.EncodeWriteSame16(r.at, uint32(min(r.left, e.maxWriteSame)), r.h.flags&cmdFlagNoHole == 0 && e.canWriteSameUnmap, true)
	case r.h.typ == cmdCache:
		cdb = scsi.EncodePreFetch16(r.at, uint32(min(r.left, math.MaxUint32)), true)
	}
	r.cmd.Init(cdb.Slice(), scsi.QueueSimple)
	r.c.sess.Submit(&r.cmd)
}

// piece is how many blocks the present command covers.
func (r *request) piece() uint64 {
	e := r.c.exp
	switch {
	case r.step == stepZero:
		return min(r.left, uint64(zeroPiece/e.blockSize))
	case r.h.typ == cmdTrim:
		return min(r.left, e.maxUnmap)
	case r.h.typ == cmdWriteZeroes:
		return min(r.left, e.maxWriteSame)
	}
	return r.left
}

// sends is how many bytes of data the present command takes.
func (r *request) sends() int {
	switch {
	case r.step == stepZero:
		return int(r.piece()) * int(r.c.exp.blockSize)
	case r.h.typ == cmdTrim:
		return scsi.UnmapHeaderLen + scsi.UnmapDescriptorLen
	}
	return int(r.h.length)
}

// fill puts the data of a command that does not take it from the socket into
// its buffer. false: it does.
func (r *request) fill(buf []byte) bool {
	switch {
	case r.step == stepZero:
		clear(buf)
	case r.h.typ == cmdTrim:
		scsi.PutUnmapDescriptors(buf, scsi.UnmapDescriptor{LBA: r.at, Blocks: uint32(r.piece())})
	case r.payload != nil:
		copy(buf, r.payload)
	default:
		return false
	}
	return true
}

// over looks at the outcome of a command and says whether the request is
// answered (errno and data are set), or needs another command: then its step
// is set, and wait is how long it should hold off.
func (r *request) over() (answered bool, wait time.Duration) {
	c := &r.cmd
	if c.Status == scsi.Good || c.Status == scsi.ConditionMet {
		return r.advance(), 0
	}
	sense, _ := scsi.ParseSense(c.Sense())
	switch c.Status {
	case scsi.Busy, scsi.TaskSetFull:
		if r.tries < maxTries {
			r.tries++
			return false, backOff(r.tries)
		}
	case scsi.CheckCondition:
		if sense.Key == scsi.KeyUnitAttention && r.tries < maxTries {
			r.tries++
			return false, 0
		}
		if sense.ASC == scsi.SenseInvalidOpcode.ASC && r.step == stepMain && r.degrade() {
			return r.step == stepFinish, 0
		}
	}
	r.errno = errnoOf(c.Status, sense, r.h.typ == cmdWrite || r.h.typ == cmdWriteZeroes)
	return true, 0
}

// advance goes on after a command that went well.
func (r *request) advance() (answered bool) {
	r.errno = errnoNone
	switch r.step {
	case stepMain, stepZero:
		if r.h.typ == cmdRead {
			r.data = r.cmd.Data()
			if len(r.data) != int(r.h.length) {
				r.errno, r.data = errnoIO, nil // GOOD, but not all of it
			}
			return true
		}
		n := r.piece()
		r.at += n
		r.left -= n
		if r.left > 0 {
			return false
		}
		r.step = r.then
		return r.step == stepFinish
	}
	return true // stepSync
}

// degrade does what a handler can that does not know a command (nbd.md "NBD
// to SCSI"). false: there is no other way.
func (r *request) degrade() bool {
	switch r.h.typ {
	case cmdWriteZeroes:
		r.step = stepZero
	case cmdTrim, cmdCache:
		r.step, r.errno = stepFinish, errnoNone // advisory
	default:
		return false
	}
	return true
}

// A command that the target has no room for is tried again for some seconds.
const maxTries = 12

func backOff(try int) time.Duration {
	return min(time.Millisecond<<try, 500*time.Millisecond)
}
