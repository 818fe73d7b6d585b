package handlers

import (
	"errors"
	"math"
	"syscall"

	"scstuser/scsi"
	"scstuser/ucmd"
)

// manage does what a subcommand other than EXEC asks and fills the reply. Those
// without a result are answered too (rule R26).
func (s *server) manage(sub *ucmd.Subcommand, reply *ucmd.Reply) {
	switch sub.Code {
	case ucmd.SubAllocMem:
		reply.PBuf = s.alloc(sub.AllocLen)
	case ucmd.SubOnFree:
		if !sub.BufferCached {
			s.free(sub.PBuf) // rule R61
		}
	case ucmd.SubOnCachedMemFree:
		s.free(sub.PBuf)
	case ucmd.SubParse:
		s.parse(sub, reply)
	case ucmd.SubTMReceived, ucmd.SubTMDone:
		if s.taskManager != nil {
			reply.Result = s.taskManager.TaskMgmt(sub)
		}
	case ucmd.SubAttachSess:
		// No session: whoever attached has given up (rule R40).
		if s.attacher != nil && sub.Sess != nil {
			reply.Result = attachResult(s.attacher.Attach(sub.SessH, sub.Sess))
		}
	case ucmd.SubDetachSess:
		if s.attacher != nil {
			s.attacher.Detach(sub.SessH)
		}
	case ucmd.SubExtCopyRemap:
		s.remap(sub, reply)
	}
}

// attachResult is the result of ATTACH_SESS: 0, or a negative errno (fact 47).
func attachResult(err error) int32 {
	if err == nil {
		return 0
	}
	errno := syscall.EPERM
	if e := syscall.Errno(0); errors.As(err, &e) && e != 0 {
		errno = e
	}
	return -int32(errno)
}

// remapDescrSize is the interface's size of a data descriptor (rule R65).
const remapDescrSize = 24

// remap answers EXT_COPY_REMAP: nothing is remapped, the target copies the
// whole segment.
func (s *server) remap(sub *ucmd.Subcommand, reply *ucmd.Reply) {
	if sub.Remap == nil {
		s.fail(reply, scsi.SenseHardwareInternalFailure)
		return
	}
	reply.Remap = []ucmd.DataDescr{sub.Remap.Descr}
	reply.RemapLen = remapDescrSize
}

// parse answers PARSE: the handler's own way, or the standard one (R43, R45).
func (s *server) parse(sub *ucmd.Subcommand, reply *ucmd.Reply) {
	if s.parser != nil {
		s.parser.Parse(sub, reply)
		return
	}
	cdb, err := s.cdb(sub)
	if err != nil {
		s.fail(reply, scsi.SenseInvalidFieldInCDB)
		return
	}
	t, err := scsi.ParseSBC(cdb, s.o.BlockSize)
	switch {
	case err != nil:
		s.fail(reply, scsi.SenseOf(err))
		return
	case t.LBA > math.MaxInt64: // beyond any medium, and what a reply can say
		s.fail(reply, scsi.SenseLBAOutOfRange)
		return
	}
	reply.Dir, reply.LBA, reply.DataLen, reply.BufLen = t.Dir, int64(t.LBA), t.DataLen, int32(t.BufLen)
	reply.OpFlags = t.OpFlags
	reply.QueueType = sub.QueueType
	if t.HeadOfQueue {
		reply.QueueType = scsi.QueueHeadOfQueue
	}
}

// fail ends the command with CHECK CONDITION (rules R46, R65).
func (s *server) fail(reply *ucmd.Reply, sense scsi.Sense) {
	reply.Status = scsi.CheckCondition
	reply.Sense = s.encode(sense)
}
