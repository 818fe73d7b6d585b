package disk

import (
	"scstuser/handlers"
	"scstuser/scsi"
)

// modeSelect is MODE SELECT 6 and 10. The whole list is checked before any of it
// is applied.
func (d *Disk) modeSelect(r *handlers.Request, c scsi.Command) {
	switch {
	case !c.PF: // there are no vendor specific pages
		r.Fail(scsi.SenseInvalidFieldInCDB.AtCDB(1, 4))
		return
	case c.SP: // nothing can be saved
		r.Fail(scsi.SenseInvalidFieldInCDB.AtCDB(1, 0))
		return
	case c.ParamLen == 0:
		return
	}
	list, ok := data(r, uint64(c.ParamLen))
	if !ok {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	state, s, ok := d.parseModeSelect(list, c.Op == scsi.OpModeSelect6)
	if ok {
		s, ok = d.setState(state)
	}
	if !ok {
		r.Fail(s)
	}
}

// setState changes the mode bits. Turning the write cache off makes stable what
// is in it; if that fails, the cache stays on. Called with mu.
func (d *Disk) setState(state uint32) (scsi.Sense, bool) {
	old := d.state.Swap(state)
	if old&stateWCE == 0 || state&stateWCE != 0 {
		return scsi.Sense{}, true
	}
	s, ok := d.syncSense(d.sync())
	if !ok {
		d.state.Store(old)
	}
	return s, ok
}

// parseModeSelect returns the state that a parameter list asks for, or the sense
// that says what is wrong with it. Called with mu.
func (d *Disk) parseModeSelect(list []byte, short bool) (state uint32, s scsi.Sense, ok bool) {
	parse := scsi.ParseModeSelect10
	if short {
		parse = scsi.ParseModeSelect6
	}
	h, desc, pages, err := parse(list)
	if err != nil {
		return 0, scsi.SenseParameterListLength, false
	}
	if !d.sameGeometry(&h, desc) {
		at := uint16(len(list) - len(pages) - len(desc))
		return 0, scsi.SenseInvalidFieldInParameterList.AtParameter(at, -1), false
	}
	state = d.state.Load()
	for len(pages) > 0 {
		at := len(list) - len(pages)
		p, rest, err := scsi.NextModePage(pages)
		if err != nil {
			return 0, scsi.SenseParameterListLength, false
		}
		bad := -1
		if state, bad = d.applyPage(state, p); bad >= 0 {
			return 0, scsi.SenseInvalidFieldInParameterList.AtParameter(uint16(at+bad), -1), false
		}
		pages = rest
	}
	return state, s, true
}

// sameGeometry says whether a block descriptor, if there is one, leaves block
// size and capacity as they are. A number of blocks of 0, or all ones, means
// that.
func (d *Disk) sameGeometry(h *scsi.ModeHeader, desc []byte) bool {
	if len(desc) == 0 {
		return true
	}
	if h.LongLBA != (len(desc) == scsi.LongBlockDescriptor) {
		return false
	}
	got, err := scsi.ParseBlockDescriptor(desc)
	if err != nil || got.BlockSize != uint32(d.opts.BlockSize) {
		return false
	}
	most := ^uint64(0)
	if !h.LongLBA {
		most = 0xFFFFFFFF
	}
	return got.Blocks == 0 || got.Blocks == most || got.Blocks == d.blocks.Load()
}

// applyPage returns state as a page wants it. bad is the offset in the page of
// the first byte that is wrong (an unknown page, a wrong length, a change of
// what can't be changed), -1 if none is.
func (d *Disk) applyPage(state uint32, p scsi.ModePage) (_ uint32, bad int) {
	var now, mask [scsi.CachingPageLen]byte
	current := d.appendPage(now[:0], p.Page, scsi.PCCurrent)
	changeable := d.appendPage(mask[:0], p.Page, scsi.PCChangeable)
	switch {
	case p.SubPage != 0, p.Page != scsi.ModePageCaching && p.Page != scsi.ModePageControl:
		return state, 0
	case len(p.Raw) != len(current):
		return state, 1
	}
	for i := 2; i < len(current); i++ {
		if (p.Raw[i]^current[i])&^changeable[i] != 0 {
			return state, i
		}
	}
	if p.Page == scsi.ModePageCaching {
		c, _ := scsi.ParseCachingPage(p.Raw)
		return with(state, stateWCE, c.WCE), -1
	}
	c, _ := scsi.ParseControlPage(p.Raw)
	return with(with(state, stateDSense, c.DSense), stateSWP, c.SWP), -1
}

func with(state, bit uint32, set bool) uint32 {
	if set {
		return state | bit
	}
	return state &^ bit
}
