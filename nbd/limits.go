package nbd

import "time"

// Limits bounds what a client can make negotiation spend (nbd.md row 11). The
// zero value of a field means its default, which [Limits.EnsureDefaults]
// fills in.
type Limits struct {
	// HandshakeTimeout is the time from the accepted connection to the end
	// of negotiation, however busy the client keeps it. A client that is
	// slower is disconnected. Default 30 s.
	HandshakeTimeout time.Duration

	// MaxOptions is how many options a client may send; one more and it is
	// disconnected. The default of 1024 leaves room for programs that list
	// the exports and then ask about each of them on the same connection.
	MaxOptions int

	// MaxOptionBytes is the longest data, in bytes, of an option that we
	// have to hold in memory. Longer data is skipped and the option refused
	// with ERR_TOO_BIG. Data that no answer depends on (that of an unknown
	// option, say) is never held, and not subject to this. Default 64 KiB.
	MaxOptionBytes uint32

	// MaxNegotiationBytes is how many bytes of options a client may send in
	// all, headers included. A client that announces an option which would
	// go past it is disconnected before the option is read. Default 1 MiB.
	MaxNegotiationBytes uint64
}

// EnsureDefaults sets every field that is zero (or less) to its default, and
// returns l.
func (l *Limits) EnsureDefaults() *Limits {
	if l.HandshakeTimeout <= 0 {
		l.HandshakeTimeout = 30 * time.Second
	}
	if l.MaxOptions <= 0 {
		l.MaxOptions = 1024
	}
	if l.MaxOptionBytes == 0 {
		l.MaxOptionBytes = 64 << 10
	}
	if l.MaxNegotiationBytes == 0 {
		l.MaxNegotiationBytes = 1 << 20
	}
	return l
}
