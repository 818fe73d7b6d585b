package trace

import "scstuser/ioctl/abi"

// FlushCache is ucmd.Device.FlushCache, recorded (R35). The buffers that it
// frees come by ReplyAndGet.
func (p *Port) FlushCache() error {
	tid := p.enterTID()
	defer p.leaveTID(tid)
	op := abi.IoctlFlushCache.String()
	call := p.write(&Event{Kind: KindEnter, TID: tid, File: portFile, Op: op})
	err := p.dev.FlushCache()
	p.exit(tid, op, call, nil, err)
	return err
}

// CapacityChanged is ucmd.Device.CapacityChanged, recorded (R36).
func (p *Port) CapacityChanged() {
	tid := p.enterTID()
	defer p.leaveTID(tid)
	op := abi.IoctlCapacityChanged.String()
	call := p.write(&Event{Kind: KindEnter, TID: tid, File: portFile, Op: op})
	p.dev.CapacityChanged()
	p.exit(tid, op, call, nil, nil)
}
