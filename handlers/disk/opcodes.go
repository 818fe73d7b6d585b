package disk

import (
	"slices"

	"scstuser/handlers"
	"scstuser/scsi"
)

// reportOpcodes is REPORT SUPPORTED OPERATION CODES (SPC-4, 6.35).
func (d *Disk) reportOpcodes(r *handlers.Request, c scsi.Command) {
	if c.ReportingOptions == scsi.ReportAll {
		answer(r, scsi.AppendSupportedCommands(nil, c.RCTD, d.supported...), c.AllocLen)
		return
	}
	actions := scsi.HasServiceActions(c.ReqOpcode)
	id := scsi.CommandID{Op: c.ReqOpcode}
	switch c.ReportingOptions {
	case scsi.ReportOne:
		if actions {
			r.Fail(scsi.SenseInvalidFieldInCDB.AtCDB(2, 2))
			return
		}
	case scsi.ReportOneSA:
		if !actions {
			r.Fail(scsi.SenseInvalidFieldInCDB.AtCDB(2, 2))
			return
		}
		id.SA = c.ReqSA
	case scsi.ReportOneEither:
		// A service action of a command that has none makes it another,
		// unsupported one.
		id.SA = c.ReqSA
	default:
		r.Fail(scsi.SenseInvalidFieldInCDB.AtCDB(2, 2))
		return
	}
	if slices.Contains(d.supported, id) {
		answer(r, scsi.AppendSupportedCommand(nil, c.RCTD, id), c.AllocLen)
		return
	}
	answer(r, scsi.AppendUnsupportedCommand(nil), c.AllocLen)
}
