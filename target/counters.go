package target

import (
	"math/bits"
	"time"

	"scstuser/scsi"
)

// Result is how a command ended, as the counters tell results apart: a status
// or, for CHECK CONDITION, a sense key.
type Result uint8

// The results. ResultCheck plus a sense key is CHECK CONDITION with that key.
const (
	ResultGood Result = iota
	ResultBusy
	ResultTaskSetFull
	ResultReservationConflict
	ResultTaskAborted
	ResultOther // a status that none of these is
	ResultCheck
	ResultCount = int(ResultCheck) + 16
)

// SenseKey returns the sense key of a CHECK CONDITION; false: it is none.
func (r Result) SenseKey() (scsi.SenseKey, bool) {
	return scsi.SenseKey(r - ResultCheck), r >= ResultCheck
}

// String returns the standard's name of the status or, for CHECK CONDITION, of
// the sense key; "OTHER STATUS" for ResultOther.
func (r Result) String() string {
	if key, ok := r.SenseKey(); ok {
		return key.String()
	}
	return [...]string{
		scsi.Good.String(), scsi.Busy.String(), scsi.TaskSetFull.String(),
		scsi.ReservationConflict.String(), scsi.TaskAborted.String(), "OTHER STATUS",
	}[r]
}

// resultOf is how c has ended. Its status is final.
func resultOf(c *Cmd) Result {
	switch c.Status {
	case scsi.Good:
		return ResultGood
	case scsi.CheckCondition:
		return ResultCheck + Result(senseKey(c.Sense()))
	case scsi.Busy:
		return ResultBusy
	case scsi.TaskSetFull:
		return ResultTaskSetFull
	case scsi.ReservationConflict:
		return ResultReservationConflict
	case scsi.TaskAborted:
		return ResultTaskAborted
	}
	return ResultOther
}

// senseKey finds the key in sense of either format (SPC-4, 4.5); what has no
// key, or is no sense, is NO SENSE.
func senseKey(b []byte) scsi.SenseKey {
	switch {
	case len(b) >= 3 && b[0]&0x7E == 0x70:
		return scsi.SenseKey(b[2] & 0xF)
	case len(b) >= 2 && b[0]&0x7E == 0x72:
		return scsi.SenseKey(b[1] & 0xF)
	}
	return scsi.KeyNoSense
}

// Kind tells commands apart by what they make a device do, for latencies.
type Kind uint8

// The kinds.
const (
	KindOther Kind = iota
	KindRead       // READ
	KindWrite      // WRITE, also WRITE AND VERIFY
	KindFlush      // SYNCHRONIZE CACHE
	KindCount = int(KindFlush) + 1
)

// String returns the kind's name.
func (k Kind) String() string { return [...]string{"other", "read", "write", "flush"}[k] }

// KindOf returns the kind of the commands with this operation code.
func KindOf(op scsi.Opcode) Kind { return kinds[op] }

var kinds = [256]Kind{
	scsi.OpRead6: KindRead, scsi.OpRead10: KindRead, scsi.OpRead12: KindRead, scsi.OpRead16: KindRead,
	scsi.OpWrite6: KindWrite, scsi.OpWrite10: KindWrite, scsi.OpWrite12: KindWrite, scsi.OpWrite16: KindWrite,
	scsi.OpWriteVerify10: KindWrite, scsi.OpWriteVerify12: KindWrite, scsi.OpWriteVerify16: KindWrite,
	scsi.OpSyncCache10: KindFlush, scsi.OpSyncCache16: KindFlush,
}

// HistogramBuckets is how many buckets a Histogram has.
const HistogramBuckets = 28

// Histogram counts latencies. Bucket i has those below 2^i microseconds that
// no lower bucket has; the last one has all the others (above a minute).
type Histogram struct {
	Buckets [HistogramBuckets]uint64
	// Sum adds all latencies up, Max is the highest.
	Sum, Max time.Duration
}

// Observe counts one latency.
func (h *Histogram) Observe(d time.Duration) {
	h.Buckets[min(bits.Len64(uint64(max(d, 0)/time.Microsecond)), HistogramBuckets-1)]++
	h.Sum += d
	h.Max = max(h.Max, d)
}

// Count returns how many latencies were counted.
func (h *Histogram) Count() (n uint64) {
	for _, b := range h.Buckets {
		n += b
	}
	return n
}

func (h *Histogram) add(o *Histogram) {
	for i, n := range o.Buckets {
		h.Buckets[i] += n
	}
	h.Sum += o.Sum
	h.Max = max(h.Max, o.Max)
}

// Results are the commands of one operation code, by result.
type Results [ResultCount]uint64

// Total returns how many commands these are.
func (r *Results) Total() (n uint64) {
	for _, x := range r {
		n += x
	}
	return n
}

// Counters are what a session or a device has done since it exists. A command
// counts when its response is handed to the front end. Commands of the target's
// own (REQUEST SENSE, the writes of a WRITE SAME) do not count.
type Counters struct {
	// Commands has the operation codes that came.
	Commands map[scsi.Opcode]*Results
	// BytesRead and BytesWritten are the data of the commands of KindRead
	// and KindWrite that ended with GOOD.
	BytesRead, BytesWritten uint64
	// Latency is, for each Kind, the time from Submit to the response, of
	// one command in LatencySample (see Options), chosen at random.
	Latency       [KindCount]Histogram
	LatencySample int
	// TaskMgmt has the functions that came, with their outcomes.
	TaskMgmt map[TaskMgmtCount]uint64
}

// tmUnknown stands for all functions that do not exist.
const tmUnknown TMFunc = -1

// tmOther stands for all outcomes that have no name.
const tmOther int32 = 1

// TaskMgmtCount is what task management functions are counted by.
type TaskMgmtCount struct {
	// Fn is the function, -1 for all that do not exist.
	Fn TMFunc
	// Result is the outcome that the front end was told (TMSuccess …), 1 for
	// all that have no name.
	Result int32
}

// Total returns how many commands there were.
func (c *Counters) Total() (n uint64) {
	for _, r := range c.Commands {
		n += r.Total()
	}
	return n
}

// Add adds o to c.
func (c *Counters) Add(o *Counters) {
	c.LatencySample = max(c.LatencySample, o.LatencySample)
	for op, r := range o.Commands {
		c.addResults(op, r)
	}
	c.BytesRead += o.BytesRead
	c.BytesWritten += o.BytesWritten
	for k := range o.Latency {
		c.Latency[k].add(&o.Latency[k])
	}
	for k, n := range o.TaskMgmt {
		c.addTaskMgmt(k, n)
	}
}

func (c *Counters) addResults(op scsi.Opcode, r *Results) {
	if c.Commands == nil {
		c.Commands = map[scsi.Opcode]*Results{}
	}
	sum := c.Commands[op]
	if sum == nil {
		sum = new(Results)
		c.Commands[op] = sum
	}
	for i, n := range r {
		sum[i] += n
	}
}

func (c *Counters) addTaskMgmt(k TaskMgmtCount, n uint64) {
	if c.TaskMgmt == nil {
		c.TaskMgmt = map[TaskMgmtCount]uint64{}
	}
	c.TaskMgmt[k] += n
}
