package nbd

// knownFlags says which flags a command may carry (rows 13, 20). FUA is
// accepted on all of them.
func knownFlags(typ uint16) uint16 {
	if typ == cmdWriteZeroes {
		return cmdFlagFUA | cmdFlagNoHole
	}
	return cmdFlagFUA
}

// check applies the rules that need no SCSI command (rows 19 to 24), and
// returns errnoNone for a request that may go on.
func (e *Export) check(h requestHeader) uint32 {
	payload, changes := false, false
	switch h.typ {
	case cmdRead:
		payload = true
	case cmdWrite:
		payload, changes = true, true
	case cmdTrim, cmdWriteZeroes:
		changes = true
	case cmdFlush, cmdCache:
	default:
		return errnoInval
	}
	switch {
	case h.flags&^knownFlags(h.typ) != 0:
		return errnoInval
	case h.typ == cmdFlush:
		// Offset and length are reserved, and some old clients have left
		// something there. All is flushed, which includes what they meant.
		return errnoNone
	case changes && e.readOnly:
		return errnoPerm
	case h.typ == cmdTrim && !e.canTrim, h.typ == cmdCache && !e.canCache:
		return errnoInval // not offered
	case payload && h.length > e.maxPayload:
		return errnoInval
	}
	return e.checkRange(h)
}

// checkRange checks offset and length.
func (e *Export) checkRange(h requestHeader) uint32 {
	size, block := e.size.Load(), uint64(e.blockSize)
	switch {
	case h.offset > size || uint64(h.length) > size-h.offset:
		if h.typ == cmdWrite || h.typ == cmdWriteZeroes {
			return errnoNoSpace
		}
		return errnoInval
	case h.offset%block != 0 || uint64(h.length)%block != 0:
		return errnoInval
	}
	return errnoNone
}
