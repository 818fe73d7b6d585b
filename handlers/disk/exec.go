package disk

import (
	"math"

	"scstuser/handlers"
	"scstuser/scsi"
	"scstuser/ucmd"
)

// Exec carries out one command. It may wait for the Backing.
func (d *Disk) Exec(r *handlers.Request) {
	if cmd, c := d.begin(r); cmd != nil {
		cmd.run(d, r, c)
	}
}

// TryExec carries a command out if that needs no waiting: all that only concern
// the unit, READ and WRITE of bytes that the Backing has at hand, and
// everything that fails early. false: nothing was done, call Exec.
func (d *Disk) TryExec(r *handlers.Request) bool {
	cmd, c := d.begin(r)
	switch {
	case cmd == nil:
		return true
	case cmd.traits&instant != 0:
		cmd.run(d, r, c)
		return true
	case cmd.try != nil:
		return cmd.try(d, r, c)
	}
	return false
}

// begin decodes the command and makes the checks that all commands share. A nil
// command has been failed.
func (d *Disk) begin(r *handlers.Request) (*command, scsi.Command) {
	c, err := scsi.Decode(r.CDB)
	if err != nil {
		r.Fail(scsi.SenseOf(err))
		return nil, c
	}
	cmd := lookup(&c)
	switch {
	case cmd == nil && firstOf[c.Op] != 0:
		r.Fail(scsi.ErrUnknownServiceAction.Sense())
	case cmd == nil || !cmd.offered(d):
		r.Fail(scsi.SenseInvalidOpcode)
	case c.Control&scsi.NACA != 0: // NORMACA=0 in INQUIRY data (SAM-5, 5.2)
		r.Fail(scsi.SenseInvalidFieldInCDB.AtCDB(uint16(scsi.CDBLen(c.Op)-1), 2))
	case c.Protect != 0: // PROTECT=0 in INQUIRY data (SBC-3, 4.22)
		r.Fail(scsi.SenseInvalidFieldInCDB.AtCDB(1, 7))
	case cmd.traits&medium != 0 && d.has(stateStopped):
		r.Fail(scsi.SenseNotReady)
	case cmd.traits&medium != 0 && d.blocks.Load() == 0:
		r.Fail(scsi.SenseMediumNotPresent)
	case cmd.traits&writes != 0 && d.writeProtected():
		r.Fail(scsi.SenseWriteProtected)
	default:
		return cmd, c
	}
	return nil, c
}

// inRange says whether n blocks from lba are on the medium, and fails the
// command if not.
func (d *Disk) inRange(r *handlers.Request, lba, n uint64) bool {
	if blocks := d.blocks.Load(); lba > blocks || n > blocks-lba {
		r.Fail(scsi.SenseLBAOutOfRange)
		return false
	}
	return true
}

// toEnd is inRange for commands to which no blocks are all blocks from lba on;
// it returns their number.
func (d *Disk) toEnd(r *handlers.Request, lba, n uint64) (uint64, bool) {
	blocks := d.blocks.Load()
	if lba >= blocks || n > blocks-lba {
		r.Fail(scsi.SenseLBAOutOfRange)
		return 0, false
	}
	if n == 0 {
		n = blocks - lba
	}
	return n, true
}

// data returns the n bytes of buffer that the command needs. A shorter buffer
// means that the command was parsed in another way than it is carried out.
func data(r *handlers.Request, n uint64) ([]byte, bool) {
	if n > uint64(len(r.Buf)) {
		r.Fail(scsi.SenseAbortedInternalFailure)
		return nil, false
	}
	return r.Buf[:n], true
}

// answer completes a data-in command with b, cut to what the initiator has room
// for (SPC-4, 4.2.5.6).
func answer(r *handlers.Request, b []byte, alloc uint32) {
	if uint64(len(b)) > uint64(alloc) {
		b = b[:alloc]
	}
	r.RespLen = int32(copy(r.Buf, b))
}

// Parse answers a PARSE subcommand with what the standard parser says (rule
// R45), which is the parse that Exec expects.
func (d *Disk) Parse(sub *ucmd.Subcommand, reply *ucmd.Reply) {
	t, err := scsi.ParseSBC(sub.CDB[:min(int(sub.CDBLen), len(sub.CDB))], uint32(d.opts.BlockSize))
	if err == nil && t.LBA > math.MaxInt64 {
		d.refuse(reply, scsi.SenseLBAOutOfRange)
		return
	}
	if err != nil {
		d.refuse(reply, scsi.SenseOf(err))
		return
	}
	reply.QueueType = sub.QueueType
	if t.HeadOfQueue {
		reply.QueueType = scsi.QueueHeadOfQueue
	}
	reply.Dir = t.Dir
	reply.LBA = int64(t.LBA)
	reply.DataLen = t.DataLen
	reply.BufLen = int32(t.BufLen)
	reply.OpFlags = t.OpFlags
	reply.CDBLen = uint16(t.CDBLen)
}

func (d *Disk) refuse(reply *ucmd.Reply, s scsi.Sense) {
	reply.Status = scsi.CheckCondition
	reply.Sense = s.Append(nil, d.DSense())
}
