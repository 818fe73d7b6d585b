package status

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Text lays the snapshot out for people. Names that came from elsewhere can't
// do anything to their terminal.
func (s *Snapshot) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s, process %d, up %s\n\n", clean(s.Program), clean(s.Version), s.PID, seconds(s.Uptime))
	var t table
	for i, l := range s.Listeners {
		t.row(first(i, "listening"), clean(l.Network+":"+l.Address))
	}
	t.row("connections", fmt.Sprintf("%d of at most %d", s.Connections.Now, s.Connections.Limit))
	t.row("buffers", fmt.Sprintf("%s of at most %s, highest %s",
		size(s.Buffers.Live), size(s.Buffers.Limit), size(s.Buffers.Peak)))
	t.row("memory", fmt.Sprintf("%s in objects, %s of the system, %d goroutines, %d collections",
		size(s.Runtime.HeapBytes), size(s.Runtime.TotalBytes), s.Runtime.Goroutines, s.Runtime.GCCycles))
	if r := &s.Releases; r.Stuck > 0 {
		t.row("stuck", fmt.Sprintf("%d of %d released devices left %d ucmds behind", r.Stuck, r.Ended, r.Abandoned))
	}
	t.write(&b, "")
	for i := range s.Devices {
		s.Devices[i].text(&b, s.Time)
	}
	return b.String()
}

// text lays one device out.
func (d *Device) text(b *strings.Builder, now time.Time) {
	fmt.Fprintf(b, "\ndevice %s\n", clean(d.Name))
	var t table
	if d.File != "" {
		t.row("file", clean(d.File))
	}
	t.row("kind", d.kind())
	t.row("options", d.optionText())
	l := &d.Lifecycle
	if g := d.Grace; g != nil {
		t.row("handler", g.text(now))
	}
	for _, f := range d.Faults {
		if f.Failed > 0 {
			t.row("disk", f.text(now))
		}
	}
	t.row("now", fmt.Sprintf("%d in flight, %d ucmds (highest %d)", d.InFlight, l.Ucmds, l.UcmdsHighest))
	t.row("data", fmt.Sprintf("%s read, %s written", size(d.Counters.BytesRead), size(d.Counters.BytesWritten)))
	t.row("buffers", fmt.Sprintf("%d asked for with ALLOC_MEM, %d with EXEC, %d times avoided", l.AllocMem, l.AllocExec, l.AllocAvoided))
	t.row("trouble", fmt.Sprintf("%d unjammed, %d replies rejected, %d commands refused, %d overdue",
		l.Unjammed, l.RejectedReplies, l.Refused, l.Overdue))
	t.write(b, "  ")
	d.Counters.text(b)
	d.poolText(b)
	d.sessionText(b, now)
	if len(d.Commands) > 0 {
		b.WriteString("\n  ucmds\n")
		for _, c := range d.Commands {
			fmt.Fprintf(b, "    %s\n", c)
		}
	}
}

// faultTexts are what is wrong, and what was.
var faultTexts = map[string][2]string{
	"read": {"fails to read", "failed to read"}, "write": {"fails to write", "failed to write"},
	"space": {"has no space", "had no space"}, "lost": {"writes may be lost", "lost writes"},
}

// text says what the medium failed to do.
func (f *Fault) text(now time.Time) string {
	words, known := faultTexts[f.Kind]
	if !known { // a newer program's
		words = [2]string{clean(f.Kind), clean(f.Kind)}
	}
	ago := func(at *time.Time) string {
		if at == nil { // a program that does not tell
			return "some time"
		}
		return seconds(now.Sub(*at).Seconds())
	}
	text := words[0] + ", for " + ago(f.Since)
	if !f.Present {
		text = words[1] + " until " + ago(f.Last) + " ago, and works again"
	}
	return fmt.Sprintf("%s; failed commands: %d, the last with: %s", text, f.Failed, clean(f.Error))
}

// text says what the device waits for.
func (g *Grace) text(now time.Time) string {
	text := "a new one takes over"
	if g.Until != nil {
		text = fmt.Sprintf("gone for %s, waiting %s more for another", seconds(now.Sub(*g.Since).Seconds()), seconds(g.Until.Sub(now).Seconds()))
	}
	return fmt.Sprintf("%s, %d commands held", text, g.Held)
}

func (d *Device) kind() string {
	text := d.Type
	if d.Size != 0 {
		text += ", " + size(d.Size)
	}
	if d.BlockSize != 0 {
		text += fmt.Sprintf(", blocks of %d bytes", d.BlockSize)
	}
	if d.ReadOnly {
		text += ", read-only"
	}
	return text
}

// optionText lists the options that are not 0.
func (d *Device) optionText() string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(d.Options)) {
		if v := d.Options[name]; v != 0 {
			words = append(words, fmt.Sprintf("%s=%d", clean(name), v))
		}
	}
	if len(words) == 0 {
		return "all 0"
	}
	return strings.Join(words, " ")
}

