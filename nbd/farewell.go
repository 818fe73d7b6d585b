package nbd

// Farewell is what happens to commands that come while the server shuts down.
type Farewell uint8

const (
	// FarewellRefuse answers them with ESHUTDOWN (row 26), all clients'.
	FarewellRefuse Farewell = iota
	// FarewellHangUp does not answer them: the connection ends when the
	// commands before them are answered. A client that connects again then
	// repeats them, to whoever serves the export next.
	FarewellHangUp
	// FarewellBySkill hangs up on clients that have not negotiated structured
	// replies, and refuses the others' commands. Of what is in use those are
	// the Linux kernel's, for which any error is one of the disk: a file
	// system on it would not survive the server's restart.
	FarewellBySkill
)

// hangsUp says whether the connection leaves a command unanswered that comes now.
func (c *conn) hangsUp() bool {
	if !c.srv.draining.Load() {
		return false
	}
	switch c.srv.opt.Farewell {
	case FarewellHangUp:
		return true
	case FarewellBySkill:
		return c.mode == modeSimple
	}
	return false
}
