package nbd

// knownFlags says which flags a command may carry in this mode (rows 13, 20).
// FUA is accepted on all of them.
func knownFlags(typ uint16, m replyMode) uint16 {
	switch {
	case typ == cmdWriteZeroes:
		return cmdFlagFUA | cmdFlagNoHole | cmdFlagFastZero
	case typ == cmdBlockStatus:
		return cmdFlagFUA | cmdFlagReqOne
	case typ == cmdRead && m != modeSimple:
		return cmdFlagFUA | cmdFlagDF
	case typ == cmdWrite && m == modeExtended:
		return cmdFlagFUA | cmdFlagPayloadLen
	}
	return cmdFlagFUA
}

// offeredFlags is knownFlags without those that the export does not offer.
func (e *Export) offeredFlags(typ uint16, m replyMode) uint16 {
	f := knownFlags(typ, m)
	if !e.fastUnmap && !e.fastKeep {
		f &^= cmdFlagFastZero
	}
	return f
}

// check applies the rules that need no SCSI command (rows 8 and 18 to 24).
func (c *conn) check(h *requestHeader) refusal {
	e := c.exp
	moves, changes := false, false
	switch h.typ {
	case cmdRead:
		moves = true
	case cmdWrite:
		moves, changes = true, true
	case cmdTrim, cmdWriteZeroes:
		changes = true
	case cmdFlush, cmdCache, cmdBlockStatus:
	default:
		return refuseCommand
	}
	if h.flags != 0 || c.mode == modeExtended && h.typ == cmdWrite {
		if r := c.checkFlags(h); r.errno != errnoNone {
			return r
		}
	}
	switch {
	case h.typ == cmdFlush:
		// Offset and length are reserved, and some old clients have left
		// something there. All is flushed, which includes what they meant.
		return granted
	case changes && e.readOnly:
		return refuseReadOnly
	case h.typ == cmdTrim && !e.canTrim:
		return refuseTrim
	case h.typ == cmdCache && !e.canCache:
		return refuseCache
	case h.typ == cmdBlockStatus && !c.allocation:
		return refuseNoContext
	case h.typ == cmdBlockStatus && h.length == 0:
		return refuseNoLength
	case moves && h.length > uint64(e.maxPayload):
		return refuseTooLong
	}
	if r := c.checkRange(h); r.errno != errnoNone {
		return r
	}
	if h.typ == cmdWriteZeroes && h.flags&cmdFlagFastZero != 0 && h.length > 0 && !e.zeroesFast(h.flags) {
		return refuseSlowZeroes
	}
	return granted
}

// checkFlags says what is wrong with the flags of a request.
func (c *conn) checkFlags(h *requestHeader) refusal {
	wrong := h.flags &^ c.exp.offeredFlags(h.typ, c.mode)
	switch {
	case c.mode == modeExtended && wrong == cmdFlagPayloadLen:
		return refusePayload
	case wrong != 0:
		return refuseFlags
	case c.mode == modeExtended && h.typ == cmdWrite && h.flags&cmdFlagPayloadLen == 0:
		return refuseNoPayload
	}
	return granted
}

// checkRange checks offset and length.
func (c *conn) checkRange(h *requestHeader) refusal {
	size := c.exp.size.Load()
	switch {
	case h.offset > size || h.length > size-h.offset:
		if h.typ == cmdWrite || h.typ == cmdWriteZeroes {
			return refuseNoRoom
		}
		return refusePastEnd
	case c.blockSizesAsked && !c.exp.aligned(h):
		return refuseUnaligned // it has promised
	}
	return granted
}

// aligned says whether a request covers whole blocks only.
func (e *Export) aligned(h *requestHeader) bool {
	return (h.offset|h.length)&uint64(e.blockSize-1) == 0
}
