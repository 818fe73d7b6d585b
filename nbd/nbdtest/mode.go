package nbdtest

// Mode is the shape of requests and replies that a client has negotiated.
type Mode uint8

// The modes.
const (
	Simple     Mode = iota // what every client speaks
	Structured             // replies in chunks, for READ at least
	Extended               // 64-bit lengths, and chunks only
)

// Modes are all of them.
var Modes = []Mode{Simple, Structured, Extended}

// String names the mode for subtests.
func (m Mode) String() string {
	return [...]string{"simple", "structured", "extended"}[m]
}

// Negotiate asks for a mode, which has to be granted. The connection speaks it
// from the transmission on.
func (c *Conn) Negotiate(m Mode) {
	c.t.Helper()
	switch m {
	case Structured:
		c.SendOption(OptStructuredReply, nil)
		c.ExpectOptionReply(OptStructuredReply, RepAck)
	case Extended:
		c.SendOption(OptExtendedHeaders, nil)
		c.ExpectOptionReply(OptExtendedHeaders, RepAck)
	}
	c.mode = m
}

// Mode is what the connection speaks.
func (c *Conn) Mode() Mode { return c.mode }
