package status

import (
	"cmp"
	"fmt"
	"maps"
	"runtime/metrics"
	"slices"
	"time"

	"scstuser/target"
	"scstuser/ucmd"
	"scstuser/ucmd/sgv"
)

// Source is what a server of this package asks. Its methods are called by many
// goroutines at once, and must not wait for commands.
type Source interface {
	// Snapshot returns what there is now; commands asks for Device.Commands.
	Snapshot(commands bool) *Snapshot
	// Device returns a device by its name, nil if there is none.
	Device(name string) *ucmd.Device
}

// DeviceOf describes d as far as d itself knows. The caller may add File, Size
// and ReadOnly. Locks are held for as long as it takes to copy.
func DeviceOf(d *ucmd.Device, commands bool) Device {
	desc, opt := d.Desc(), d.GetOptions()
	out := Device{
		Name: desc.Name, Type: typeName(desc.Type), BlockSize: desc.BlockSize,
		Options: optionsOf(&opt), Lifecycle: lifecycleOf(d.Counters()),
		Counters: countersOf(d.Target().Counters()),
		Pools:    []Pool{}, Sessions: []Session{},
		Grace: graceOf(d.Grace()),
	}
	for _, s := range d.PoolStats() {
		out.Pools = append(out.Pools, poolOf(&s))
	}
	now, clock := time.Now(), target.Now()
	for _, s := range d.Target().Sessions() {
		session := Session{
			Handle: s.Handle(), Initiator: s.Info.Initiator, Export: s.Info.Target,
			Since: now.Add(s.Since() - clock).UTC(), InFlight: s.Inflight(),
			Counters: countersOf(s.Counters()),
		}
		out.InFlight += session.InFlight
		out.Sessions = append(out.Sessions, session)
	}
	if commands {
		out.Commands = d.Commands()
	}
	return out
}

func graceOf(g ucmd.GraceStatus) *Grace {
	switch {
	case g.Waiting:
		since, until := g.Since.UTC(), g.Until.UTC()
		return &Grace{State: "waiting", Since: &since, Until: &until, Held: g.Held}
	case g.Adopting:
		return &Grace{State: "adopting", Held: g.Held}
	}
	return nil
}

// ReleasesOf is s in the form of a snapshot.
func ReleasesOf(s ucmd.ReleaseStats) Releases {
	return Releases{Ended: s.Ended, Stuck: s.Stuck, Abandoned: s.Abandoned}
}

// typeName is what people call a peripheral device type.
func typeName(t ucmd.DeviceType) string {
	switch t {
	case ucmd.TypeDisk:
		return "disk"
	case ucmd.TypeROM:
		return "cd/dvd"
	case ucmd.TypeMO:
		return "optical memory"
	}
	return fmt.Sprintf("type %#02x", uint8(t))
}

func optionsOf(o *ucmd.Opt) map[string]uint64 {
	return map[string]uint64{
		"parse_type": uint64(o.Parse), "on_free_cmd_type": uint64(o.OnFree), "memory_reuse_type": uint64(o.Reuse),
		"partial_transfers_type": uint64(o.PartialType), "partial_len": uint64(o.PartialLen),
		"tst": uint64(o.TST), "tmf_only": uint64(o.TMFOnly), "queue_alg": uint64(o.QueueAlg), "qerr": uint64(o.QErr),
		"tas": uint64(o.TAS), "swp": uint64(o.SWP), "d_sense": uint64(o.DSense),
		"has_own_order_mgmt": uint64(o.OwnOrder), "ext_copy_remap_supported": uint64(o.ExtCopyRemap),
	}
}

func lifecycleOf(c ucmd.Counters) Lifecycle {
	return Lifecycle{
		Ucmds: c.Ucmds, UcmdsHighest: c.Highest,
		AllocMem: c.AllocMem, AllocExec: c.AllocExec, AllocAvoided: c.PoolHits,
		Unjammed: c.Unjammed, RejectedReplies: c.RejectedReplies, Refused: c.Refused, Overdue: c.Overdue,
	}
}

