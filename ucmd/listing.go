package ucmd

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"scstuser/target"
)

// Command is one line of the commands listing (rule R73).
type Command struct {
	Handle  uint32
	State   State
	Ref     int32
	Owners  string // who holds the references, "creation+sgv"
	Sent    bool
	Seen    bool
	Aborted bool // its command was aborted, and then given up
	Jammed  bool // was given up in some state
	HasCmd  bool // a SCSI command is attached
	// Age is how long ago its SCSI command was submitted, also when that is
	// over and the buffer it brought stays; of others, how long ago they were
	// made, or their buffer was given up (ON_CACHED_MEM_FREE).
	Age time.Duration
}

// Commands lists the ucmds of the device, by handle.
func (d *Device) Commands() []Command {
	now := target.Now()
	d.mu.Lock()
	var l []Command
	for _, u := range d.hash {
		for ; u != nil; u = u.hashNext {
			l = append(l, u.command(now))
		}
	}
	d.mu.Unlock()
	slices.SortFunc(l, func(a, b Command) int { return cmp.Compare(a.Handle, b.Handle) })
	return l
}

// command is the ucmd at the time now. Caller holds mu.
func (u *Ucmd) command(now time.Duration) Command {
	var owners []string
	for o, n := range u.owners {
		for range n {
			owners = append(owners, Owner(o).String())
		}
	}
	return Command{
		Handle: u.h, State: u.state, Ref: u.ref, Owners: strings.Join(owners, "+"),
		Sent: u.sentToUser, Seen: u.seenByUser,
		Aborted: u.aborted, Jammed: u.jammed, HasCmd: u.cmd != nil,
		Age: max(now-u.since, 0),
	}
}

// String is the line as people want it.
func (c Command) String() string {
	return fmt.Sprintf("h=%d state %x (%s), ref %d (%s), sent_to_user %d, seen_by_user %d, aborted %d, jammed %d, scst_cmd %d, age %v",
		c.Handle, uint8(c.State), c.State, c.Ref, c.Owners, b2i(c.Sent), b2i(c.Seen), b2i(c.Aborted), b2i(c.Jammed), b2i(c.HasCmd), roundAge(c.Age))
}

// roundAge leaves of an age what people can use.
func roundAge(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(100 * time.Millisecond)
}

// WriteCommands writes the listing in the module's own format (rule R73). The
// module names ucmds and commands by kernel address; here a ucmd's is its
// handle, and a command's the handle plus one, 0 where none is attached.
func (d *Device) WriteCommands(w io.Writer) error {
	for _, c := range d.Commands() {
		cmd := uint64(0)
		if c.HasCmd {
			cmd = uint64(c.Handle) + 1
		}
		if _, err := fmt.Fprintf(w, "ucmd %016x (state %x, ref %d), sent_to_user %d, seen_by_user %d, aborted %d, jammed %d, scst_cmd %016x\n",
			c.Handle, uint8(c.State), c.Ref, b2i(c.Sent), b2i(c.Seen), b2i(c.Aborted), b2i(c.Jammed), cmd); err != nil {
			return err
		}
	}
	return nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
