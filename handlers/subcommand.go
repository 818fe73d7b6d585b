package handlers

import (
	"syscall"

	"scstuser/handlers/arena"
	"scstuser/scsi"
	"scstuser/ucmd"
)

// carryOut does what one subcommand asks and fills the reply; it may wait.
// Every subcommand gets a reply, also those without a result (rule R26).
func (s *server) carryOut(x *call, sub *ucmd.Subcommand, reply *ucmd.Reply) {
	switch sub.Code {
	case ucmd.SubExec:
		pbuf, ok := s.prepare(x, sub, reply)
		if !ok {
			return
		}
		s.h.Exec(&x.req)
		s.finish(x, sub, reply, pbuf)
	case ucmd.SubAllocMem:
		reply.PBuf = s.alloc(sub.AllocLen)
	case ucmd.SubOnFree:
		if !sub.BufferCached && sub.PBuf != 0 {
			s.free(sub.PBuf) // rule R61
		}
	case ucmd.SubOnCachedMemFree:
		s.free(sub.PBuf)
	case ucmd.SubParse:
		s.parse(sub, reply)
	case ucmd.SubTMReceived, ucmd.SubTMDone:
		if tm, ok := s.h.(TaskManager); ok {
			reply.Result = tm.TaskMgmt(sub)
		}
	case ucmd.SubAttachSess:
		if a, ok := s.h.(Attacher); ok && sub.Sess != nil {
			if err := a.Attach(sub.SessH, sub.Sess); err != nil {
				reply.Result = -int32(syscall.EPERM)
			}
		}
	case ucmd.SubDetachSess:
		if a, ok := s.h.(Attacher); ok {
			a.Detach(sub.SessH)
		}
	case ucmd.SubExtCopyRemap:
		// Nothing is remapped: the target copies the whole segment.
		reply.Remap = []ucmd.DataDescr{sub.Remap.Descr}
		reply.RemapLen = remapDescrSize
	}
}

// remapDescrSize is the interface's size of a data descriptor (rule R65).
const remapDescrSize = 24

// alloc returns a buffer's address, 0 if there is no memory: the command then
// ends with BUSY and its initiator tries again (rule R52).
func (s *server) alloc(n int32) uint64 {
	addr, err := s.o.Arena.Alloc(int(n))
	if err != nil {
		return 0
	}
	return addr
}

// free gives a buffer back. The arena refuses what it did not give.
func (s *server) free(addr uint64) { _ = s.o.Arena.Free(addr) }

// prepare makes x.req ready for an EXEC. pbuf is the buffer that was
// allocated for it, 0 if it had one or needs none. false: the reply is final.
func (s *server) prepare(x *call, sub *ucmd.Subcommand, reply *ucmd.Reply) (pbuf uint64, ok bool) {
	reply.Type = ucmd.ReplyCompleted
	cdb := sub.CDB[:min(int(sub.CDBLen), len(sub.CDB))]
	if int(sub.CDBLen) > len(sub.CDB) {
		ext, err := s.extendedCDB(sub.Handle)
		if err != nil {
			x.req.Reset(sub, cdb, nil)
			x.req.Fail(scsi.SenseInvalidFieldInCDB)
			s.finish(x, sub, reply, 0)
			return 0, false
		}
		cdb = append(append([]byte(nil), cdb...), ext...)
	}
	addr := sub.PBuf
	if addr == 0 && sub.AllocLen > 0 {
		if pbuf = s.alloc(sub.AllocLen); pbuf == 0 {
			reply.Status = scsi.Busy
			return 0, false
		}
		addr = pbuf
	}
	var buf []byte
	if addr != 0 && sub.BufLen > 0 {
		buf = s.o.Arena.Bytes(addr, int(sub.BufLen))
	}
	x.req.Reset(sub, cdb, buf)
	return pbuf, true
}

func (s *server) extendedCDB(h uint32) ([]byte, error) {
	p, ok := s.port.(ExtendedCDBPort)
	if !ok {
		return nil, ErrNotSupported
	}
	return p.ExtendedCDB(h)
}

// finish turns the request's outcome into the reply. A buffer that no data
// goes out in is ours again: the port ignores it (rule R56).
func (s *server) finish(x *call, sub *ucmd.Subcommand, reply *ucmd.Reply, pbuf uint64) {
	reply.Status, reply.RespDataLen = x.req.Status, x.req.RespLen
	if sense, ok := x.req.Sense(); ok {
		if s.dsense != nil && s.dsense.DSense() {
			reply.Sense = sense.AppendDescriptor(x.sense[:0])
		} else {
			reply.Sense = sense.AppendFixed(x.sense[:0])
		}
	}
	if pbuf == 0 {
		return
	}
	if reply.RespDataLen == 0 {
		s.free(pbuf)
		return
	}
	reply.PBuf = pbuf
}

// parse answers PARSE: the handler's own, or the standard one (R43, R45).
func (s *server) parse(sub *ucmd.Subcommand, reply *ucmd.Reply) {
	if s.parser != nil {
		s.parser.Parse(sub, reply)
		return
	}
	cdb := sub.CDB[:min(int(sub.CDBLen), len(sub.CDB))]
	t, err := scsi.ParseSBC(cdb, s.o.BlockSize)
	if err != nil {
		reply.Status = scsi.CheckCondition
		sense := scsi.SenseInvalidFieldInCDB
		if err == scsi.ErrUnknownOpcode {
			sense = scsi.SenseInvalidOpcode
		}
		reply.Sense = sense.AppendFixed(nil)
		return
	}
	reply.Dir, reply.LBA, reply.DataLen, reply.BufLen = t.Dir, int64(t.LBA), t.DataLen, int32(t.BufLen)
	if reply.LBA < 0 {
		// An LBA beyond 2^63 fits no medium, nor this reply: the largest
		// that fits is out of range as well.
		reply.LBA = 1<<63 - 1
	}
	reply.QueueType = sub.QueueType
	if t.HeadOfQueue {
		reply.QueueType = scsi.QueueHeadOfQueue
	}
	reply.OpFlags = t.OpFlags
}

// Preallocate gives a port n buffers of size bytes for its plain pool, and as
// many for its clustered one if clust is set (--prealloc_buffers).
func Preallocate(port Preallocator, a *arena.Arena, n, size int, clust bool) error {
	pools := []bool{false}
	if clust {
		pools = []bool{true, false}
	}
	for _, c := range pools {
		for range n {
			addr, err := a.Alloc(size)
			if err != nil {
				return err
			}
			if _, err := port.Prealloc(addr, size, c); err != nil {
				_ = a.Free(addr)
				return err
			}
		}
	}
	return nil
}
