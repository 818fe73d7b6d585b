package faults

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"scstuser/internal/faultfs"
	"scstuser/nbd/nbdtest"
)

// hangs sends a request that meets the fault, and waits until it does.
func hangs(typ, flags uint16) step {
	return step{commandNames[typ] + " *hangs*", func(r *rig) {
		r.t.Helper()
		r.hung = r.build(typ, there, r.size, flags)
		r.hung.Cookie = 1
		r.conn.SendRequests(r.hung)
		r.waitFor("the request hangs", func() bool { return r.fault.Waiting() > 0 })
	}}
}

// threadsOf is how many commands of an export can wait for its disk (--threads).
const threadsOf = 7

// allHang is as many READs as there are threads: any thread of the process may be
// the one that hangs, also the one that the kernel gives signals to.
var allHang = step{fmt.Sprintf("%d READs *hang*", threadsOf), func(r *rig) {
	r.t.Helper()
	for i := range uint64(threadsOf) {
		req := r.build(nbdtest.CmdRead, there+i*4096, 4096, 0)
		req.Cookie = 1 + i
		r.conn.SendRequests(req)
		r.waitFor("the request hangs", func() bool { return r.fault.Waiting() > int(i) })
	}
}}

// answered is the end of the request that hung.
func answered(want outcome) step {
	return step{"it is answered " + want.result(), func(r *rig) {
		r.t.Helper()
		reply := r.conn.Collect(r.hung)[0]
		want.check(r, "what hung", there, reply)
		r.note(r.hung, reply)
	}}
}

// another is a step of a second client of the same export.
func another(typ uint16, want outcome) step {
	return step{"another client's " + commandNames[typ] + " " + want.result(), func(r *rig) {
		r.t.Helper()
		want.check(r, "another client's "+commandNames[typ], elsewhere, r.request(r.second, typ, 8<<20, r.size, 0))
	}}
}

// othersGoOn requires that the sibling works, and has the document say so.
var othersGoOn = step{"other exports go on", func(r *rig) { r.others() }}

// waitFor waits until something holds.
func (r *rig) waitFor(what string, holds func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			_ = r.server.Signal(syscall.SIGQUIT) // where it hangs
			r.server.WaitExit(2 * time.Second)
			r.t.Fatalf("not within 15 s: %s; the server printed:\n%s", what, r.log())
		}
	}
}

// known has the ranges read that will be read while the disk hangs: the server
// asks the file system for the holes of others, and that may wait for a write that
// hangs.
var known = step{"", func(r *rig) {
	for _, at := range []uint64{there, elsewhere, 8 << 20} {
		ok.check(r, "READ", at, r.request(r.conn, nbdtest.CmdWrite, at, r.size, 0))
		ok.check(r, "READ", at, r.request(r.conn, nbdtest.CmdRead, at, r.size, 0))
	}
}}

// newcomer connects a new client, whose first request has to wait for the
// command that hangs (rule R39). Those that are there go on meanwhile.
var newcomer = step{"a new client *waits*", func(r *rig) {
	r.came = make(chan nbdtest.Reply, 1)
	c := r.dial(r.export())
	go func() { // it is the only one that uses c
		r.came <- c.Ask(nbdtest.Request{Type: nbdtest.CmdRead, Offset: elsewhere, Length: 4096})
	}()
	for _, typ := range []uint16{nbdtest.CmdRead, nbdtest.CmdRead, nbdtest.CmdRead} {
		begin := time.Now()
		ok.check(r, "a client that was there", 8<<20, r.request(r.second, typ, 8<<20, r.size, 0))
		if took := time.Since(begin); took > 5*time.Second {
			r.t.Errorf("a client that was there had to wait for %v", took)
		}
		time.Sleep(300 * time.Millisecond)
	}
	select {
	case <-r.came:
		r.t.Error("the new client does not wait")
	default:
	}
}}

// flood sends more than may be dirty, without waiting.
var flood = step{"WRITE of 7 MiB *hangs*", func(r *rig) {
	r.t.Helper()
	for i := range 7 {
		w := r.build(nbdtest.CmdWrite, uint64(9+i)<<20, 1<<20, 0)
		w.Cookie = uint64(100 + i)
		r.flooded = append(r.flooded, w)
	}
	r.replies = make(chan []nbdtest.Reply, 1)
	go func() { r.replies <- r.conn.Exchange(r.flooded...) }() // the only one that uses the connection
	r.waitFor("the disk hangs", func() bool { return r.fault.Waiting() > 0 })
	time.Sleep(300 * time.Millisecond) // till the kernel has had enough
	select {
	case <-r.replies:
		r.t.Error("the writes don't hang")
	default:
	}
}}

