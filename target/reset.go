package target

// ResetUnit resets the logical unit on the target's own behalf: a LUN RESET
// that no initiator asked for, because the handler does not get on with a
// command of this session. It is carried out as TaskMgmt does for one: what
// waits here ends at once, what the handler has when the handler is through
// with it (rule R68), the handler hears of it, and in the end every session
// gets its unit attention (or AEN). The session keeps in being until then; its
// front end does not hear of the outcome.
//
// It does not wait. false: the session or the device is gone, and nothing was
// done.
func (s *Session) ResetUnit() bool {
	if !s.enter() {
		return false
	}
	m := &MgmtCmd{Fn: LUNReset, own: true}
	m.begin(s)
	m.carryOut()
	return true
}
