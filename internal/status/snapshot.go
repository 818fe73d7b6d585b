package status

import (
	"time"

	"scstuser/ucmd"
)

// Format is the version of Snapshot as JSON. Fields are added without a new
// version; one that goes or changes its meaning makes a new one.
const Format = 1

// Snapshot is what a running process tells about itself. Its JSON form is an
// interface to programs. Times are UTC; what counts starts with the process,
// or with the device or session that has it.
type Snapshot struct {
	// Format is the version of this form.
	Format int `json:"format"`
	// Program and Version name the program that runs, PID its process.
	Program string `json:"program"`
	Version string `json:"version"`
	PID     int    `json:"pid"`
	// Time is when the snapshot was taken, Started when the process began to
	// serve, Uptime the seconds between them.
	Time    time.Time `json:"time"`
	Started time.Time `json:"started"`
	Uptime  float64   `json:"uptime_seconds"`
	// Listeners are where clients connect.
	Listeners   []Listener  `json:"listeners"`
	Connections Connections `json:"connections"`
	Buffers     Buffers     `json:"buffers"`
	Runtime     Runtime     `json:"runtime"`
	Releases    Releases    `json:"releases"`
	// Options are those of the command line that devices were made with.
	Options map[string]string `json:"options"`
	Devices []Device          `json:"devices"`
}

// Listener is a place where clients connect: "tcp" and HOST:PORT, or "unix" and
// a path.
type Listener struct {
	Network string `json:"network"`
	Address string `json:"address"`
}

// Connections counts clients, those included that still negotiate.
type Connections struct {
	Now   int `json:"now"`
	Limit int `json:"limit"`
}

// Buffers is the memory of all data buffers, in bytes.
type Buffers struct {
	Live  int64 `json:"live_bytes"`
	Peak  int64 `json:"peak_bytes"`
	Limit int64 `json:"limit_bytes"`
}

// Device is one device.
type Device struct {
	// Name is the device's, Type the SCSI peripheral device type ("disk").
	Name string `json:"name"`
	Type string `json:"type"`
	// File is what it exports. Size is in bytes; 0: not known.
	File      string `json:"file,omitempty"`
	Size      uint64 `json:"size,omitempty"`
	BlockSize uint32 `json:"block_size"`
	ReadOnly  bool   `json:"read_only"`
	// Options are those in force, as SET_OPTIONS names them (rule R16).
	Options map[string]uint64 `json:"options"`
	// InFlight counts the commands and task management functions that are
	// not finished.
	InFlight int `json:"in_flight"`
	// Faults are what the medium has failed to do, each kind of which is there
	// (docs/faults.md); nil: its handler is another program, which knows.
	Faults []Fault `json:"faults,omitempty"`
	// Grace is nil for a device that has a handler.
	Grace     *Grace    `json:"grace,omitempty"`
	Lifecycle Lifecycle `json:"lifecycle"`
	Pools     []Pool    `json:"pools"`
	// Counters are the sums over all sessions, those that ended included.
	Counters Counters  `json:"counters"`
	Sessions []Session `json:"sessions"`
	// Commands lists the ucmds (rule R73), if that was asked for.
	Commands []ucmd.Command `json:"commands,omitempty"`
}

// Fault is a kind of failure of a medium.
type Fault struct {
	// Kind is "read", "write", "space" or "lost".
	Kind string `json:"kind"`
	// Present: it has begun, and no command has shown that it is over. What is
	// lost stays so.
	Present bool `json:"present"`
	// Failed is how many commands have failed. If any has, Since is when the
	// fault that is present, or was last, began, Last when the last command
	// failed, and Error what with.
	Failed uint64     `json:"failed_commands"`
	Since  *time.Time `json:"since,omitempty"`
	Last   *time.Time `json:"last,omitempty"`
	Error  string     `json:"error,omitempty"`
}

