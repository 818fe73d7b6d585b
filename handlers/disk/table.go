package disk

import (
	"scstuser/handlers"
	"scstuser/scsi"
)

// traits say what a command needs, and how it runs.
type traits uint8

const (
	// medium: the unit has to be started and to have a medium.
	medium traits = 1 << iota
	// writes: the medium must not be write protected.
	writes
	// punches: the Backing has to be a Puncher, or there is no such command.
	punches
	// instant: it never waits.
	instant
)

// command is one row of the table.
type command struct {
	id     scsi.CommandID
	traits traits
	// run carries the command out.
	run func(*Disk, *handlers.Request, scsi.Command)
	// try, if set, is TryExec for the command.
	try func(*Disk, *handlers.Request, scsi.Command) bool
}

// offered says whether d has the command.
func (c *command) offered(d *Disk) bool {
	return c.traits&punches == 0 || d.puncher != nil
}

func one(op scsi.Opcode) scsi.CommandID { return scsi.CommandID{Op: op} }

// commands is the command set, in the order of the operation codes.
var commands = [...]command{
	{id: one(scsi.OpTestUnitReady), traits: medium | instant, run: (*Disk).testUnitReady},
	{id: one(scsi.OpRequestSense), traits: instant, run: (*Disk).requestSense},
	{id: one(scsi.OpRead6), traits: medium, run: (*Disk).read, try: (*Disk).tryRead},
	{id: one(scsi.OpWrite6), traits: medium | writes, run: (*Disk).write, try: (*Disk).tryWrite},
	{id: one(scsi.OpInquiry), traits: instant, run: (*Disk).inquiry},
	{id: one(scsi.OpModeSelect6), run: (*Disk).modeSelect},
	{id: one(scsi.OpReserve6), traits: instant, run: (*Disk).reservation},
	{id: one(scsi.OpRelease6), traits: instant, run: (*Disk).reservation},
	{id: one(scsi.OpModeSense6), traits: instant, run: (*Disk).modeSense},
	{id: one(scsi.OpStartStop), run: (*Disk).startStop},
	{id: one(scsi.OpPreventAllowRemoval), traits: instant, run: (*Disk).preventAllowRemoval},
	{id: one(scsi.OpReadCapacity10), traits: instant, run: (*Disk).readCapacity10},
	{id: one(scsi.OpRead10), traits: medium, run: (*Disk).read, try: (*Disk).tryRead},
	{id: one(scsi.OpWrite10), traits: medium | writes, run: (*Disk).write, try: (*Disk).tryWrite},
	{id: one(scsi.OpWriteVerify10), traits: medium | writes, run: (*Disk).writeVerify},
	{id: one(scsi.OpVerify10), traits: medium, run: (*Disk).verify},
	{id: one(scsi.OpPreFetch10), traits: medium, run: (*Disk).preFetch},
	{id: one(scsi.OpSyncCache10), traits: medium, run: (*Disk).syncCache},
	{id: one(scsi.OpWriteSame10), traits: medium | writes, run: (*Disk).writeSame},
	{id: one(scsi.OpUnmap), traits: medium | writes | punches, run: (*Disk).unmap},
	{id: one(scsi.OpModeSelect10), run: (*Disk).modeSelect},
	{id: one(scsi.OpReserve10), traits: instant, run: (*Disk).reservation},
	{id: one(scsi.OpRelease10), traits: instant, run: (*Disk).reservation},
	{id: one(scsi.OpModeSense10), traits: instant, run: (*Disk).modeSense},
	{id: one(scsi.OpRead16), traits: medium, run: (*Disk).read, try: (*Disk).tryRead},
	{id: one(scsi.OpWrite16), traits: medium | writes, run: (*Disk).write, try: (*Disk).tryWrite},
	{id: one(scsi.OpWriteVerify16), traits: medium | writes, run: (*Disk).writeVerify},
	{id: one(scsi.OpVerify16), traits: medium, run: (*Disk).verify},
	{id: one(scsi.OpPreFetch16), traits: medium, run: (*Disk).preFetch},
	{id: one(scsi.OpSyncCache16), traits: medium, run: (*Disk).syncCache},
	{id: one(scsi.OpWriteSame16), traits: medium | writes, run: (*Disk).writeSame},
	{id: scsi.CommandID{Op: scsi.OpServiceActionIn16, SA: scsi.SAReadCapacity16}, traits: instant, run: (*Disk).readCapacity16},
	{id: scsi.CommandID{Op: scsi.OpServiceActionIn16, SA: scsi.SAGetLBAStatus}, traits: medium, run: (*Disk).getLBAStatus},
	{id: scsi.CommandID{Op: scsi.OpMaintenanceIn, SA: scsi.SAReportSupportedOpcodes}, traits: instant, run: (*Disk).reportOpcodes},
	{id: one(scsi.OpRead12), traits: medium, run: (*Disk).read, try: (*Disk).tryRead},
	{id: one(scsi.OpWrite12), traits: medium | writes, run: (*Disk).write, try: (*Disk).tryWrite},
	{id: one(scsi.OpWriteVerify12), traits: medium | writes, run: (*Disk).writeVerify},
	{id: one(scsi.OpVerify12), traits: medium, run: (*Disk).verify},
}

// firstOf is the index in commands of an operation code's first row, plus one; 0
// if it has none.
var firstOf = func() (first [256]uint8) {
	for i := len(commands) - 1; i >= 0; i-- {
		first[commands[i].id.Op] = uint8(i + 1)
	}
	return first
}()

// lookup returns the row of a decoded command, nil if there is none.
func lookup(c *scsi.Command) *command {
	i := int(firstOf[c.Op])
	if i == 0 {
		return nil
	}
	for rest := commands[i-1:]; len(rest) > 0 && rest[0].id.Op == c.Op; rest = rest[1:] {
		if !scsi.HasServiceActions(c.Op) || rest[0].id.SA == uint16(c.ServiceAction) {
			return &rest[0]
		}
	}
	return nil
}
