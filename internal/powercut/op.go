package powercut

import "fmt"

// Kind is what a request does.
type Kind uint8

// The requests of a load.
const (
	Write Kind = iota
	WriteZeroes
	Trim
	Flush
	numKinds
)

// String is the name that the NBD protocol has for it.
func (k Kind) String() string {
	return [numKinds]string{"WRITE", "WRITE_ZEROES", "TRIM", "FLUSH"}[k]
}

// Op is one request in a [Journal]. Its exported fields don't change once it was
// submitted.
type Op struct {
	Kind Kind
	// FUA says that its reply promises that it is durable.
	FUA bool
	// First and Count are the sectors that it changes; a FLUSH has none.
	First, Count int
	// Gen is its generation, which the stamps of a WRITE carry.
	Gen uint64
	// Conn is the connection that it was sent on.
	Conn int

	// Times of the journal's clock, 0 for not yet; guarded by Journal.mu.
	submitted, acknowledged, durable uint64
	// by is the FLUSH whose reply made it durable, if one did; guarded by
	// Journal.mu.
	by *Op
}

// end is the sector behind its last.
func (o *Op) end() int { return o.First + o.Count }

// leaves is the version that the op leaves in its sectors.
func (o *Op) leaves() version {
	if o.Kind == Write {
		return version(o.Gen)
	}
	return zeroed
}

// String tells the op and its fate.
func (o *Op) String() string {
	s := o.Kind.String()
	if o.FUA {
		s += " with FUA"
	}
	s = fmt.Sprintf("%s (generation %d, connection %d", s, o.Gen, o.Conn)
	if o.Kind != Flush {
		s += fmt.Sprintf(", sectors %d to %d", o.First, o.end()-1)
	}
	s += fmt.Sprintf("; sent at %d", o.submitted)
	switch {
	case o.acknowledged == 0:
		s += ", never acknowledged"
	case o.durable == 0:
		s += fmt.Sprintf(", acknowledged at %d, not durable", o.acknowledged)
	case o.by != nil:
		s += fmt.Sprintf(", acknowledged at %d, durable at %d by the FLUSH of connection %d that was sent at %d",
			o.acknowledged, o.durable, o.by.Conn, o.by.submitted)
	default:
		s += fmt.Sprintf(", acknowledged as durable at %d", o.acknowledged)
	}
	return s + ")"
}

// version is what a sector can be found to hold, as one number: a generation, or
// one of these.
type version uint64

const (
	zeroed  version = 0
	torn    version = 1<<64 - 1
	foreign version = 1<<64 - 2
)

// whole says that v is all that there is to say of a sector.
func (v version) whole() bool { return v != torn && v != foreign }

func (v version) String() string {
	switch v {
	case zeroed:
		return "zeroes"
	case torn:
		return "a torn sector"
	case foreign:
		return "foreign data"
	}
	return fmt.Sprintf("generation %d", uint64(v))
}
