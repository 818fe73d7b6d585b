package nbd

import (
	"sync"
	"time"

	"scstuser/scsi"
	"scstuser/target"
)

// request is one request of a client, and the SCSI commands that carry it out,
// one after the other. It belongs to whoever has the command; requests are used
// again and again.
type request struct {
	cmd target.Cmd
	c   *conn
	h   requestHeader
	// payloadLen is what the request counts in conn.inflightBytes.
	payloadLen int64

	// errno is the answer, data what a READ answers. hdr, data and more are the
	// reply once it is encoded; hdrLen bytes of hdr are used.
	errno uint32
	data  []byte
	// file, if it is one, has what data has room for.
	file target.FileRange
	more [][]byte
	// mute: the payload has not arrived whole; there is no reply.
	mute bool

	// phase is where a WRITE is that takes its payload from the socket;
	// guarded by conn.mu.
	phase phase
	// entry says how the request keeps out of the way of unaligned ones while
	// it changes the medium (changes.go).
	entry entry
	// step is which SCSI command is under way. lba and left are what is
	// still to be done, in blocks, this command included.
	step      scsiStep
	lba, left uint64
	// syncAfter: a FUA that the commands can't carry asks for a sync.
	syncAfter bool
	// taken says that the command has taken its data.
	taken bool
	// rerun: another command follows when this one is freed, after wait.
	rerun bool
	// partial: more has some chunks of the reply, and the rest follows.
	partial bool
	hdrLen  uint8
	// tries counts the attempts at this step that did not count.
	tries int
	wait  time.Duration
	// payload is a WRITE's data kept aside, for another try, or because the
	// request is not aligned.
	payload []byte
	// call is set if the request is a part of another one (unaligned.go):
	// nobody answers it.
	call *call
	// runs is what GET LBA STATUS said (sparse.go).
	runs []scsi.LBAStatus
	hdr  [maxChunkHeader]byte

	// What most requests never look at.

	// why, if known, says more about errno. located: it is about the byte at
	// errorAt.
	why     string
	located bool
	errorAt uint64
	// claim is the range that is changed, if entry says so.
	claim claim
	// run is the first of runs that a sparse READ has not dealt with, and seen
	// the state of the export's map when they were asked for.
	run  int
	seen uint64
}

var requests = sync.Pool{New: func() any {
	r := new(request)
	r.cmd.Front = r
	return r
}}

// start begins the SCSI side of a request that Export.check let through. The
// request may be over when it returns.
func (r *request) start() {
	e := r.c.exp
	fua := r.h.flags&cmdFlagFUA != 0
	r.lba, r.left = e.blocks(&r.h)
	switch r.h.typ {
	case cmdRead:
		if r.mayBeSparse() {
			r.step = stepMap
		}
	case cmdBlockStatus:
		if !e.canMap {
			r.c.answer(r) // without runs: all is allocated
			return
		}
		r.step = stepMap
	case cmdFlush:
		r.lba, r.left = 0, 0 // of everything, whatever the fields say
	case cmdWrite:
		r.syncAfter = fua && !e.fua
	case cmdTrim, cmdWriteZeroes:
		r.syncAfter = fua
		if r.left == 0 { // not even one whole block
			r.c.answer(r)
			return
		}
	}
	if r.h.typ == cmdWriteZeroes && !e.canWriteSame {
		r.step = stepZero
	}
	r.submit()
}

// blocks is what a request covers in blocks: those that it touches, but of a TRIM
// those that it covers whole, as the others have to stay.
func (e *Export) blocks(h *requestHeader) (lba, n uint64) {
	block := uint64(e.blockSize)
	from, to := h.offset, h.offset+h.length
	if h.typ == cmdTrim {
		from, to = (from+block-1)/block, to/block
		return from, max(from, to) - from
	}
	from, to = from/block, (to+block-1)/block
	return from, to - from
}

// again ends the present command, when there will be another one after wait.
func (r *request) again(wait time.Duration) {
	if r.partial {
		r.partial, r.rerun, r.wait = false, true, 0
		r.hdrLen = 0
		r.c.queue(r) // Freed comes when it has left
		return
	}
	if r.step == stepMain && r.h.typ == cmdWrite && r.payload == nil {
		r.payload = append([]byte(nil), r.cmd.Buf[:r.h.length]...)
	}
	r.rerun, r.wait = true, wait
	r.cmd.Delivered(target.Delivered)
}

// runAgain submits the next command, now that the present one is freed. It
// does so on another goroutine: on this one the commands of a long request
// would nest, and hold up whoever it is.
func (r *request) runAgain() {
	r.rerun = false
	if r.wait == 0 {
		go r.submit()
		return
	}
	time.AfterFunc(r.wait, r.submit)
}

// delivered ends r when its reply has left, or never will.
func (r *request) delivered(d target.Delivery) {
	if d != target.Delivered {
		r.rerun = false // nobody is there for the rest of a sparse READ
	}
	if r.cmd.AwaitsDelivery() {
		r.cmd.Delivered(d) // Freed comes next
		return
	}
	r.c.finish(r)
}

// free gives r back for another request.
func (r *request) free() {
	if r.errno != errnoNone || r.call != nil || r.more != nil || len(r.runs) > 0 {
		// Most requests have none of these, and storing costs.
		r.errno, r.why, r.located = errnoNone, "", false
		r.call, r.more, r.runs, r.run = nil, nil, r.runs[:0], 0
	}
	r.c, r.data, r.payload = nil, nil, nil
	if r.file.Source != nil {
		r.file = target.FileRange{}
	}
	r.mute, r.phase = false, phaseNone
	r.step, r.syncAfter, r.taken, r.tries, r.rerun = stepMain, false, false, 0, false
	requests.Put(r)
}
