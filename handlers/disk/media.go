package disk

import (
	"errors"
	"io"
	"syscall"

	"scstuser/handlers"
	"scstuser/scsi"
)

// errNoProgress is for a Backing that breaks its contract: it transfers nothing,
// or more than it was asked to, and reports no error.
var errNoProgress = errors.New("the backing transferred nothing")

// readFull fills p. It returns how many bytes it got, less than len(p) only
// with an error.
func (d *Disk) readFull(p []byte, off int64) (done int, err error) {
	for done < len(p) {
		n, err := d.backing.ReadAt(p[done:], off+int64(done))
		if n < 0 || n > len(p)-done || (n == 0 && err == nil) {
			return done, errNoProgress
		}
		done += n
		if err == nil || errors.Is(err, syscall.EINTR) {
			continue
		}
		if err == io.EOF && done == len(p) {
			break
		}
		return done, err
	}
	return done, nil
}

// writeFull writes p, through the cache if durable is set (which needs a
// DurableWriter). It returns how many bytes were written, less than len(p) only
// with an error.
func (d *Disk) writeFull(p []byte, off int64, durable bool) (done int, err error) {
	for done < len(p) {
		var n int
		if durable {
			n, err = d.durableW.WriteAtDurable(p[done:], off+int64(done))
		} else {
			n, err = d.backing.WriteAt(p[done:], off+int64(done))
		}
		if n < 0 || n > len(p)-done || (n == 0 && err == nil) {
			return done, errNoProgress
		}
		done += n
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return done, err
		}
	}
	return done, nil
}

// mustBeDurable says whether a write that ends now has to be stable before it
// gets GOOD. It is asked after the bytes are in the cache (see doc.go).
func (d *Disk) mustBeDurable(fua bool) bool {
	return !d.has(stateWCE) || fua && !d.opts.NVCache
}

// sync makes everything that was written before stable.
func (d *Disk) sync() error {
	if d.syncer == nil || d.readOnly {
		return nil
	}
	return d.syncer.Sync()
}

// settle syncs if what was just written has to be stable.
func (d *Disk) settle(fua bool) error {
	if d.mustBeDurable(fua) {
		return d.sync()
	}
	return nil
}

// put writes p from lba on and makes it stable if it has to be. The sense is
// what to fail the command with; ok says that there is nothing to fail.
func (d *Disk) put(p []byte, lba uint64, fua bool) (s scsi.Sense, ok bool) {
	through := d.durableW != nil && d.mustBeDurable(fua)
	done, err := d.writeFull(p, int64(lba<<d.shift), through)
	if err != nil {
		return d.writeSense(err, lba, done), false
	}
	d.faults.worked(writeWorked)
	if through {
		return s, true
	}
	return d.syncSense(d.settle(fua))
}

// writeSense is the sense for a write that failed after done bytes from lba on.
func (d *Disk) writeSense(err error, lba uint64, done int) scsi.Sense {
	if errors.Is(err, handlers.ErrLost) {
		done = 0 // written perhaps, but none of it is known to be durable
	}
	lba += uint64(done) >> d.shift
	d.faults.failed(writeFault(err), err, lba, true)
	s := senseOfWrite(err)
	if s == scsi.SenseWriteError {
		s = s.WithInfo(lba)
	}
	return s
}

// readSense is writeSense for reads.
func (d *Disk) readSense(err error, lba uint64, done int) scsi.Sense {
	lba += uint64(done) >> d.shift
	d.faults.failed(FaultRead, err, lba, true)
	return scsi.SenseReadError.WithInfo(lba)
}

// syncSense is the sense for a Sync that failed. Which blocks were lost is not
// known, and a medium that has become read-only has lost them as well: that is
// no write protection to the initiator, which was told GOOD.
func (d *Disk) syncSense(err error) (s scsi.Sense, ok bool) {
	if err == nil {
		return s, true
	}
	d.faults.failed(FaultLost, err, 0, false)
	if noSpace(err) {
		return scsi.SenseSpaceAllocFailed, false
	}
	return scsi.SenseWriteError, false
}

func senseOfWrite(err error) scsi.Sense {
	switch {
	case noSpace(err):
		return scsi.SenseSpaceAllocFailed
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EPERM):
		return scsi.SenseWriteProtected
	}
	return scsi.SenseWriteError
}
