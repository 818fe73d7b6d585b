package trace

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"scstuser/ioctl/abi"
)

// Format and Version are what every trace's first line says. A change that an
// older reader would misunderstand gets a new version; new members don't.
const (
	Format  = "scst_user-trace"
	Version = 1
)

// Header is a trace's first line.
type Header struct {
	Format  string `json:"format"`  // Format; filled in by the Writer
	Version int    `json:"version"` // Version; filled in by the Writer

	// Source says who recorded: "module" (a real kernel's), "host" (this
	// project's node), "preload" (beside a handler program), "process".
	Source string `json:"source,omitempty"`
	// Start is the wall clock at t_ns 0, in ns since 1970; 0 is unknown.
	Start int64 `json:"start_ns,omitempty"`
	// Command is the handler's command line, as far as known.
	Command string `json:"command,omitempty"`
	// Note is for people.
	Note string `json:"note,omitempty"`
}

// Kind says what an event is.
type Kind string

// The kinds of events.
const (
	KindOpen    Kind = "open"    // the node was opened: File, NonBlock
	KindEnter   Kind = "enter"   // a call has begun: Op, In
	KindExit    Kind = "exit"    // it has returned: Call, Ret, Errno, Out; missing if its thread died in it
	KindClose   Kind = "close"   // a descriptor was closed
	KindRelease Kind = "release" // the last descriptor of the open file is gone
	KindMark    Kind = "mark"    // Text, by the recorder or its script
)

// OpPoll is the Op of poll(2); the ioctls' Ops are abi.Ioctl's text forms.
const OpPoll = "poll"

// Event is one line of a trace. Which members are set depends on Kind.
type Event struct {
	Seq  uint64 `json:"seq"`  // from 1, one more per event; filled in by the Writer
	Kind Kind   `json:"ev"`   // see the Kind constants
	Time int64  `json:"t_ns"` // monotonic clock, ns

	PID      int    `json:"pid,omitempty"`      // the handler's process; 0 is unknown
	TID      int    `json:"tid,omitempty"`      // the calling thread
	File     int    `json:"file,omitempty"`     // names the open file: unique in a trace; imports have the descriptor
	NonBlock bool   `json:"nonblock,omitempty"` // open: O_NONBLOCK
	Op       string `json:"op,omitempty"`       // enter, exit: the ioctl's name, or poll
	Call     uint64 `json:"call,omitempty"`     // exit: Seq of the enter event
	Ret      int64  `json:"ret,omitempty"`      // exit: what the call returned, -1 with Errno
	Errno    Errno  `json:"errno,omitempty"`    // exit: why it failed
	In       *In    `json:"in,omitempty"`       // enter: the arguments
	Out      *Out   `json:"out,omitempty"`      // exit: the results
	Text     string `json:"text,omitempty"`     // mark
}

// In is what goes in with an ioctl, and what that points to.
type In struct {
	DevDesc  *abi.DevDesc    `json:"dev_desc,omitempty"`    // REGISTER_DEVICE
	Version  string          `json:"version_str,omitempty"` // REGISTER_DEVICE
	License  string          `json:"license_str,omitempty"` // REGISTER_DEVICE
	Opt      *abi.Opt        `json:"opt,omitempty"`         // SET_OPTIONS
	PReply   *abi.Addr       `json:"preply,omitempty"`      // REPLY_AND_GET_CMD
	Multi    *abi.Multi      `json:"multi,omitempty"`       // REPLY_AND_GET_MULTI
	Prealloc *abi.PreallocIn `json:"prealloc,omitempty"`    // PREALLOC_BUFFER
	ExtCDB   *abi.GetExtCDB  `json:"get_ext_cdb,omitempty"` // GET_EXTENDED_CDB
	Replies  []Reply         `json:"replies,omitempty"`     // REPLY_AND_GET_CMD, _MULTI, REPLY_CMD
	Raw      Hex             `json:"raw,omitempty"`         // the argument's bytes, as far as recorded
}

// Out is what comes out of an ioctl.
type Out struct {
	Opt      *abi.Opt         `json:"opt,omitempty"`      // GET_OPTIONS
	Multi    *abi.Multi       `json:"multi,omitempty"`    // REPLY_AND_GET_MULTI; also when it failed (R30)
	Prealloc *abi.PreallocOut `json:"prealloc,omitempty"` // PREALLOC_BUFFER
	ExtCDB   Hex              `json:"ext_cdb,omitempty"`  // GET_EXTENDED_CDB: the bytes beyond 16
	Cmds     []Cmd            `json:"cmds,omitempty"`     // REPLY_AND_GET_CMD, _MULTI
	Raw      Hex              `json:"raw,omitempty"`      // the argument's bytes, as far as recorded
}

// Reply is one reply and what it points to.
type Reply struct {
	abi.Answer
	Sense     Hex `json:"sense,omitempty"`             // at psense_buffer
	WriteSame Hex `json:"ws_descriptors,omitempty"`    // at ws_descriptors
	RemapList Hex `json:"remap_descriptors,omitempty"` // at remap_descriptors
	Data      Hex `json:"data,omitempty"`              // of a READ: all or the first bytes, as the recorder likes
	Raw       Hex `json:"raw,omitempty"`               // reply_cmd
}

// Cmd is one subcommand and what it points to.
type Cmd struct {
	abi.Command
	Data Hex `json:"data,omitempty"` // of a WRITE: all or the first bytes, as the recorder likes
	Raw  Hex `json:"raw,omitempty"`  // get_cmd, as long as its payload
}

// Hex is bytes, hexadecimal as text.
type Hex []byte

// MarshalText writes two lower-case digits per byte.
func (h Hex) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

// UnmarshalText reads what MarshalText writes.
func (h *Hex) UnmarshalText(b []byte) (err error) {
	*h, err = hex.AppendDecode(nil, b)
	return err
}

// Errno is an error number; as text its name, or "errno N" if it has none.
type Errno syscall.Errno

// String is the name.
func (e Errno) String() string {
	if s := unix.ErrnoName(syscall.Errno(e)); s != "" {
		return s
	}
	return fmt.Sprintf("errno %d", uint(e))
}

// MarshalText writes what String returns.
func (e Errno) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// errnos are the numbers by name.
var errnos = func() map[string]Errno {
	m := map[string]Errno{}
	for e := Errno(1); e < 4096; e++ {
		if s := unix.ErrnoName(syscall.Errno(e)); s != "" {
			m[s] = e
		}
	}
	return m
}()

// UnmarshalText reads what MarshalText writes.
func (e *Errno) UnmarshalText(b []byte) error {
	if v, ok := errnos[string(b)]; ok {
		*e = v
		return nil
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(string(b), "errno "), 10, 32)
	if err != nil {
		return fmt.Errorf("errno %q is neither a known name nor \"errno N\"", b)
	}
	*e = Errno(n)
	return nil
}
