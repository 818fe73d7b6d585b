package kernel

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What a program writes to a device is in the page cache until the kernel sends it,
// which it does by itself when the device is closed for the last time. Where
// somebody else has it open no close is the last one, and with ioctls we always
// have. What is not sent when the device is detached is lost.

// errGivenUp: the wait for the server was ended.
var errGivenUp = errors.New("the server has not taken it")

const (
	// tellAfter is after how long people are told why detaching takes time.
	tellAfter = 2 * time.Second
	// progressInterval is how often is looked whether the server does something.
	progressInterval = 100 * time.Millisecond
)

// writing is what was written to a device on its way to the server.
type writing struct {
	ended chan error // the outcome, once
}

// startWriting calls write, which sends what was written to a device; but not if
// opt says so.
func startWriting(write func() error, opt *Options) *writing {
	w := &writing{make(chan error, 1)}
	if opt.WriteBack <= 0 {
		w.ended <- nil
	} else {
		go func() { w.ended <- write() }()
	}
	return w
}

// await returns how it went. It returns errGivenUp, and write goes on, when the
// server has answered no write for opt.WriteBack, or opt.Hurry is closed.
func (w *writing) await(index uint32, opt *Options) error {
	tell := time.AfterFunc(tellAfter, func() {
		opt.log().Infof("%s: what was written to it is being sent", pathOf(index))
	})
	defer tell.Stop()
	look := time.NewTicker(progressInterval)
	defer look.Stop()
	answered, since := "", time.Now()
	for {
		select {
		case err := <-w.ended:
			return err
		case <-opt.Hurry:
			return errGivenUp
		case <-look.C:
		}
		if now := writesAnswered(index); now != answered {
			answered, since = now, time.Now()
		} else if time.Since(since) > opt.WriteBack {
			return errGivenUp
		}
	}
}

// writesAnswered changes with each write to a device that has been answered. ""
// is what it is if the kernel does not tell. (Neither does it change if somebody has
// turned the device's queue/iostats off.)
func writesAnswered(index uint32) string {
	const completed = 4 // "write I/Os", see the kernel's Documentation/block/stat.rst
	text, err := os.ReadFile(fmt.Sprintf("/sys/block/nbd%d/stat", index))
	fields := strings.Fields(string(text))
	if err != nil || len(fields) <= completed {
		return ""
	}
	return fields[completed]
}

// writeBack sends what was written to a device, and waits for the replies. Nothing is
// sent if there is nothing: the server may be gone.
func writeBack(f *os.File) error {
	err := syncRange(f)
	if err != nil {
		// It may be an old one, of which nobody has heard; nothing was sent then.
		err = errors.Join(err, syncRange(f))
	}
	return err
}

func syncRange(f *os.File) (err error) {
	rc, err := f.SyscallConn()
	if err != nil {
		return err
	}
	failed := rc.Control(func(fd uintptr) { // which stays open meanwhile
		for err = unix.EINTR; err == unix.EINTR; {
			err = unix.SyncFileRange(int(fd), 0, 0,
				unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
		}
	})
	return errors.Join(failed, err)
}

// openAndWriteBack is writeBack for a device that this process does not have open.
func openAndWriteBack(index uint32) error {
	f, err := os.Open(pathOf(index))
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		return nil // nobody here can have written to it
	case err != nil:
		return err
	}
	return errors.Join(writeBack(f), f.Close())
}

// explainLost says what it means that lost came of writing a device back which was
// detached then.
func explainLost(index uint32, lost error) error {
	if lost == nil {
		return nil
	}
	return fmt.Errorf("%s is detached, and what was written to it last may be lost: %w", pathOf(index), lost)
}
