package trace

import (
	"fmt"
	"io"
	"math/bits"
	"sort"
	"strings"
	"time"

	"scstuser/ioctl/abi"
)

// Stats counts what is in a trace. Add events in order, then read it; maps are
// by ioctl or subcode name. The JSON form is what fileio_tgt trace stat --json
// prints.
type Stats struct {
	Events  int            `json:"events"`
	Span    int64          `json:"span_ns"` // from the first to the last event
	Threads int            `json:"threads"`
	Ioctls  map[string]int `json:"ioctls"` // calls entered, by ioctl
	Errors  map[string]int `json:"errors"` // calls failed, by ioctl and errno
	// Unreturned calls were entered and never left; Unanswered subcommands
	// were fetched and never replied to.
	Unreturned int `json:"unreturned"`
	Unanswered int `json:"unanswered"`
	// CmdsPerGet and RepliesPerCall count calls of REPLY_AND_GET_CMD and
	// _MULTI by how many subcommands they brought (successful calls) and
	// how many replies they took.
	CmdsPerGet     map[int]int `json:"cmds_per_get"`
	RepliesPerCall map[int]int `json:"replies_per_call"`
	// Subcodes counts by subcommand.
	Subcodes map[string]*SubcodeStats `json:"subcodes"`

	first   int64
	threads map[[2]int]bool
	calls   map[uint64]bool // not returned
	sent    map[statKey]sentAt
}

// SubcodeStats is about one kind of subcommand. Latency is from the return of
// the call that fetched it to the entry of the one that answers it: what the
// handler took.
type SubcodeStats struct {
	Fetched int           `json:"fetched"`
	Replied int           `json:"replied"`
	Latency HistogramOfNS `json:"latency"`
}

// HistogramOfNS counts durations in powers of two of microseconds: bucket 0 is
// below 1 us, bucket i from 2^(i-1) to below 2^i us.
type HistogramOfNS struct {
	Count   int     `json:"count"`
	Sum     int64   `json:"sum_ns"`
	Min     int64   `json:"min_ns"`
	Max     int64   `json:"max_ns"`
	Buckets [32]int `json:"buckets_log2_us"`
}

type statKey struct {
	file int
	h    uint32
}

type sentAt struct {
	sub abi.Subcode
	at  int64
}

// Add counts one more duration; negative ones (clocks of several processors)
// count as 0.
func (h *HistogramOfNS) Add(ns int64) {
	ns = max(ns, 0)
	if h.Count == 0 || ns < h.Min {
		h.Min = ns
	}
	h.Count, h.Sum, h.Max = h.Count+1, h.Sum+ns, max(h.Max, ns)
	h.Buckets[min(bits.Len64(uint64(ns/1000)), len(h.Buckets)-1)]++
}

// Mean is the average, 0 of nothing.
func (h *HistogramOfNS) Mean() time.Duration {
	if h.Count == 0 {
		return 0
	}
	return time.Duration(h.Sum / int64(h.Count))
}

// NewStats makes an empty one.
func NewStats() *Stats {
	return &Stats{Ioctls: map[string]int{}, Errors: map[string]int{}, CmdsPerGet: map[int]int{}, RepliesPerCall: map[int]int{},
		Subcodes: map[string]*SubcodeStats{}, threads: map[[2]int]bool{}, calls: map[uint64]bool{}, sent: map[statKey]sentAt{}}
}

// Add counts the next event.
func (s *Stats) Add(e *Event) {
	if s.Events++; s.Events == 1 {
		s.first = e.Time
	}
	s.Span = max(s.Span, e.Time-s.first)
	if e.TID != 0 && !s.threads[[2]int{e.PID, e.TID}] {
		s.threads[[2]int{e.PID, e.TID}] = true
		s.Threads++
	}
	switch e.Kind {
	case KindEnter:
		s.enter(e)
	case KindExit:
		s.exit(e)
	}
}

