package scsi

import "fmt"

// Status is a SCSI status byte (SAM-5, 5.3).
type Status uint8

// The statuses of SAM-5.
const (
	Good                Status = 0x00
	CheckCondition      Status = 0x02
	ConditionMet        Status = 0x04
	Busy                Status = 0x08
	ReservationConflict Status = 0x18
	TaskSetFull         Status = 0x28
	ACAActive           Status = 0x30
	TaskAborted         Status = 0x40
)

// String returns the standard's name.
func (s Status) String() string {
	switch s {
	case Good:
		return "GOOD"
	case CheckCondition:
		return "CHECK CONDITION"
	case ConditionMet:
		return "CONDITION MET"
	case Busy:
		return "BUSY"
	case ReservationConflict:
		return "RESERVATION CONFLICT"
	case TaskSetFull:
		return "TASK SET FULL"
	case ACAActive:
		return "ACA ACTIVE"
	case TaskAborted:
		return "TASK ABORTED"
	}
	return fmt.Sprintf("STATUS %#02x", uint8(s))
}

// Dir is the direction of a command's data as the initiator sees it. The
// numbers are those of the scst_user interface (rule R45).
type Dir uint8

// The directions. The zero value is not a direction.
const (
	DirWrite Dir = 1 // from the initiator to the device
	DirRead  Dir = 2 // from the device to the initiator
	DirBidi  Dir = 3 // both
	DirNone  Dir = 4 // no data
)

// Valid says whether d is one of the four directions.
func (d Dir) Valid() bool { return d >= DirWrite && d <= DirNone }

// Writes says whether data moves from the initiator to the device.
func (d Dir) Writes() bool { return d == DirWrite || d == DirBidi }

// Reads says whether data moves from the device to the initiator.
func (d Dir) Reads() bool { return d == DirRead || d == DirBidi }

// String returns a short name.
func (d Dir) String() string {
	switch d {
	case DirWrite:
		return "write"
	case DirRead:
		return "read"
	case DirBidi:
		return "bidi"
	case DirNone:
		return "none"
	}
	return fmt.Sprintf("dir %d", uint8(d))
}

// QueueType is a command's task attribute (SAM-5, 8.9). The numbers are those
// of the scst_user interface (rule R45).
type QueueType uint8

// The task attributes.
const (
	QueueUntagged    QueueType = 0
	QueueSimple      QueueType = 1
	QueueOrdered     QueueType = 2
	QueueHeadOfQueue QueueType = 3
	QueueACA         QueueType = 4
)

// Valid says whether q is one of the five task attributes.
func (q QueueType) Valid() bool { return q <= QueueACA }

// String returns the standard's name.
func (q QueueType) String() string {
	switch q {
	case QueueUntagged:
		return "UNTAGGED"
	case QueueSimple:
		return "SIMPLE"
	case QueueOrdered:
		return "ORDERED"
	case QueueHeadOfQueue:
		return "HEAD OF QUEUE"
	case QueueACA:
		return "ACA"
	}
	return fmt.Sprintf("queue type %d", uint8(q))
}
