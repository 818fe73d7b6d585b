package handlers

import (
	"errors"

	"scstuser/scsi"
	"scstuser/ucmd"
)

// errNoExtendedCDB: the port can't tell the rest of a long CDB.
var errNoExtendedCDB = errors.New("the port has no extended CDBs")

// call is the working set of one EXEC.
type call struct {
	req Request
	// pbuf is the buffer that was allocated for this call, 0 if it had one
	// already or needs none.
	pbuf uint64
	// sub is the call's own copy of the subcommand, once it was handed off.
	sub ucmd.Subcommand
	// reply is the one that inline gives itself.
	reply [1]ucmd.Reply
}

// takeOver makes x the call that y was prepared for, whose subcommand will not
// stay where it is.
func (x *call) takeOver(y *call) {
	x.sub, x.pbuf = *y.req.Sub, y.pbuf
	cdb := y.req.CDB
	if len(cdb) <= len(x.sub.CDB) {
		cdb = x.sub.CDB[:len(cdb)]
	}
	out := y.req.OutBuf
	x.req.Reset(&x.sub, cdb, y.req.Buf)
	x.req.OutBuf = out
}

// carryOut does what one subcommand asks and fills the reply. false: a worker
// carries it out and replies.
func (s *server) carryOut(x *call, sub *ucmd.Subcommand, reply *ucmd.Reply) bool {
	if sub.Code != ucmd.SubExec {
		s.manage(sub, reply)
		return true
	}
	if !s.prepare(x, sub, reply) {
		return true
	}
	if s.trier != nil {
		if s.trier.TryExec(&x.req) {
			s.finish(x, reply)
			return true
		}
		x.req.again()
		if s.handOff(x) {
			return false
		}
	}
	s.h.Exec(&x.req)
	s.finish(x, reply)
	return true
}

// prepare makes x ready for an EXEC. false: the reply is final.
func (s *server) prepare(x *call, sub *ucmd.Subcommand, reply *ucmd.Reply) bool {
	x.pbuf = 0
	cdb, err := s.cdb(sub)
	if err != nil {
		x.req.Reset(sub, cdb, nil)
		x.req.Fail(scsi.SenseInvalidFieldInCDB)
		s.finish(x, reply)
		return false
	}
	addr := sub.PBuf
	if addr == 0 && sub.AllocLen > 0 {
		if addr = s.alloc(sub.AllocLen); addr == 0 {
			reply.Type, reply.Status = ucmd.ReplyCompleted, scsi.Busy
			return false
		}
		x.pbuf = addr
	}
	x.req.Reset(sub, cdb, s.bytes(addr, sub.BufLen))
	if sub.Dir == scsi.DirBidi { // otherwise OutPBuf is garbage (rule R55)
		x.req.OutBuf = s.bytes(sub.OutPBuf, sub.OutBufLen)
	}
	return true
}

// finish turns the outcome of x into the reply.
func (s *server) finish(x *call, reply *ucmd.Reply) {
	r := &x.req
	if n := r.RespLen; n != 0 && (n < 0 || int(n) > len(r.Buf) || r.Sub.Dir != scsi.DirRead) {
		// No reply can say that (rule R57); the port would refuse it.
		r.Fail(scsi.SenseAbortedInternalFailure)
	}
	reply.Type, reply.Status, reply.RespDataLen, reply.File = ucmd.ReplyCompleted, r.Status, r.RespLen, r.File
	if sense, ok := r.Sense(); ok && r.Status == scsi.CheckCondition {
		reply.Sense = s.encode(sense)
	}
	switch {
	case x.pbuf == 0:
	case r.RespLen == 0:
		s.free(x.pbuf) // the port ignores a buffer without data (rule R56)
	default:
		reply.PBuf = x.pbuf
	}
}

// cdb returns the whole CDB of a subcommand.
func (s *server) cdb(sub *ucmd.Subcommand) ([]byte, error) {
	n := int(sub.CDBLen)
	if n <= len(sub.CDB) {
		return sub.CDB[:n], nil
	}
	if s.extendedCDB == nil {
		return sub.CDB[:], errNoExtendedCDB
	}
	rest, err := s.extendedCDB.ExtendedCDB(sub.Handle)
	if err != nil {
		return sub.CDB[:], err
	}
	return append(append(make([]byte, 0, n), sub.CDB[:]...), rest...), nil
}

// encode encodes sense data in the format of the moment. It allocates: the
// reply is read after the call that made it has been used again.
func (s *server) encode(sense scsi.Sense) []byte {
	return sense.Append(nil, s.dsenser != nil && s.dsenser.DSense())
}
