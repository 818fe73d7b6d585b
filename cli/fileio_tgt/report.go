package main

import (
	"fmt"

	"github.com/sirupsen/logrus"

	"scstuser/scsi"
	"scstuser/ucmd"
)

// maxHolders is how many ucmds of a release that does not get on are logged
// one by one.
const maxHolders = 32

// reporter logs what devices report. It is the ucmd.Reporter of all of them.
type reporter struct {
	log *logrus.Logger
	// cutOff is told of a device whose handler is about to be cut off. It does
	// not wait.
	cutOff func(device string)
}

var _ ucmd.Reporter = reporter{}

// ReleaseStuck implements ucmd.Reporter.
func (r reporter) ReleaseStuck(e *ucmd.StuckError) {
	log := r.log.WithField("device", e.Device)
	if e.Err != nil {
		log = log.WithError(e.Err)
	}
	log.WithField("ucmds", len(e.Commands)).
		Error("the release of the device makes no progress; what holds it is given up and left behind")
	for i, c := range e.Commands {
		if i == maxHolders {
			log.WithField("ucmds", len(e.Commands)-i).Error("more of them hold the release")
			return
		}
		r.log.WithFields(logrus.Fields{
			"device": e.Device, "handle": c.Handle, "state": c.State.String(), "ref": c.Ref, "owners": c.Owners,
			"age": c.Age.String(), "sent": c.Sent, "has_cmd": c.HasCmd,
		}).Error("this one holds the release")
	}
}

// CommandOverdue implements ucmd.Reporter.
func (r reporter) CommandOverdue(o *ucmd.Overdue) {
	f := logrus.Fields{
		"device": o.Device, "handle": o.Handle, "subcommand": o.Code.String(), "held": o.Held.String(),
	}
	if o.Background {
		f["background"] = true
	}
	if o.SessH != 0 {
		f["session"], f["initiator"] = o.SessH, o.Initiator
	}
	if len(o.CDB) > 0 {
		f["command"], f["cdb"], f["lba"] = scsi.Opcode(o.CDB[0]).String(), fmt.Sprintf("% x", o.CDB), o.LBA
		f["age"] = o.Age.String()
	}
	log := r.log.WithFields(f)
	switch o.Action {
	case ucmd.ActionReset:
		log.Error("the handler does not answer; the disk is reset")
	case ucmd.ActionKill:
		r.cutOff(o.Device)
		log.Error("the handler does not answer; it is cut off, and its export is gone")
	default:
		log.Warn("the handler does not answer")
	}
}

var cmdActions = map[cmdAction]ucmd.Action{
	cmdReport: ucmd.ActionReport, cmdReset: ucmd.ActionReset, cmdKill: ucmd.ActionKill,
}

// limits are the limits of each device.
func limits(cfg *config, r ucmd.Reporter) ucmd.Limits {
	return ucmd.Limits{
		MaxUcmds:      cfg.MaxUcmds,
		MaxIdlePages:  int(cfg.MaxCachedBytes / ucmd.PageSize),
		AttachTimeout: cfg.AttachTimeout, SuspendTimeout: cfg.SuspendTimeout, ReleaseTimeout: cfg.ReleaseTimeout,
		Supervision: ucmd.Supervision{Timeout: cfg.CmdTimeout, Action: cmdActions[cfg.CmdAction]},
		Reporter:    r,
	}
}