// text lays out what commands did and how long that took.
func (c *Counters) text(b *strings.Builder) {
	if len(c.Commands) > 0 {
		b.WriteString("\n")
		t := table{numbers: 1}
		t.row("commands", "total", "results")
		for i := 0; i < len(c.Commands); {
			op, total := c.Commands[i], uint64(0)
			var results []string
			for ; i < len(c.Commands) && c.Commands[i].Opcode == op.Opcode; i++ {
				x := &c.Commands[i]
				total += x.Count
				name := x.Result
				if x.SenseKey != "" {
					name = x.SenseKey // which is CHECK CONDITION
				}
				results = append(results, fmt.Sprintf("%d %s", x.Count, clean(name)))
			}
			t.row(clean(op.Name), strconv.FormatUint(total, 10), strings.Join(results, ", "))
		}
		t.write(b, "  ")
	}
	t := table{numbers: 5}
	t.row("latency", "measured", "50%", "90%", "99%", "highest")
	for _, kind := range slices.Sorted(maps.Keys(c.Latency)) {
		if l := c.Latency[kind]; l.Count > 0 {
			t.row(clean(kind), strconv.FormatUint(l.Count, 10), duration(l.P50), duration(l.P90), duration(l.P99), duration(l.Max))
		}
	}
	if len(t.rows) > 1 {
		b.WriteString("\n")
		t.write(b, "  ")
	}
	if len(c.TaskMgmt) > 0 {
		b.WriteString("\n")
		t := table{numbers: 1}
		t.row("task management", "total", "outcome")
		for _, m := range c.TaskMgmt {
			t.row(clean(m.Function), strconv.FormatUint(m.Count, 10), clean(m.Outcome))
		}
		t.write(b, "  ")
	}
}

func (d *Device) poolText(b *strings.Builder) {
	t := table{numbers: 6}
	t.row("pool", "size", "hits", "misses", "idle", "all", "refused")
	for i := range d.Pools {
		p := &d.Pools[i]
		if len(p.Classes) == 0 && p.TotalPages == 0 && p.Refused == 0 {
			continue // never used
		}
		t.row(clean(p.Name), "", "", "", size(p.IdlePages*p.PageSize), size(p.TotalPages*p.PageSize), strconv.FormatUint(p.Refused, 10))
		for _, c := range p.Classes {
			t.row("", size(c.Pages*p.PageSize), strconv.FormatUint(c.Hits, 10), strconv.FormatUint(c.Allocs, 10),
				size(c.Idle*c.Pages*p.PageSize))
		}
	}
	if len(t.rows) > 1 {
		b.WriteString("\n")
		t.write(b, "  ")
	}
}

func (d *Device) sessionText(b *strings.Builder, now time.Time) {
	if len(d.Sessions) == 0 {
		return
	}
	b.WriteString("\n")
	t := table{numbers: 6}
	t.row("session", "for", "in flight", "commands", "read", "written", "99% read", "initiator", "export")
	for i := range d.Sessions {
		s := &d.Sessions[i]
		total := uint64(0)
		for _, c := range s.Counters.Commands {
			total += c.Count
		}
		t.row(strconv.FormatUint(s.Handle, 10), seconds(now.Sub(s.Since).Seconds()), strconv.Itoa(s.InFlight),
			strconv.FormatUint(total, 10), size(s.Counters.BytesRead), size(s.Counters.BytesWritten),
			s.Counters.slowest("read"), clean(s.Initiator), clean(s.Export))
	}
	t.write(b, "  ")
}

// slowest is the time that 99 per cent of a kind of commands did not exceed.
func (c *Counters) slowest(kind string) string {
	if l := c.Latency[kind]; l.Count > 0 {
		return duration(l.P99)
	}
	return "-"
}

// first is text in the first row, nothing in the others.
func first(i int, text string) string {
	if i == 0 {
		return text
	}
	return ""
}

// size is a size to read: "0", "700", "64 KiB", "1.5 GiB".
func size[N int | int64 | uint64](n N) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprint(n)
	}
	f, unit := float64(n)/1024, 0
	for f >= 1024 && unit < len(units)-1 {
		f /= 1024
		unit++
	}
	return short(f) + " " + units[unit:unit+1] + "iB"
}

// duration is a time in microseconds to read: "17 us", "4.1 ms", "1.5 s".
func duration(us uint64) string {
	switch {
	case us < 1000:
		return fmt.Sprintf("%d us", us)
	case us < 1_000_000:
		return short(float64(us)/1e3) + " ms"
	}
	return short(float64(us)/1e6) + " s"
}

// short is f with one decimal, if that says anything.
func short(f float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(f, 'f', 1, 64), ".0")
}

// seconds is a longer time to read: "5s", "2h3m", "12d4h".
func seconds(f float64) string {
	n := int64(max(f, 0))
	switch {
	case n < 60:
		return fmt.Sprintf("%ds", n)
	case n < 3600:
		return fmt.Sprintf("%dm%ds", n/60, n%60)
	case n < 24*3600:
		return fmt.Sprintf("%dh%dm", n/3600, n/60%60)
	}
	return fmt.Sprintf("%dd%dh", n/86400, n/3600%24)
}

// clean keeps control characters from the terminal.
func clean(text string) string {
	var b strings.Builder
	for _, r := range text {
		if !unicode.IsPrint(r) {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
