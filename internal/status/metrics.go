package status

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"scstuser/target"
)

// newRegistry makes the metrics of src: ours, and what client libraries tell of
// every process.
func newRegistry(src Source) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collector{src}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// collector turns a Snapshot into metrics, at each scrape. Sessions have no
// metrics of their own: there is no end to the names of clients. All other
// labels have few values; see opcodeLabel.
type collector struct{ src Source }

var _ prometheus.Collector = collector{}

// metric describes one metric of ours.
func metric(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("scstuser_"+name, help, labels, nil)
}

// The metrics. One that ends in _total is a counter, the others but the
// histogram are gauges.
var (
	mInfo        = metric("build_info", "1, with the version of the program.", "program", "version")
	mStarted     = metric("start_time_seconds", "When the process began to serve, in seconds since 1970.")
	mConnections = metric("connections", "Clients that are connected, negotiating ones included.")
	mConnLimit   = metric("connections_limit", "The most clients that can be connected.")
	mBuffers     = metric("buffers_bytes", "Memory in data buffers of all devices.")
	mBuffersMax  = metric("buffers_limit_bytes", "The most memory that data buffers may take.")

	mSize      = metric("device_size_bytes", "Size of the device.", "device")
	mBlock     = metric("device_block_size_bytes", "Size of a logical block.", "device")
	mFault     = metric("device_fault", "1 while the medium fails to do this: read, write, find space, make durable (lost).", "device", "kind")
	mFailed    = metric("device_failed_commands_total", "Commands that failed because the medium did.", "device", "kind")
	mSessions  = metric("sessions", "Sessions that are attached to the device.", "device")
	mInFlight  = metric("commands_in_flight", "Commands and task management functions that are not finished.", "device")
	mCommands  = metric("commands_total", "SCSI commands that were answered.", "device", "opcode", "result", "sense_key")
	mRead      = metric("read_bytes_total", "Data that READ commands returned.", "device")
	mWritten   = metric("written_bytes_total", "Data that WRITE commands wrote.", "device")
	mLatency   = metric("command_duration_seconds", "Time from a command's arrival to its response, of a random sample of the commands.", "device", "kind")
	mTaskMgmt  = metric("task_management_functions_total", "Task management functions that were answered.", "device", "function", "outcome")
	mUcmds     = metric("ucmds", "Ucmds that exist, idle buffers' owners included.", "device")
	mUcmdsHigh = metric("ucmds_highest", "The most ucmds that existed at a time.", "device")
	mAsked     = metric("buffers_asked_total", "Buffers that the handler was asked for, by the subcommand that asked.", "device", "subcommand")
	mAvoided   = metric("alloc_mem_avoided_total", "Commands that found their buffer in the pool.", "device")
	mUnjammed  = metric("ucmds_unjammed_total", "Times that the handler's part of a ucmd was given up.", "device")
	mRejected  = metric("replies_rejected_total", "Replies of the handler that were refused.", "device")
	mRefused   = metric("commands_refused_total", "Commands that were refused because the device had too many ucmds.", "device")

	mOverdue   = metric("commands_overdue_total", "Subcommands that a handler had for longer than the command timeout.", "device")
	mHeld      = metric("commands_held", "Commands that wait for another handler to register the device.", "device")
	mReleases  = metric("releases_total", "Devices that were released.")
	mStuck     = metric("releases_stuck_total", "Releases that had to leave ucmds behind.")
	mAbandoned = metric("ucmds_abandoned_total", "Ucmds that releases left behind.")

	mPoolIdle    = metric("pool_idle_bytes", "Memory in idle buffers of the pool.", "device", "pool")
	mPoolTotal   = metric("pool_bytes", "Memory in all buffers of the pool.", "device", "pool")
	mPoolHits    = metric("pool_hits_total", "Requests that an idle buffer served.", "device", "pool")
	mPoolMisses  = metric("pool_misses_total", "Requests that needed memory from the handler.", "device", "pool")
	mPoolRefused = metric("pool_refused_total", "Buffers that the pool's limit forbade.", "device", "pool")

	descriptions = []*prometheus.Desc{
		mInfo, mStarted, mConnections, mConnLimit, mBuffers, mBuffersMax,
		mSize, mBlock, mFault, mFailed, mSessions, mInFlight, mCommands, mRead, mWritten, mLatency, mTaskMgmt,
		mUcmds, mUcmdsHigh, mAsked, mAvoided, mUnjammed, mRejected, mRefused,
		mOverdue, mHeld, mReleases, mStuck, mAbandoned,
		mPoolIdle, mPoolTotal, mPoolHits, mPoolMisses, mPoolRefused,
	}
)

// Describe implements prometheus.Collector.
func (collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range descriptions {
		ch <- d
	}
}

// sink is where metrics go.
type sink chan<- prometheus.Metric

func (ch sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, valid(labels)...)
}

func (ch sink) count(d *prometheus.Desc, n uint64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), valid(labels)...)
}

// valid makes UTF-8 of labels, which have to be that.
func valid(labels []string) []string {
	for i, l := range labels {
		labels[i] = strings.ToValidUTF8(l, "?")
	}
	return labels
}

