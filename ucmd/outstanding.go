package ucmd

import (
	"context"
	"time"

	"scstuser/scsi"
)

// Outstanding is what a fetched ALLOC_MEM or EXEC has to do with data, for
// whoever copies between the handler's memory and this process (F7): a WRITE's
// payload has to be in the handler's buffer before it sees the command, and a
// READ's data out of it before the reply is given.
type Outstanding struct {
	Code     Subcode  // SubAllocMem or SubExec
	Dir      scsi.Dir // of the command
	BufLen   int32    // bytes of Buf that the command has or will have
	AllocLen int32    // bytes that the handler is asked for while PBuf is 0
	PBuf     uint64   // the buffer's address in the handler, 0: none yet
	Buf      []byte   // the same bytes in this process, nil: none yet
	OutBuf   []byte   // BIDI: the write side, at Subcommand.OutPBuf
}

// Outstanding looks at the command h, which has to be with the handler and at
// ALLOC_MEM or EXEC. The buffers are the device's Memory's: they stay mapped
// until the command is answered, by whoever.
func (d *Device) Outstanding(h uint32) (o Outstanding, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.find(h)
	if u == nil || !u.sentToUser || u.state != StateBufAllocing && u.state != StateExecing {
		return o, false
	}
	// It is sent and mu is held: nobody moves it on meanwhile.
	c := u.cmd
	return Outstanding{
		Code: Subcode(u.state), Dir: c.Dir, BufLen: c.BufLen, AllocLen: u.allocLen,
		PBuf: u.ubuff, Buf: c.Buf, OutBuf: c.OutBuf,
	}, true
}

// WithHandler says whether the handler has anything that it has to answer, a
// command that it answered BACKGROUND included.
func (d *Device) WithHandler() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, u := range d.hash {
		for ; u != nil; u = u.hashNext {
			if u.withHandler() {
				return true
			}
		}
	}
	return false
}

// WaitReady waits until something can be fetched, for limit at most, or until
// ctx ends; non-blocking devices are waited for as well (F5). Whoever calls it
// fetches then, if ctx has not ended.
func (d *Device) WaitReady(ctx context.Context, limit time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.readyFirst != nil {
		return
	}
	w := d.newWaiter()
	d.waiters = append(d.waiters, w)
	d.mu.Unlock()
	if w.timer == nil {
		w.timer = time.NewTimer(limit)
	} else {
		w.timer.Reset(limit)
	}
	woken := false
	select {
	case <-w.ch:
		woken = true
	case <-w.timer.C:
	case <-ctx.Done():
	}
	w.timer.Stop()
	d.mu.Lock()
	if !woken {
		d.stopWaiting(w)
	}
	d.idleWaiters = append(d.idleWaiters, w)
}