func poolOf(s *sgv.Stats) Pool {
	p := Pool{
		Name: s.Name, PageSize: sgv.PageSize, IdleObjects: s.IdleObjects, IdlePages: s.IdlePages, TotalPages: s.TotalPages,
		Big: s.Big, Uncached: s.Uncached, Refused: s.Refused, Filled: s.Filled, Destroyed: s.Destroyed,
		Classes: []PoolClass{},
	}
	for _, c := range s.Classes {
		p.Classes = append(p.Classes, PoolClass(c))
	}
	return p
}

func countersOf(c target.Counters) Counters {
	out := Counters{
		Commands: []CommandCount{}, BytesRead: c.BytesRead, BytesWritten: c.BytesWritten,
		Latency: map[string]Latency{}, LatencySample: c.LatencySample, TaskMgmt: []TaskMgmtCount{},
	}
	for _, op := range slices.Sorted(maps.Keys(c.Commands)) {
		for r, n := range c.Commands[op] {
			if n == 0 {
				continue
			}
			count := CommandCount{Opcode: uint8(op), Name: op.String(), Result: target.Result(r).String(), Count: n}
			if key, ok := target.Result(r).SenseKey(); ok {
				count.Result, count.SenseKey = "CHECK CONDITION", key.String()
			}
			out.Commands = append(out.Commands, count)
		}
	}
	for k := range c.Latency {
		out.Latency[target.Kind(k).String()] = latencyOf(&c.Latency[k])
	}
	for k, n := range c.TaskMgmt {
		out.TaskMgmt = append(out.TaskMgmt, TaskMgmtCount{Function: functionName(k.Fn), Outcome: outcomeName(k.Result), Count: n})
	}
	slices.SortFunc(out.TaskMgmt, func(a, b TaskMgmtCount) int {
		return cmp.Or(cmp.Compare(a.Function, b.Function), cmp.Compare(a.Outcome, b.Outcome))
	})
	return out
}

// functionName names a task management function (rule R67).
func functionName(f target.TMFunc) string {
	names := [...]string{
		target.AbortTask: "ABORT TASK", target.AbortTaskSet: "ABORT TASK SET", target.ClearACA: "CLEAR ACA",
		target.ClearTaskSet: "CLEAR TASK SET", target.LUNReset: "LUN RESET", target.TargetReset: "TARGET RESET",
		target.NexusLossSess: "NEXUS LOSS SESS", target.AbortAllTasksSess: "ABORT ALL TASKS SESS",
		target.NexusLoss: "NEXUS LOSS", target.AbortAllTasks: "ABORT ALL TASKS",
	}
	if f < 0 || int(f) >= len(names) {
		return "UNKNOWN"
	}
	return names[f]
}

// outcomeName names the outcome of a task management function (rule R66). A
// handler may answer with any number.
func outcomeName(result int32) string {
	switch result {
	case target.TMSuccess:
		return "SUCCESS"
	case target.TMTaskNotExist:
		return "TASK NOT EXIST"
	case target.TMLUNNotExist:
		return "LUN NOT EXIST"
	case target.TMNotSupported:
		return "NOT SUPPORTED"
	case target.TMRejected:
		return "REJECTED"
	case target.TMFailed:
		return "FAILED"
	}
	return "OTHER"
}

// RuntimeNow asks the Go runtime, without stopping it.
func RuntimeNow() Runtime {
	samples := []metrics.Sample{
		{Name: "/sched/goroutines:goroutines"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/total:bytes"}, {Name: "/gc/cycles/total:gc-cycles"},
	}
	metrics.Read(samples)
	value := func(i int) uint64 {
		if samples[i].Value.Kind() != metrics.KindUint64 {
			return 0 // a runtime that does not know it
		}
		return samples[i].Value.Uint64()
	}
	return Runtime{Goroutines: int(value(0)), HeapBytes: value(1), TotalBytes: value(2), GCCycles: value(3)}
}
