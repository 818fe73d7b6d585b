package target

import (
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"scstuser/scsi"
)

// endWith makes the rig's handler end every command with st and this sense.
func (r *rig) endWith(st scsi.Status, sense []byte) {
	r.h.exec = func(c *Cmd) {
		c.SetStatus(st)
		c.SetSenseBytes(sense)
		c.Done()
	}
}

// Each result has its counter, and sense of both formats is understood.
func TestCountersByResult(t *testing.T) {
	medium := scsi.Sense{Key: scsi.KeyMediumError, ASC: scsi.SenseHardwareInternalFailure.ASC}
	tests := []struct {
		name  string
		st    scsi.Status
		sense []byte
		want  Result
		text  string
	}{
		{"good", scsi.Good, nil, ResultGood, "GOOD"},
		{"busy", scsi.Busy, nil, ResultBusy, "BUSY"},
		{"task set full", scsi.TaskSetFull, nil, ResultTaskSetFull, "TASK SET FULL"},
		{"reservation conflict", scsi.ReservationConflict, nil, ResultReservationConflict, "RESERVATION CONFLICT"},
		{"task aborted", scsi.TaskAborted, nil, ResultTaskAborted, "TASK ABORTED"},
		{"condition met", scsi.ConditionMet, nil, ResultOther, "OTHER STATUS"},
		{"aca active", scsi.ACAActive, nil, ResultOther, "OTHER STATUS"},
		{"a status that nobody knows", scsi.Status(0x77), nil, ResultOther, "OTHER STATUS"},
		{"fixed sense", scsi.CheckCondition, medium.Append(nil, false), ResultCheck + Result(scsi.KeyMediumError), "MEDIUM ERROR"},
		{"descriptor sense", scsi.CheckCondition, medium.Append(nil, true), ResultCheck + Result(scsi.KeyMediumError), "MEDIUM ERROR"},
		{"deferred sense", scsi.CheckCondition, []byte{0x71, 0, 0x0B}, ResultCheck + Result(scsi.KeyAbortedCommand), "ABORTED COMMAND"},
		{"no sense at all", scsi.CheckCondition, []byte{0xFF, 0xFF, 0xFF}, ResultCheck, "NO SENSE"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, Options{})
			r.endWith(test.st, test.sense)
			r.submit(1, cdbRead)
			r.submit(2, cdbRead)
			r.submit(3, cdbNone)
			got := r.dev.Counters()
			if n := got.Commands[scsi.OpRead16][test.want]; n != 2 {
				t.Errorf("%d READ(16) with %v, want 2", n, test.want)
			}
			if n := got.Commands[scsi.OpSyncCache16][test.want]; n != 1 {
				t.Errorf("%d SYNCHRONIZE CACHE(16) with %v, want 1", n, test.want)
			}
			if n := got.Total(); n != 3 || len(got.Commands) != 2 {
				t.Errorf("%d commands of %d kinds, want 3 of 2", n, len(got.Commands))
			}
			if test.want.String() != test.text {
				t.Errorf("named %q, want %q", test.want, test.text)
			}
		})
	}
}

// Bytes are those that moved: of reads what came, of writes what went, and
// nothing of what failed.
func TestCountersBytes(t *testing.T) {
	r := newRig(t, Options{})
	r.submit(1, scsi.EncodeRead16(0, 8, false))
	r.submit(2, scsi.EncodeWrite16(0, 4, false))
	r.submit(3, cdbInquiry) // no data of the medium
	short := func(c *Cmd) {
		c.SetStatus(scsi.Good)
		c.RespLen = 100
		c.Done()
	}
	r.h.exec = short
	r.submit(4, cdbRead)
	r.endWith(scsi.Busy, nil)
	r.submit(5, cdbRead)
	r.submit(6, cdbWrite)
	got := r.dev.Counters()
	if got.BytesRead != 8*512+100 || got.BytesWritten != 4*512 {
		t.Errorf("%d read, %d written; want %d, %d", got.BytesRead, got.BytesWritten, 8*512+100, 4*512)
	}
}