// Collect implements prometheus.Collector.
func (c collector) Collect(to chan<- prometheus.Metric) {
	ch, s := sink(to), c.src.Snapshot(false)
	ch.gauge(mInfo, 1, s.Program, s.Version)
	ch.gauge(mStarted, float64(s.Started.UnixMilli())/1e3)
	ch.gauge(mConnections, float64(s.Connections.Now))
	ch.gauge(mConnLimit, float64(s.Connections.Limit))
	ch.gauge(mBuffers, float64(s.Buffers.Live))
	ch.gauge(mBuffersMax, float64(s.Buffers.Limit))
	ch.count(mReleases, s.Releases.Ended)
	ch.count(mStuck, s.Releases.Stuck)
	ch.count(mAbandoned, s.Releases.Abandoned)
	for i := range s.Devices {
		ch.device(&s.Devices[i])
	}
}

func (ch sink) device(d *Device) {
	if d.Size != 0 {
		ch.gauge(mSize, float64(d.Size), d.Name)
	}
	ch.gauge(mBlock, float64(d.BlockSize), d.Name)
	for _, f := range d.Faults {
		present := 0.0
		if f.Present {
			present = 1
		}
		ch.gauge(mFault, present, d.Name, f.Kind)
		ch.count(mFailed, f.Failed, d.Name, f.Kind)
	}
	ch.gauge(mSessions, float64(len(d.Sessions)), d.Name)
	ch.gauge(mInFlight, float64(d.InFlight), d.Name)
	l := &d.Lifecycle
	ch.gauge(mUcmds, float64(l.Ucmds), d.Name)
	ch.gauge(mUcmdsHigh, float64(l.UcmdsHighest), d.Name)
	ch.count(mAsked, l.AllocMem, d.Name, "ALLOC_MEM")
	ch.count(mAsked, l.AllocExec, d.Name, "EXEC")
	ch.count(mAvoided, l.AllocAvoided, d.Name)
	ch.count(mUnjammed, l.Unjammed, d.Name)
	ch.count(mRejected, l.RejectedReplies, d.Name)
	ch.count(mRefused, l.Refused, d.Name)
	ch.count(mOverdue, l.Overdue, d.Name)
	held := 0
	if d.Grace != nil {
		held = d.Grace.Held
	}
	ch.gauge(mHeld, float64(held), d.Name)
	ch.counters(d.Name, &d.Counters)
	for i := range d.Pools {
		ch.pool(d.Name, &d.Pools[i])
	}
}

func (ch sink) counters(device string, c *Counters) {
	type key struct{ opcode, result, senseKey string }
	sums := map[key]uint64{}
	for _, x := range c.Commands {
		sums[key{opcodeLabel(x.Name), label(x.Result), label(x.SenseKey)}] += x.Count
	}
	for k, n := range sums {
		ch.count(mCommands, n, device, k.opcode, k.result, k.senseKey)
	}
	ch.count(mRead, c.BytesRead, device)
	ch.count(mWritten, c.BytesWritten, device)
	for kind, l := range c.Latency {
		ch <- l.metric(device, kind)
	}
	for _, m := range c.TaskMgmt {
		ch.count(mTaskMgmt, m.Count, device, label(m.Function), label(m.Outcome))
	}
}

// metric is l as a histogram of Prometheus: in seconds, each bucket with those
// before it.
func (l *Latency) metric(device, kind string) prometheus.Metric {
	buckets, below := make(map[float64]uint64, latencyBuckets), uint64(0)
	for i := range latencyBuckets {
		if i < len(l.Buckets) {
			below += l.Buckets[i]
		}
		buckets[float64(uint64(1)<<i)/1e6] = below
	}
	return prometheus.MustNewConstHistogram(mLatency, l.Count, float64(l.Sum)/1e6, buckets, valid([]string{device, kind})...)
}

// latencyBuckets is how many buckets have an upper end.
const latencyBuckets = target.HistogramBuckets - 1

func (ch sink) pool(device string, p *Pool) {
	hits, misses := uint64(0), uint64(0)
	for _, c := range p.Classes {
		hits += c.Hits
		misses += c.Allocs
	}
	ch.gauge(mPoolIdle, float64(p.IdlePages*p.PageSize), device, p.Name)
	ch.gauge(mPoolTotal, float64(p.TotalPages*p.PageSize), device, p.Name)
	ch.count(mPoolHits, hits, device, p.Name)
	ch.count(mPoolMisses, misses, device, p.Name)
	ch.count(mPoolRefused, p.Refused, device, p.Name)
}

// label is a name of a standard as labels are written: check_condition.
func label(name string) string { return strings.ReplaceAll(strings.ToLower(name), " ", "_") }

// opcodeLabel is the name of an operation code: WRITE(10) and so on. Those that
// have none, which an initiator may send as it likes, are "other".
func opcodeLabel(name string) string {
	if strings.HasPrefix(name, "OPCODE ") {
		return "other"
	}
	return name
}