// floodOver is the end of it.
var floodOver = step{"they are answered ok", func(r *rig) {
	r.t.Helper()
	for i, reply := range <-r.replies {
		ok.check(r, "a WRITE that hung", r.flooded[i].Offset, reply)
		r.note(r.flooded[i], reply)
	}
}}

// served is the newcomer's first answer.
var served = step{"the new client is served", func(r *rig) {
	r.t.Helper()
	select {
	case reply := <-r.came:
		ok.check(r, "the new client", elsewhere, reply)
	case <-time.After(15 * time.Second):
		r.t.Error("the new client waits for ever")
	}
}}

var (
	hangRead  = faultfs.Fault{Ops: faultfs.Read, Off: there, Len: 1 << 20, Hang: true}
	hangWrite = faultfs.Fault{Ops: faultfs.Write, Off: there, Len: 1 << 20, Hang: true}
	hangSync  = faultfs.Fault{Ops: faultfs.Sync, Hang: true}
)

// with adds options to a mode.
func (m mode) with(text string, args ...string) mode {
	m.name, m.text = m.name+strings.ReplaceAll(strings.Join(args, ""), "--", "-"), text
	m.args = append(append([]string{}, m.args...), args...)
	return m
}

// terminated sends SIGTERM, and waits until the server has said this last.
func terminated(text, says string) step {
	return step{text, func(r *rig) {
		r.t.Helper()
		begin := time.Now()
		if err := r.server.Signal(syscall.SIGTERM); err != nil {
			r.t.Fatal(err)
		}
		r.waitFor("the server says: "+says, func() bool { return strings.Contains(r.log(), says) })
		if took := time.Since(begin); took > 10*time.Second {
			r.t.Errorf("the end took %v", took)
		}
	}}
}

// gone waits for the process, which a system call in the disk may hold up.
func gone(status int) step {
	return step{"", func(r *rig) {
		r.t.Helper()
		if r.fault != nil {
			r.fault.Clear()
		}
		if !r.server.WaitExit(15 * time.Second) {
			r.t.Fatal("the server did not end")
		}
		r.left = true
		if got := r.server.ExitCode(); got != status {
			r.t.Errorf("the server ended with status %d, want %d:\n%s", got, status, r.log())
		}
	}}
}