// Commands that end before exec, and those that the target makes for itself.
func TestCountersEarlyAndInternal(t *testing.T) {
	r := newRig(t, Options{})
	asked := 0
	r.h.exec = func(c *Cmd) {
		if c.internal {
			asked++
			c.SetStatus(scsi.Good)
			c.RespLen = int32(copy(c.Buf, scsi.SensePowerOnReset.Append(nil, false)))
			c.Done()
			return
		}
		c.SetStatus(scsi.CheckCondition) // without sense: it is asked for
		c.Done()
	}
	r.submit(1, cdbRead)
	r.h.parse = func(c *Cmd) Verdict {
		c.SetStatus(scsi.Busy)
		c.Complete()
		return Continue
	}
	r.submit(2, cdbRead)
	c := &Cmd{}
	c.Init(nil, scsi.QueueSimple) // an empty CDB counts as TEST UNIT READY
	r.sess.Submit(c)
	got := r.dev.Counters()
	want := map[scsi.Opcode]Results{
		scsi.OpRead16:        {ResultBusy: 1, ResultCheck + Result(scsi.KeyUnitAttention): 1},
		scsi.OpTestUnitReady: {ResultBusy: 1},
	}
	if asked != 1 || len(got.Commands) != len(want) {
		t.Fatalf("asked %d times, %d operation codes; want 1, %d", asked, len(got.Commands), len(want))
	}
	for op, w := range want {
		if *got.Commands[op] != w {
			t.Errorf("%v: %v, want %v", op, *got.Commands[op], w)
		}
	}
}

// What a session has done stays in the device's sums when it has ended.
func TestCountersSurviveTheSession(t *testing.T) {
	r := newRig(t, Options{LatencySample: 1})
	r.submit(1, cdbRead)
	for range 3 {
		s := r.attach(newFront(t))
		c := command(2, cdbWrite, scsi.QueueSimple)
		s.Submit(c)
		m := &MgmtCmd{Fn: AbortTaskSet}
		s.TaskMgmt(m)
		if n := s.Counters(); n.Total() != 1 || n.BytesWritten != 512 {
			t.Errorf("the session has %d commands, %d bytes; want 1, 512", n.Total(), n.BytesWritten)
		}
		if err := s.Close(soon(t)); err != nil {
			t.Fatal(err)
		}
	}
	got := r.dev.Counters()
	if got.Total() != 4 || got.BytesRead != 512 || got.BytesWritten != 3*512 {
		t.Errorf("%d commands, %d and %d bytes; want 4, 512, 1536", got.Total(), got.BytesRead, got.BytesWritten)
	}
	if r, w := got.Latency[KindRead].Count(), got.Latency[KindWrite].Count(); r != 1 || w != 3 {
		t.Errorf("%d and %d latencies, want 1 and 3", r, w)
	}
	if n := got.TaskMgmt[TaskMgmtCount{AbortTaskSet, TMSuccess}]; n != 3 {
		t.Errorf("%d ABORT TASK SET, want 3: %v", n, got.TaskMgmt)
	}
}

