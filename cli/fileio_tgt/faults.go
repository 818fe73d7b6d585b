package main

import (
	"time"

	"github.com/sirupsen/logrus"

	"scstuser/handlers/disk"
	"scstuser/internal/status"
)

// faultLog logs what the medium of a device fails to do: a line when that
// begins, one a minute while it lasts, one when it is over. docs/faults.md
// quotes them.
type faultLog struct{ log *logrus.Entry }

var _ disk.FaultObserver = faultLog{}

// faultTexts are the lines for each kind of fault, by phase.
var faultTexts = [...][3]string{
	disk.FaultRead: {
		"the disk fails to read; clients get EIO",
		"the disk still fails to read",
		"the disk reads again",
	},
	disk.FaultWrite: {
		"the disk fails to write; clients get an error",
		"the disk still fails to write",
		"the disk writes again",
	},
	disk.FaultSpace: {
		"the disk has no space for what is written; clients get ENOSPC",
		"the disk still has no space for what is written",
		"the disk has space again for what is written",
	},
	disk.FaultLost: {
		"writes may be lost: the disk did not make them durable; " +
			"flushes and durable writes fail until the program is started again",
		"writes may be lost; flushes and durable writes still fail, until the program is started again",
		"",
	},
}

// faultStates are a disk's faults in the form of a snapshot.
func faultStates(d *disk.Disk) []status.Fault {
	var list []status.Fault
	for _, f := range d.Faults() {
		fault := status.Fault{Kind: f.Kind.String(), Present: f.Present, Failed: f.Failed}
		if f.Failed > 0 {
			since, last := f.Since.UTC(), f.Last.UTC()
			fault.Since, fault.Last, fault.Error = &since, &last, f.Err.Error()
		}
		list = append(list, fault)
	}
	return list
}

// MediumFault implements disk.FaultObserver.
func (l faultLog) MediumFault(f disk.Fault) {
	log := l.log.WithField("failed", f.Failed)
	if f.Located {
		log = log.WithField("lba", f.LBA)
	}
	text := faultTexts[f.Kind][f.Phase]
	switch f.Phase {
	case disk.FaultBegins:
		log.WithError(f.Err).Error(text)
	case disk.FaultGoesOn:
		log.WithError(f.Err).WithField("for", f.Lasted.Round(time.Millisecond).String()).Warn(text)
	case disk.FaultEnds:
		log.WithField("after", f.Lasted.Round(time.Millisecond).String()).Info(text)
	}
}