// Lifecycle are the device's ucmd.Counters.
type Lifecycle struct {
	Ucmds           int    `json:"ucmds"`
	UcmdsHighest    int    `json:"ucmds_highest"`
	AllocMem        uint64 `json:"alloc_mem"`
	AllocExec       uint64 `json:"alloc_with_exec"`
	AllocAvoided    uint64 `json:"alloc_mem_avoided"`
	Unjammed        uint64 `json:"unjammed"`
	RejectedReplies uint64 `json:"rejected_replies"`
	Refused         uint64 `json:"refused_for_max_ucmds"`
	Overdue         uint64 `json:"overdue"`
}

// Grace is how a device stands between two handlers (ucmd.GraceStatus).
type Grace struct {
	// State is "waiting" for another handler, or "adopting": one has
	// registered and is asked about the sessions.
	State string `json:"state"`
	// Since is when the handler went, Until when the wait ends; not there
	// while adopting.
	Since *time.Time `json:"since,omitempty"`
	Until *time.Time `json:"until,omitempty"`
	// Held counts the commands that wait.
	Held int `json:"held_commands"`
}

// Releases are the ucmd.ReleaseStats of the devices that are gone: how many,
// how many of them left ucmds behind, and how many ucmds those were.
type Releases struct {
	Ended     uint64 `json:"ended"`
	Stuck     uint64 `json:"stuck"`
	Abandoned uint64 `json:"abandoned_ucmds"`
}

// Pool is a buffer pool (sgv.Stats), in pages of PageSize bytes.
type Pool struct {
	Name        string      `json:"name"`
	PageSize    int         `json:"page_size"`
	IdleObjects int         `json:"idle_objects"`
	IdlePages   int         `json:"idle_pages"`
	TotalPages  int         `json:"total_pages"`
	Big         uint64      `json:"big"`
	Uncached    uint64      `json:"uncached"`
	Refused     uint64      `json:"refused"`
	Filled      uint64      `json:"filled"`
	Destroyed   uint64      `json:"destroyed"`
	Classes     []PoolClass `json:"classes"`
}

// PoolClass is a size class that was used.
type PoolClass struct {
	Pages  int    `json:"pages"`
	Hits   uint64 `json:"hits"`
	Allocs uint64 `json:"allocs"`
	Idle   int    `json:"idle"`
}

// Session is an initiator's nexus with a device that exists now.
type Session struct {
	Handle uint64 `json:"handle"`
	// Initiator is the client's name, which has its address; Export what it
	// asked for. Both may have any characters.
	Initiator string    `json:"initiator"`
	Export    string    `json:"export"`
	Since     time.Time `json:"since"`
	InFlight  int       `json:"in_flight"`
	Counters  Counters  `json:"counters"`
}

// Counters are target.Counters.
type Counters struct {
	// Commands has what came, in the order of operation codes.
	Commands     []CommandCount `json:"commands"`
	BytesRead    uint64         `json:"bytes_read"`
	BytesWritten uint64         `json:"bytes_written"`
	// Latency is by kind of command: read, write, flush, other. One command
	// in LatencySample is measured.
	Latency       map[string]Latency `json:"latency"`
	LatencySample int                `json:"latency_sample"`
	TaskMgmt      []TaskMgmtCount    `json:"task_management"`
}

// CommandCount counts the commands with one operation code and one result.
type CommandCount struct {
	Opcode uint8  `json:"opcode"`
	Name   string `json:"name"`
	// Result is the status, SenseKey that of a CHECK CONDITION.
	Result   string `json:"result"`
	SenseKey string `json:"sense_key,omitempty"`
	Count    uint64 `json:"count"`
}

// TaskMgmtCount counts task management functions with one outcome.
type TaskMgmtCount struct {
	Function string `json:"function"`
	Outcome  string `json:"outcome"`
	Count    uint64 `json:"count"`
}

// Runtime is what the Go runtime says of the process.
type Runtime struct {
	Goroutines int `json:"goroutines"`
	// HeapBytes is in use for objects, TotalBytes all that the runtime has
	// from the system. Data buffers are not in it: see Buffers.
	HeapBytes  uint64 `json:"heap_bytes"`
	TotalBytes uint64 `json:"total_bytes"`
	GCCycles   uint64 `json:"gc_cycles"`
}