// Task management counts by function and by what the front end is told.
func TestCountersTaskMgmt(t *testing.T) {
	r := newRig(t, Options{})
	r.sess.TaskMgmt(&MgmtCmd{Fn: AbortTask, Tag: 99})
	r.sess.TaskMgmt(&MgmtCmd{Fn: LUNReset})
	r.sess.TaskMgmt(&MgmtCmd{Fn: 1000})
	r.sess.TaskMgmt(&MgmtCmd{Fn: -7})
	r.h.tmDone = func(m *MgmtCmd) { m.Done(TMRejected) }
	r.sess.TaskMgmt(&MgmtCmd{Fn: LUNReset})
	r.h.tmDone = func(m *MgmtCmd) { m.Done(12345) }
	r.sess.TaskMgmt(&MgmtCmd{Fn: LUNReset})
	r.h.tmDone = func(m *MgmtCmd) { m.Done(54321) }
	r.sess.TaskMgmt(&MgmtCmd{Fn: LUNReset})
	want := map[TaskMgmtCount]uint64{
		{LUNReset, tmOther}:         2,
		{AbortTask, TMTaskNotExist}: 1, {LUNReset, TMSuccess}: 1, {LUNReset, TMRejected}: 1,
		{tmUnknown, TMNotSupported}: 2,
	}
	if got := r.dev.Counters().TaskMgmt; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// The latency is from Submit to the response, by kind.
func TestCountersLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{LatencySample: 1})
		r.h.exec = func(c *Cmd) {
			time.Sleep(3 * time.Millisecond)
			finish(c)
		}
		before := Now()
		for tag, cdb := range []scsi.CDB{cdbRead, cdbRead, cdbWrite, cdbNone, cdbUnitOK} {
			r.submit(uint64(tag), cdb)
		}
		took := Now() - before
		got := r.dev.Counters()
		for k, want := range [KindCount]uint64{KindRead: 2, KindWrite: 1, KindFlush: 1, KindOther: 1} {
			h := &got.Latency[k]
			// 3 ms is in the bucket below 4096 us.
			if h.Count() != want || h.Buckets[12] != want {
				t.Errorf("%v: %d latencies, %d of them 2 to 4 ms; want %d", Kind(k), h.Count(), h.Buckets[12], want)
			}
			if h.Sum != time.Duration(want)*3*time.Millisecond || h.Max != 3*time.Millisecond {
				t.Errorf("%v: sum %v, max %v", Kind(k), h.Sum, h.Max)
			}
		}
		if took != 15*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

func TestHistogramBuckets(t *testing.T) {
	tests := []struct {
		d    time.Duration
		want int
	}{
		{-1, 0}, {0, 0}, {999, 0}, {time.Microsecond, 1}, {2*time.Microsecond - 1, 1}, {2 * time.Microsecond, 2},
		{1023 * time.Microsecond, 10}, {1024 * time.Microsecond, 11}, {time.Hour, HistogramBuckets - 1}, {1<<63 - 1, HistogramBuckets - 1},
	}
	for _, test := range tests {
		var h Histogram
		h.Observe(test.d)
		if h.Buckets[test.want] != 1 {
			t.Errorf("%v: in %v, want bucket %d", test.d, h.Buckets, test.want)
		}
	}
}

// The sample has the rate that it says, whatever the rate.
func TestLatencySampleRate(t *testing.T) {
	for _, n := range []uint64{1, 2, 3, 8, 100} {
		var y tally
		const rounds = 100_000
		hits := 0
		for range rounds {
			if y.sample(n) {
				hits++
			}
		}
		if want := rounds / int(n); hits < want*9/10 || hits > want*11/10 {
			t.Errorf("1 in %d: %d of %d, want about %d", n, hits, rounds, want)
		}
	}
}

// Sessions that work, come and go while somebody reads: no command is lost or
// seen twice, and sums never go down.
func TestCountersWhileSessionsComeAndGo(t *testing.T) {
	const workers, rounds, perSession = 4, 20, 10
	r := newRig(t, Options{})
	stop := make(chan struct{})
	var reader, working sync.WaitGroup
	reader.Go(func() {
		last := uint64(0)
		for {
			c := r.dev.Counters()
			if n := c.Total(); n < last {
				t.Errorf("%d commands after %d", n, last)
			} else {
				last = n
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for w := range workers {
		working.Go(func() {
			for range rounds {
				s := r.attach(newFront(t))
				for i := range perSession {
					s.Submit(command(uint64(w*1000+i), cdbRead, scsi.QueueSimple))
				}
				if err := s.Close(soon(t)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	working.Wait()
	close(stop)
	reader.Wait()
	c := r.dev.Counters()
	if n := c.Commands[scsi.OpRead16][ResultGood]; n != workers*rounds*perSession {
		t.Errorf("%d commands, want %d", n, workers*rounds*perSession)
	}
}