var slowRows = []row{
	{
		name: "slow", fault: "a disk that is slow: 0.3 s for each request",
		on: []medium{plain}, modes: []mode{writeBack, threads, direct, writeThrough}, sizes: []int{1 << 20},
		steps: []step{
			fails(faultfs.Fault{Ops: faultfs.Read | faultfs.Write, Off: there, Len: 1 << 20, Delay: 300 * time.Millisecond}),
			write(ok), read(ok), fua(ok), flush(ok),
		},
	},
	{
		name: "hang-read", fault: "a disk that hangs when a range is read",
		on: []medium{plain}, modes: []mode{writeBack, threads, direct, readOnly},
		steps: []step{
			fails(hangRead), hangs(nbdtest.CmdRead, 0), readElsewhere(ok),
			another(nbdtest.CmdRead, ok), othersGoOn, repaired, answered(ok), read(ok),
		},
	},
	{
		name: "hang-write", fault: "a disk that hangs when a range is written",
		on: []medium{plain}, modes: []mode{writeBack, threads, direct},
		steps: []step{
			known, fails(hangWrite), hangs(nbdtest.CmdWrite, 0), readElsewhere(ok), writeElsewhere(ok),
			another(nbdtest.CmdWrite, ok), othersGoOn, repaired, answered(ok), write(ok), read(ok), flush(ok),
		},
	},
	{
		name: "hang-sync", fault: "a disk that hangs when it is flushed",
		on: []medium{plain}, modes: []mode{writeBack, threads, direct},
		steps: []step{
			known, write(ok), fails(hangSync), hangs(nbdtest.CmdFlush, 0), readElsewhere(ok), read(ok),
			another(nbdtest.CmdRead, ok), othersGoOn, repaired, answered(ok), flush(ok),
		},
	},
	{
		name: "hang-writeback", fault: "a disk that hangs, below the kernel's page cache",
		on: []medium{block}, modes: []mode{writeBack, threads},
		steps: []step{
			known, write(ok), fails(faultfs.Fault{Ops: faultfs.Write | faultfs.Sync, Hang: true}),
			write(ok), hangs(nbdtest.CmdFlush, 0), read(ok), readElsewhere(ok),
			another(nbdtest.CmdRead, ok), othersGoOn, repaired, answered(ok), flush(ok),
		},
	},
	{
		name: "hang-dirty", fault: "a disk that hangs, and more is written than may be in the page cache",
		on: []medium{throttled}, modes: []mode{writeBack, threads}, sizes: []int{1 << 20},
		steps: []step{
			known, flush(ok), fails(faultfs.Fault{Ops: faultfs.Write | faultfs.Sync, Hang: true}),
			flood, another(nbdtest.CmdRead, ok), othersGoOn, repaired, floodOver, flush(ok),
		},
	},
	{
		name: "hang-newcomer", fault: "a disk that hangs, and a client that comes",
		on: []medium{plain}, modes: []mode{writeBack}, sizes: []int{4 << 10},
		steps: []step{
			fails(hangRead), hangs(nbdtest.CmdRead, 0), newcomer, repaired, answered(ok), served,
		},
	},
	{
		name: "hang-report", fault: "a disk that hangs",
		on: []medium{plain}, modes: []mode{writeBack.with("`--cmd_timeout 1`", "--cmd_timeout=1")}, sizes: []int{4 << 10},
		steps: []step{
			fails(hangRead), hangs(nbdtest.CmdRead, 0), logged(notAnswered), readElsewhere(ok), repaired, answered(ok),
		},
		logs: []line{notAnswered},
	},
	{
		name: "hang-reset", fault: "a disk that hangs",
		on: []medium{plain}, sizes: []int{4 << 10},
		modes: []mode{writeBack.with("`--cmd_timeout 1 --cmd_timeout_action reset`", "--cmd_timeout=1", "--cmd_timeout_action=reset")},
		steps: []step{
			fails(hangRead), hangs(nbdtest.CmdRead, 0), logged(diskReset), readElsewhere(ok), repaired,
			answered(ok), read(ok),
		},
		logs: []line{diskReset},
	},
	{
		name: "hang-kill", fault: "a disk that hangs",
		on: []medium{plain}, sizes: []int{4 << 10},
		modes: []mode{writeBack.with("`--cmd_timeout 1 --cmd_timeout_action kill`", "--cmd_timeout=1", "--cmd_timeout_action=kill")},
		steps: []step{
			fails(hangRead), hangs(nbdtest.CmdRead, 0), answered(outcome{errno: nbdtest.ESHUTDOWN}), othersGoOn,
			terminated("SIGTERM ends it, status 1", "its handler was cut off (--cmd_timeout_action kill)"), gone(1),
		},
		logs: []line{cutOff, exportGone},
		says: []line{{"at the end", "shut down: device image: its handler was cut off (--cmd_timeout_action kill), and still uses …"}},
	},
	{
		name: "hang-SIGTERM", fault: "SIGTERM while as many commands hang as there are threads",
		on: []medium{plain}, sizes: []int{4 << 10},
		modes: []mode{writeBack.with("`--drain_timeout 1`", "--drain_timeout=1")},
		steps: []step{
			{"", func(r *rig) { r.request(r.sibling, nbdtest.CmdWrite, 0, 4096, 0) }},
			fails(hangRead), allHang,
			terminated("SIGTERM ends it after the time, status 1", "device image: its handler did not finish"), gone(1),
			{"", func(r *rig) {
				if strings.Contains(r.log(), "device healthy") {
					r.t.Errorf("a healthy disk suffers:\n%s", r.log())
				}
			}},
		},
		says: []line{{"at the end", "shut down: not everything was finished within --drain_timeout 1s: …; " +
			"device image: its handler did not finish: context deadline exceeded"}},
	},
	{
		name: "hang-SIGTERM-sync", fault: "SIGTERM while nothing is under way, to a disk that hangs when it is flushed",
		on: []medium{plain}, sizes: []int{4 << 10},
		modes: []mode{writeBack.with("`--drain_timeout 1`", "--drain_timeout=1")},
		steps: []step{
			write(ok), fails(hangSync),
			terminated("SIGTERM ends it after the time, status 1", "device image: sync"), gone(1),
		},
		says: []line{{"at the end", "shut down: not everything was finished within --drain_timeout 1s: " +
			"device image: sync …: the disk does not answer: context deadline exceeded"}},
	},
}

var (
	notAnswered = line{"warning", "the handler does not answer"}
	diskReset   = line{"error", "the handler does not answer; the disk is reset"}
	cutOff      = line{"error", "the handler does not answer; it is cut off, and its export is gone"}
	exportGone  = line{"warning", "the export is gone until the program is started again"}
)

// logged waits for a line of the log.
func logged(l line) step {
	return step{"", func(r *rig) { r.logged(l) }}
}
