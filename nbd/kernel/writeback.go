package kernel

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// What a program writes to a device is in the page cache until the kernel sends it,
// which it does by itself when the device is closed for the last time. Where
// somebody else has it open no close is the last one, and with ioctls we always
// have. What is not sent when the device is detached is lost.

// errHurry: somebody did not want to wait.
var errHurry = errors.New("the server does not have it yet")

// tellAfter is after how long people are told why detaching takes time.
const tellAfter = 2 * time.Second

// detach has what was written to a device sent, with write, and then takes it out
// of use, with disconnect. It does not wait once over is closed, because the device
// is out of use by itself, or opt.Hurry.
func detach(index uint32, write, disconnect func() error, over <-chan struct{}, opt *Options) error {
	select {
	case <-over:
		return nil
	default:
	}
	tell := time.AfterFunc(tellAfter, func() {
		opt.log().Infof("%s: what was written to it is being sent", pathOf(index))
	})
	defer tell.Stop()
	written := make(chan error, 1)
	go func() { written <- write() }()
	var lost error
	select {
	case <-over:
		return nil
	case lost = <-written:
	case <-opt.Hurry:
		lost = errHurry
	}
	if err := disconnect(); err != nil {
		return explain(index, err)
	}
	if lost != nil {
		return fmt.Errorf("%s is detached, and what was written to it last may be lost: %w", pathOf(index), lost)
	}
	return nil
}

// writeBack sends what was written to a device, and waits for the replies. Nothing is
// sent if there is nothing: the server may be gone.
func writeBack(f *os.File) error {
	for {
		err := unix.SyncFileRange(int(f.Fd()), 0, 0,
			unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
		if err != unix.EINTR {
			return err
		}
	}
}

// openAndWriteBack is writeBack for a device that this process does not have open.
func openAndWriteBack(index uint32) error {
	f, err := os.Open(pathOf(index))
	if err != nil {
		return nil // detaching it says better what is wrong
	}
	return errors.Join(writeBack(f), f.Close())
}