func (s *Stats) enter(e *Event) {
	s.Ioctls[e.Op]++
	s.calls[e.Seq] = true
	s.Unreturned = len(s.calls)
	if e.In == nil {
		return
	}
	if isGet(e.Op) {
		s.RepliesPerCall[len(e.In.Replies)]++
	}
	for i := range e.In.Replies {
		r := &e.In.Replies[i]
		k := statKey{e.File, r.CmdH}
		sent, ok := s.sent[k]
		if !ok || sent.sub != r.Subcode {
			continue // to nothing that is known: an error, or before the recording
		}
		delete(s.sent, k)
		sub := s.subcode(r.Subcode)
		sub.Replied++
		sub.Latency.Add(e.Time - sent.at)
	}
	s.Unanswered = len(s.sent)
}

func (s *Stats) exit(e *Event) {
	delete(s.calls, e.Call)
	s.Unreturned = len(s.calls)
	if e.Errno != 0 {
		s.Errors[e.Op+" "+e.Errno.String()]++
	}
	var cmds []Cmd
	if e.Out != nil {
		cmds = e.Out.Cmds
	}
	if e.Errno == 0 && isGet(e.Op) {
		s.CmdsPerGet[len(cmds)]++
	}
	for i := range cmds {
		c := &cmds[i]
		s.sent[statKey{e.File, c.CmdH}] = sentAt{c.Subcode, e.Time}
		s.subcode(c.Subcode).Fetched++
	}
	s.Unanswered = len(s.sent)
}

func (s *Stats) subcode(c abi.Subcode) *SubcodeStats {
	name := c.String()
	if s.Subcodes[name] == nil {
		s.Subcodes[name] = &SubcodeStats{}
	}
	return s.Subcodes[name]
}

// isGet says whether an ioctl fetches subcommands.
func isGet(op string) bool {
	return op == abi.IoctlReplyAndGetCmd.String() || op == abi.IoctlReplyAndGetMulti.String()
}

// WriteText writes the counts as tables for people.
func (s *Stats) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d events in %v, %d threads, %d calls without return, %d subcommands without reply\n",
		s.Events, time.Duration(s.Span).Round(time.Microsecond), s.Threads, s.Unreturned, s.Unanswered)
	b.WriteString("\ncalls\n")
	for _, op := range sortedKeys(s.Ioctls) {
		fmt.Fprintf(&b, "  %-24s %7d\n", op, s.Ioctls[op])
	}
	if len(s.Errors) > 0 {
		b.WriteString("\nerrors\n")
		for _, k := range sortedKeys(s.Errors) {
			fmt.Fprintf(&b, "  %-32s %7d\n", k, s.Errors[k])
		}
	}
	counts(&b, "subcommands per successful get", s.CmdsPerGet)
	counts(&b, "replies per call", s.RepliesPerCall)
	b.WriteString("\nsubcommand          fetched replied     min    mean     max  latency of the handler, 1 us to 1 s\n")
	for _, name := range sortedKeys(s.Subcodes) {
		x := s.Subcodes[name]
		l := &x.Latency
		line := fmt.Sprintf("%-19s %7d %7d %7s %7s %7s  %s", name, x.Fetched, x.Replied,
			short(time.Duration(l.Min)), short(l.Mean()), short(time.Duration(l.Max)), l.bars())
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func counts(b *strings.Builder, title string, m map[int]int) {
	if len(m) == 0 {
		return
	}
	keys := make([]int, 0, len(m))
	total, calls := 0, 0
	for k, n := range m {
		keys = append(keys, k)
		total, calls = total+k*n, calls+n
	}
	sort.Ints(keys)
	fmt.Fprintf(b, "\n%s (mean %.2f)\n", title, float64(total)/float64(calls))
	for _, k := range keys {
		fmt.Fprintf(b, "  %7d %7d\n", k, m[k])
	}
}

// bars is the histogram as a line of 21 columns, a column per power of two up
// to a second; what is longer is in the last one.
func (h *HistogramOfNS) bars() string {
	const columns = 21
	levels := []rune(" ▁▂▃▄▅▆▇█")
	var n [columns]int
	most := 0
	for i, c := range h.Buckets {
		k := min(i, columns-1)
		n[k] += c
		most = max(most, n[k])
	}
	var b strings.Builder
	for _, c := range n {
		level := 0
		if c > 0 {
			level = max(1, c*(len(levels)-1)/most)
		}
		b.WriteRune(levels[level])
	}
	return b.String()
}

// short is a duration in at most seven columns.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.0fus", float64(d)/1e3)
	case d < time.Second:
		return fmt.Sprintf("%.1fms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.1fs", d.Seconds())
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
