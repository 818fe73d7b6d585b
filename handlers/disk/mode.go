package disk

import (
	"scstuser/handlers"
	"scstuser/scsi"
)

// modePages are the mode pages there are, in the order in which they are told.
var modePages = [...]uint8{scsi.ModePageCaching, scsi.ModePageControl}

// maxModeLen is the most that MODE SENSE answers.
const maxModeLen = scsi.ModeHeader10Len + scsi.LongBlockDescriptor + scsi.CachingPageLen + scsi.ControlPageLen

// modeSense is MODE SENSE 6 and 10. No values are saved.
func (d *Disk) modeSense(r *handlers.Request, c scsi.Command) {
	if c.PC == scsi.PCSaved {
		r.Fail(scsi.SenseSavingNotSupported)
		return
	}
	var buf [maxModeLen]byte
	pages, ok := d.appendPages(buf[:0], &c)
	if !ok {
		r.Fail(scsi.SenseInvalidFieldInCDB.AtCDB(2, 5))
		return
	}
	h := scsi.ModeHeader{WriteProtected: d.writeProtected(), DPOFUA: true}
	var desc []byte
	if !c.DBD {
		h.LongLBA = c.LLBAA
		var b [scsi.LongBlockDescriptor]byte
		desc = scsi.AppendBlockDescriptor(b[:0], d.blockDescriptor(), h.LongLBA)
		h.BlockDescriptorLen = uint16(len(desc))
	}
	var out [maxModeLen]byte
	n := len(desc) + len(pages)
	all := out[:0]
	if c.Op == scsi.OpModeSense6 {
		all = scsi.AppendModeHeader6(all, &h, n)
	} else {
		all = scsi.AppendModeHeader10(all, &h, n)
	}
	answer(r, append(append(all, desc...), pages...), c.AllocLen)
}

func (d *Disk) blockDescriptor() scsi.BlockDescriptor {
	return scsi.BlockDescriptor{Blocks: d.blocks.Load(), BlockSize: uint32(d.opts.BlockSize)}
}

// appendPages appends the pages that a MODE SENSE asks for; false: there is no
// such page.
func (d *Disk) appendPages(dst []byte, c *scsi.Command) ([]byte, bool) {
	if c.SubPage != 0 && c.SubPage != scsi.ModeSubPageAll {
		return dst, false
	}
	found := false
	for _, p := range modePages {
		if c.Page == p || c.Page == scsi.ModePageAll {
			dst = d.appendPage(dst, p, c.PC)
			found = true
		}
	}
	return dst, found
}

// appendPage appends a page's values of the given kind (one of the PC
// constants).
func (d *Disk) appendPage(dst []byte, page, pc uint8) []byte {
	var state uint32
	control := *d.opts.Control
	switch pc {
	case scsi.PCCurrent:
		state = d.state.Load()
	case scsi.PCDefault:
		state = d.defaultState()
	case scsi.PCChangeable:
		// Ones for the bits that MODE SELECT can change.
		state = stateWCE | stateDSense | stateSWP
		control = scsi.ControlPage{}
	}
	if page == scsi.ModePageCaching {
		return scsi.AppendCachingPage(dst, scsi.CachingPage{WCE: state&stateWCE != 0})
	}
	control.DSense = state&stateDSense != 0
	control.SWP = state&stateSWP != 0
	return scsi.AppendControlPage(dst, control)
}
