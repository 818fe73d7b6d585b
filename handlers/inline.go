package handlers

import (
	"sync"
	"syscall"

	"scstuser/scsi"
	"scstuser/ucmd"
)

// calls are the calls that are not in use.
var calls = sync.Pool{New: func() any { return new(call) }}

// inline is the ucmd.InlineFunc: it runs on a goroutine of the port's, often
// one that serves a connection.
func (s *server) inline(sub *ucmd.Subcommand, reply *ucmd.Reply) bool {
	if !s.gate.TryRLock() {
		s.turnAway(sub, reply)
		return true
	}
	x := calls.Get().(*call)
	done := s.carryOut(x, sub, reply)
	if done && reply.PBuf != 0 {
		// A new buffer: given here, so that Serve waits until the port has it
		// or has refused it, and it is freed. The port gives what we return
		// when Serve may have ended, and tells nobody that it was too late.
		x.reply[0] = *reply
		s.reply(x.reply[:])
		done = false
	}
	calls.Put(x)
	s.gate.RUnlock()
	return done
}

// tmFailed is the result of a task management function that failed (rule R66).
const tmFailed = -129

// turnAway answers for a handler that is not called any more, because Serve has
// ended: as the release does for what was not fetched (rule R70), so that
// initiators try again.
func (s *server) turnAway(sub *ucmd.Subcommand, reply *ucmd.Reply) {
	switch sub.Code {
	case ucmd.SubParse, ucmd.SubExec, ucmd.SubExtCopyRemap:
		reply.Type, reply.Status = ucmd.ReplyCompleted, scsi.Busy
	case ucmd.SubAllocMem:
		// No buffer is BUSY as well (rule R52).
	case ucmd.SubAttachSess:
		reply.Result = -int32(syscall.EFAULT)
	case ucmd.SubTMDone:
		reply.Result = tmFailed
	case ucmd.SubOnFree, ucmd.SubOnCachedMemFree:
		s.manage(sub, reply) // this takes no handler
	}
}

// maxHandedOff is how many calls wait for a worker before the goroutine that
// brings the next one carries it out itself.
const maxHandedOff = 1024

// handOff gives a worker the EXEC that x was prepared for. false: too many
// wait already.
func (s *server) handOff(x *call) bool {
	y := calls.Get().(*call)
	y.takeOver(x)
	n := s.unfinished.Add(1)
	select {
	case s.handedOff <- y:
	default:
		s.unfinished.Add(-1)
		calls.Put(y)
		return false
	}
	// A worker for each unfinished call, as far as they go.
	for w := s.started.Load(); w < min(n, int32(s.o.Threads)); w = s.started.Load() {
		if s.started.CompareAndSwap(w, w+1) {
			s.workers.Go(s.worker)
			break
		}
	}
	return true
}

// worker carries out what was handed off. It ends when Serve does, and leaves
// nothing undone.
func (s *server) worker() {
	replies := make([]ucmd.Reply, 1)
	for x := range s.handedOff {
		replies[0] = ucmd.Reply{Handle: x.sub.Handle, Code: x.sub.Code}
		s.h.Exec(&x.req)
		s.finish(x, &replies[0])
		calls.Put(x)
		s.reply(replies)
		s.unfinished.Add(-1)
	}
}
