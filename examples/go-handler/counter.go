package main

import (
	"encoding/binary"
	"sync/atomic"

	"scstuser/handlers"
	"scstuser/handlers/disk"
	"scstuser/scsi"
	"scstuser/ucmd"
)

// opReadCounters is a vendor-specific operation code (SPC-4: C0h to FFh). Its CDB
// has ten bytes; the allocation length is in bytes 7 and 8. The answer is two
// big-endian numbers of eight bytes: commands that read, commands that wrote.
const (
	opReadCounters  = 0xC0
	readCountersLen = 10
)

// counter is a disk with a command more. It has all methods of disk.Disk, and
// its own instead of those that concern that command.
type counter struct {
	*disk.Disk
	reads, writes atomic.Uint64
}

var (
	_ handlers.Handler = (*counter)(nil)
	_ handlers.Trier   = (*counter)(nil)
	_ handlers.Parser  = (*counter)(nil)
)

// Exec carries out one command; it may wait.
func (c *counter) Exec(r *handlers.Request) {
	if isReadCounters(r.CDB) {
		c.readCounters(r)
		return
	}
	c.Disk.Exec(r)
	c.count(r)
}

// TryExec carries out what needs no waiting, on the connection's goroutine;
// Exec is called for the rest.
func (c *counter) TryExec(r *handlers.Request) bool {
	if isReadCounters(r.CDB) {
		c.readCounters(r)
		return true
	}
	if !c.Disk.TryExec(r) {
		return false
	}
	c.count(r)
	return true
}

// Parse says what a command transfers, where the standard parser can't.
func (c *counter) Parse(sub *ucmd.Subcommand, reply *ucmd.Reply) {
	if !isReadCounters(sub.CDB[:min(int(sub.CDBLen), len(sub.CDB))]) {
		c.Disk.Parse(sub, reply)
		return
	}
	n := binary.BigEndian.Uint16(sub.CDB[7:])
	reply.Dir, reply.BufLen, reply.DataLen = scsi.DirRead, int32(n), int64(n)
	if n == 0 {
		reply.Dir = scsi.DirNone // a direction takes a length (rule R45)
	}
	reply.QueueType, reply.OpFlags = sub.QueueType, scsi.OpInfoValid
}

func isReadCounters(cdb []byte) bool {
	return len(cdb) == readCountersLen && cdb[0] == opReadCounters
}

func (c *counter) readCounters(r *handlers.Request) {
	var answer [16]byte
	binary.BigEndian.PutUint64(answer[:], c.reads.Load())
	binary.BigEndian.PutUint64(answer[8:], c.writes.Load())
	r.RespLen = int32(copy(r.Buf, answer[:])) // cut to what was asked for
}

func (c *counter) count(r *handlers.Request) {
	if r.Status != scsi.Good {
		return
	}
	switch r.Sub.Dir {
	case scsi.DirRead:
		c.reads.Add(1)
	case scsi.DirWrite:
		c.writes.Add(1)
	}
}
