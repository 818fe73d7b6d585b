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
	Handle  uint32 `json:"handle"`
	State   State  `json:"state"`
	Ref     int32  `json:"ref"`
	Owners  string `json:"owners"` // who holds the references, "creation+sgv"
	Sent    bool   `json:"sent_to_user"`
	Seen    bool   `json:"seen_by_user"`
	Aborted bool   `json:"aborted"`  // its command was aborted, and then given up
	Jammed  bool   `json:"jammed"`   // was given up in some state
	HasCmd  bool   `json:"scst_cmd"` // a SCSI command is attached
	// Age is how long ago its SCSI command was submitted, also when that is
	// over and the buffer it brought stays; of others, how long ago they were
	// made, or their buffer was given up (ON_CACHED_MEM_FREE).
	Age time.Duration `json:"age_ns"`
}

// Commands lists the ucmds of the device, by handle.
func (d *Device) Commands() []Command {
	now := target.Now()
	d.mu.Lock()
	n := d.count
	d.mu.Unlock()
	// The device stands still while it is looked at: the memory is there
	// before, and texts are made afterwards.
	l, owners := make([]Command, 0, n), make([][ownerCount]int8, 0, n)
	d.mu.Lock()
	for _, u := range d.hash {
		for ; u != nil; u = u.hashNext {
			l, owners = append(l, u.command(now)), append(owners, u.owners)
		}
	}
	d.mu.Unlock()
	for i := range l {
		l[i].Owners = ownersText(owners[i])
	}
	slices.SortFunc(l, func(a, b Command) int { return cmp.Compare(a.Handle, b.Handle) })
	return l
}

// ownersText is Command.Owners.
func ownersText(owners [ownerCount]int8) string {
	var names []string
	for o, n := range owners {
		for range n {
			names = append(names, Owner(o).String())
		}
	}
	return strings.Join(names, "+")
}

// command is the ucmd's line at the time now, but for Owners. Caller holds mu.
func (u *Ucmd) command(now time.Duration) Command {
	return Command{
		Handle: u.h, State: u.state, Ref: u.ref,
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
