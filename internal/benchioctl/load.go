package main

import (
	"sync"
	"sync/atomic"

	"scstuser/scsi"
	"scstuser/target"
)

// load is an initiator that keeps a number of 4 KiB reads going.
type load struct {
	sess         *target.Session
	cdb          scsi.CDB
	cmds         []target.Cmd
	done, failed atomic.Uint64
	stopping     atomic.Bool
	running      sync.WaitGroup
}

var _ target.Frontend = (*load)(nil)

func newLoad(depth int) *load {
	return &load{cdb: scsi.EncodeRead16(0, 8, false), cmds: make([]target.Cmd, depth)}
}

// start submits all reads; each is submitted again when it is over.
func (l *load) start() {
	for i := range l.cmds {
		l.running.Add(1)
		l.submit(&l.cmds[i])
	}
}

// stop waits until none is under way.
func (l *load) stop() {
	l.stopping.Store(true)
	l.running.Wait()
}

func (l *load) submit(c *target.Cmd) {
	c.Init(l.cdb.Slice(), scsi.QueueSimple)
	l.sess.Submit(c)
}

// XmitResponse implements target.Frontend.
func (l *load) XmitResponse(c *target.Cmd) {
	if c.Status != scsi.Good || len(c.Data()) != 4096 {
		l.failed.Add(1)
	}
	c.Delivered(target.Delivered)
}

// Freed implements target.Frontend.
func (l *load) Freed(c *target.Cmd) {
	l.done.Add(1)
	if l.stopping.Load() {
		l.running.Done()
		return
	}
	l.submit(c)
}

// RdyToXfer implements target.Frontend; nothing is written.
func (l *load) RdyToXfer(*target.Cmd) target.Verdict { return target.Continue }

// AEN implements target.Frontend.
func (l *load) AEN(*target.Session, target.UnitAttention) bool { return true }

// SessionGone implements target.Frontend.
func (l *load) SessionGone(*target.Session) {}

// TMDone implements target.Frontend.
func (l *load) TMDone(*target.MgmtCmd) {}
