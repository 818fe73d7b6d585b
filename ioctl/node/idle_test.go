package node

import (
	"testing"
	"time"

	"scstuser/ioctl/abi"
	"scstuser/scsi"
)

// idlePoll is how long a get of a thread would wait now.
func (r *rig) idlePoll(f *File, tid int) time.Duration {
	x := &request{File: f, Call: &Call{TID: tid}, dev: f.Device()}
	return x.emptyWait()
}

// F5: a thread that does nothing but ask for commands waits longer, as long as
// that is all that it and its device do.
func TestF5IdleThreadsWaitLonger(t *testing.T) {
	const short, long = time.Millisecond, time.Hour
	r := attached(t, Options{PollWait: short, IdleWait: long}, true, nil)
	other := r.host.Open(true, 1)
	defer other.Close(1)
	polls := func(what string, n int, want bool) {
		t.Helper()
		for i := range n {
			if got := r.idlePoll(r.file, 7); (got > short) != want {
				t.Fatalf("%s: get %d waits %v", what, i, got)
			}
		}
	}
	polls("at first", idleGets, false)
	polls("after many", 3, true)
	if got := r.idlePoll(r.file, 8); got != short {
		t.Errorf("another thread waits %v", got)
	}
	if got := r.idlePoll(r.file, 0); got != short {
		t.Errorf("an unknown thread waits %v", got)
	}

	r.host.idle.empty(7, other) // it serves two devices
	polls("after a get of another device", idleGets, false)
	polls("after many", 3, true)

	rd := r.read(8)
	c := r.expect(abi.SubcodeExec) // thread 1 has it
	polls("while a command is with the handler", 3, false)
	r.reply(execOK(c, 0, 0), 0) // no data
	r.ends(rd, scsi.Good, scsi.SenseNone)
	polls("after its reply", 3, true)

	r.host.idle.came(7)
	polls("after a command of its own", idleGets, false)
	r.host.idle.forget(r.file)
	if n := len(r.host.idle.threads); n != 0 {
		t.Errorf("%d threads are remembered of a file that is closed", n)
	}
}

// A command ends a long wait, and its thread is not idle any more.
func TestF5CommandEndsALongWait(t *testing.T) {
	r := attached(t, Options{PollWait: time.Microsecond, IdleWait: time.Hour}, true, nil)
	const thread = 1 // of the rig
	for range idleGets {
		r.host.idle.empty(thread, r.file)
	}
	got := make(chan abi.Command, 1)
	go func() {
		c, errno := r.get(nil)
		if errno != 0 {
			t.Errorf("the get ended with %v", errno)
		}
		got <- c
	}()
	time.Sleep(20 * time.Millisecond) // longer than PollWait
	rd := r.read(8)
	c := <-got
	if c.Subcode != abi.SubcodeExec {
		t.Fatalf("got %v", c.Subcode)
	}
	if got := r.idlePoll(r.file, thread); got != time.Microsecond {
		t.Errorf("it waits %v after a command", got)
	}
	a := execOK(c, 0, 0)
	a.Exec.Status = uint8(scsi.Busy)
	r.reply(a, 0)
	r.ends(rd, scsi.Busy, scsi.SenseNone)
}

// The number of threads that are remembered is bounded.
func TestIdleThreadsAreBounded(t *testing.T) {
	var threads idleThreads
	f := &File{}
	for tid := range 3 * maxIdleThreads {
		threads.empty(tid, f)
	}
	if n := len(threads.threads); n > maxIdleThreads {
		t.Errorf("%d, want %d at most", n, maxIdleThreads)
	}
}

func TestUntilTick(t *testing.T) {
	const ms = time.Millisecond
	for _, x := range [][4]time.Duration{
		{0, 40 * ms, 4 * ms, 40 * ms}, {1 * ms, 40 * ms, 4 * ms, 39 * ms}, {36 * ms, 40 * ms, 4 * ms, 4 * ms},
		{37 * ms, 40 * ms, 4 * ms, 43 * ms}, {115 * ms, 40 * ms, 4 * ms, 5 * ms},
	} {
		if got := untilTick(x[0], x[1], x[2]); got != x[3] {
			t.Errorf("at %v: %v, want %v", x[0], got, x[3])
		}
	}
}
