package ucmd

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"scstuser/scsi"
	"scstuser/target"
)

// readyKind is a kind of ucmd as the ready list sees it.
type readyKind struct {
	name  string
	state State
	hq    bool
}

var readyKinds = []readyKind{
	{"tm-received", StateTMReceived, false}, {"tm-done", StateTMDone, false},
	{"attach", StateAttachSess, false}, {"detach", StateDetachSess, false},
	{"parse", StateParsing, false}, {"alloc", StateBufAllocing, false}, {"exec-hq", StateExecing, true},
	{"exec", StateExecing, false}, {"on-free", StateOnFreeing, false},
	{"on-cached", StateOnCacheFreeing, false}, {"remap", StateRemapping, false},
}

// place says where R32 puts it: 0 management, 1 next to the head, 2 tail.
func (k readyKind) place() int {
	switch {
	case k.state.management():
		return 0
	case k.state == StateParsing, k.state == StateBufAllocing, k.hq:
		return 1
	}
	return 2
}

// R32, fact 21: every order in which three kinds can be queued.
func TestR32ReadyListOrder(t *testing.T) {
	for _, a := range readyKinds {
		for _, bb := range readyKinds {
			for _, c := range readyKinds {
				checkReadyOrder(t, []readyKind{a, bb, c})
			}
		}
	}
}

// checkReadyOrder queues ucmds of the kinds, in that order, and compares the
// ready list with the rule: management first, in order; then what goes next to
// the head, the latest first; then the rest, in order.
func checkReadyOrder(t *testing.T, kinds []readyKind) {
	t.Helper()
	d := &Device{}
	var places [3][]string
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, k := range kinds {
		u := &Ucmd{dev: d, h: uint32(i), state: k.state, cmd: &target.Cmd{}, thisStateUnjammed: true}
		if k.hq {
			u.cmd.QueueType = scsi.QueueHeadOfQueue
		}
		d.addReady(u)
		if u.thisStateUnjammed {
			t.Error("queueing does not clear this_state_unjammed (2.4)")
		}
		p, name := k.place(), fmt.Sprintf("%d:%s", i, k.name)
		if p == 1 {
			places[p] = slices.Insert(places[p], 0, name)
		} else {
			places[p] = append(places[p], name)
		}
	}
	want := strings.Join(slices.Concat(places[0], places[1], places[2]), " ")
	var got []string
	for u := d.readyFirst; u != nil; u = u.readyNext {
		got = append(got, fmt.Sprintf("%d:%s", u.h, kinds[u.h].name))
	}
	if strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	// Taking them out, in any order, keeps the list and its marks whole.
	for len(got) > 0 {
		u := d.readyLast
		if len(got)%2 == 0 {
			u = d.readyFirst
		}
		d.unlinkReady(u)
		got = got[1:]
		n := 0
		var last *Ucmd
		for x := d.readyFirst; x != nil; x = x.readyNext {
			if x.readyPrev != last {
				t.Fatal("broken links")
			}
			last = x
			n++
		}
		if n != len(got) || d.readyLast != last {
			t.Fatalf("%d left, want %d", n, len(got))
		}
		if m := d.lastMgmt; m != nil && (!m.onReady || !m.state.management() || m.readyNext != nil && m.readyNext.state.management()) {
			t.Fatal("lastMgmt is wrong")
		}
	}
}

// Facts 21 and 22 as a handler sees them in one MULTI.
func TestR32AsFetched(t *testing.T) {
	b := newBench(t, withOnFree(OnFreeCall), withReuse(ReuseNone))
	defer b.close()
	fetch := func(n int) string {
		t.Helper()
		_, subs, err := b.multi(nil, n)
		if err != nil {
			t.Fatal(err)
		}
		var l []string
		for _, s := range subs {
			l = append(l, fmt.Sprintf("%v:%d", s.Code, s.Handle))
		}
		return strings.Join(l, " ")
	}
	// A SIMPLE EXEC (h=1), then the ALLOC_MEM of a WRITE (h=2), and another.
	b.submit(syncCDB)
	b.write(8)
	b.write(8)
	if got, want := fetch(9), "ALLOC_MEM:3 ALLOC_MEM:2 EXEC:1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for h := range uint32(2) {
		b.reply(Reply{Handle: h + 2, Code: SubAllocMem})
	}
	b.reply(Reply{Handle: 1, Code: SubExec, Type: ReplyCompleted})
	// ON_FREE commands (1, 2, 3), then an INQUIRY, HEAD OF QUEUE.
	b.submit(scsi.EncodeInquiry(false, 0, 36))
	if got, want := fetch(9), "EXEC:4 ON_FREE_CMD:2 ON_FREE_CMD:3 ON_FREE_CMD:1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for h := range uint32(3) {
		b.reply(Reply{Handle: h + 1, Code: SubOnFree})
	}
	// Task management goes before everything else.
	b.write(8)
	b.sess.TaskMgmt(&target.MgmtCmd{Fn: target.ClearACA})
	if got, want := fetch(9), "TM_RECEIVED:6 TM_DONE:7 ALLOC_MEM:5"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// R33: aborted commands that were not fetched are ended without being
// delivered; EXEC meets unit attentions and reservations at fetch time.
func TestR33EndedAtFetch(t *testing.T) {
	for _, x := range []struct {
		name  string
		parse ParseType
		cdb   scsi.CDB
	}{
		{"PARSE", ParseCall, syncCDB},
		{"ALLOC_MEM", ParseStandard, scsi.EncodeWrite16(0, 8, false)},
		{"EXEC", ParseStandard, syncCDB},
	} {
		for _, tas := range []uint8{0, 1} {
			t.Run(fmt.Sprintf("%s tas %d", x.name, tas), func(t *testing.T) {
				b := newBench(t, withParse(x.parse), withDesc(func(d *Desc) { d.Opt.TAS = tas }))
				defer b.close()
				c := b.submit(x.cdb)
				b.sess.TaskMgmt(&target.MgmtCmd{Fn: target.AbortTaskSet})
				s := b.get(SubTMReceived)
				b.reply(Reply{Handle: s.Handle, Code: s.Code})
				// The next fetch ends the command, and finds TM_DONE.
				s = b.get(SubTMDone)
				b.reply(Reply{Handle: s.Handle, Code: s.Code})
				b.none()
				if tas == 1 {
					b.ended(c, scsi.TaskAborted, "")
				} else {
					b.ended(c, scsi.CheckCondition, senseAborted)
				}
				if b.fe.tmResult(t) != target.TMSuccess {
					t.Error("the function failed")
				}
			})
		}
	}
	t.Run("reservation", func(t *testing.T) {
		b := newBench(t)
		defer b.close()
		other := b.attach(&testFront{})
		c := b.submit(syncCDB) // queued before the reservation
		r := b.submitTo(other, scsi.CDB{Bytes: [16]byte{0x16}, Len: 6}, scsi.QueueHeadOfQueue)
		b.execDone(b.get(SubExec))
		b.good(r)
		b.none()
		b.ended(c, scsi.ReservationConflict, "")
	})
}
