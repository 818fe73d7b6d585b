package abi

import "scstuser/ucmd"

// Desc is the device that x describes (rules R8 to R13); names are cut to
// ucmd.MaxName bytes (fact 6). nonBlocking is O_NONBLOCK of the node's open
// flags at this moment (R10). Nothing is judged here: CheckIdentity comes
// before, ucmd's registry after. enable_pr_cmds_notifications is left out.
func (x *DevDesc) Desc(nonBlocking bool) ucmd.Desc {
	return ucmd.Desc{
		Name: cut(x.Name), Type: ucmd.DeviceType(x.Type), BlockSize: x.BlockSize,
		SGVName: cut(x.SGVName), SGVShared: x.SGVShared != 0, SGVNoClustered: x.SGVDisableClusteredPool != 0,
		SGVSinglePages: x.SGVSingleAllocPages, SGVPurgeInterval: x.SGVPurgeInterval,
		Opt: x.Opt.Options(), NonBlocking: nonBlocking,
	}
}

// DevDescOf is the inverse of DevDesc.Desc, for a client, which has put the
// strings at those addresses.
func DevDescOf(d *ucmd.Desc, version, license Addr) DevDesc {
	return DevDesc{
		VersionStr: version, LicenseStr: license,
		Type: uint8(d.Type), SGVShared: flag(d.SGVShared), SGVDisableClusteredPool: flag(d.SGVNoClustered),
		SGVSingleAllocPages: d.SGVSinglePages, SGVPurgeInterval: d.SGVPurgeInterval,
		Opt: OptOf(d.Opt), BlockSize: d.BlockSize, Name: cut(d.Name), SGVName: cut(d.SGVName),
	}
}

// cut keeps what counts of a name.
func cut(s string) string { return s[:min(len(s), ucmd.MaxName)] }

// Options are x as package ucmd has them, unjudged (R20 is ucmd's).
func (x *Opt) Options() ucmd.Opt {
	return ucmd.Opt{Parse: x.ParseType, OnFree: x.OnFreeCmdType, Reuse: x.MemoryReuseType,
		PartialType: x.PartialTransfersType, PartialLen: x.PartialLen, TST: x.TST, TMFOnly: x.TMFOnly,
		QueueAlg: x.QueueAlg, QErr: x.QErr, TAS: x.TAS, SWP: x.SWP, DSense: x.DSense,
		OwnOrder: x.HasOwnOrderMgmt, ExtCopyRemap: x.ExtCopyRemapSupported}
}

// OptOf is the inverse of Opt.Options.
func OptOf(o ucmd.Opt) Opt {
	return Opt{ParseType: o.Parse, OnFreeCmdType: o.OnFree, MemoryReuseType: o.Reuse,
		PartialTransfersType: o.PartialType, PartialLen: o.PartialLen, TST: o.TST, TMFOnly: o.TMFOnly,
		QueueAlg: o.QueueAlg, QErr: o.QErr, TAS: o.TAS, SWP: o.SWP, DSense: o.DSense,
		HasOwnOrderMgmt: o.OwnOrder, ExtCopyRemapSupported: o.ExtCopyRemap}
}
