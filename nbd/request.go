package nbd

import (
	"sync"
	"time"

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

	// errno is the answer, data what a READ answers, hdr the reply's header.
	errno uint32
	data  []byte
	hdr   [simpleReplySize]byte
	// mute: the payload has not arrived whole; there is no reply.
	mute bool

	// phase is where a WRITE is that takes its payload from the socket;
	// guarded by conn.mu.
	phase phase
	// payload is a WRITE's data kept aside, for another try.
	payload []byte

	// step is which SCSI command is under way. lba and left are what is
	// still to be done, in blocks, this command included.
	step      scsiStep
	lba, left uint64
	// syncAfter: a FUA that the commands can't carry asks for a sync.
	syncAfter bool
	// taken says that the command has taken its data.
	taken bool
	// tries counts the attempts at this step that did not count.
	tries int
	// rerun: another command follows when this one is freed, after wait.
	rerun bool
	wait  time.Duration
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
	r.lba, r.left = r.h.offset/uint64(e.blockSize), uint64(r.h.length)/uint64(e.blockSize)
	switch r.h.typ {
	case cmdFlush:
		r.lba, r.left = 0, 0 // of everything, whatever the fields say
	case cmdWrite:
		r.syncAfter = fua && !e.fua
	case cmdTrim, cmdWriteZeroes:
		r.syncAfter = fua
	}
	if r.h.typ == cmdWriteZeroes && !e.canWriteSame {
		r.step = stepZero
	}
	r.submit()
}

// again ends the present command, when there will be another one after wait.
func (r *request) again(wait time.Duration) {
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
	if r.cmd.AwaitsDelivery() {
		r.cmd.Delivered(d) // Freed comes next
		return
	}
	r.c.finish(r)
}

// free gives r back for another request.
func (r *request) free() {
	r.c, r.data, r.payload = nil, nil, nil
	r.errno, r.mute, r.phase = errnoNone, false, phaseNone
	r.step, r.syncAfter, r.taken, r.tries, r.rerun = stepMain, false, false, 0, false
	requests.Put(r)
}
