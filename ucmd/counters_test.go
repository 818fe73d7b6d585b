package ucmd

import (
	"encoding/json"
	"reflect"
	"testing"

	"scstuser/scsi"
)

// Each counter counts what it says, and nothing else does.
func TestCounters(t *testing.T) {
	tests := []struct {
		name string
		opts []benchOpt
		do   func(b *bench)
		want Counters
	}{
		{"a write asks for its buffer with ALLOC_MEM", nil, func(b *bench) { b.doWrite(8) },
			Counters{AllocMem: 1, Ucmds: 1, Highest: 1}},
		{"a read asks with EXEC", nil, func(b *bench) { b.read(8); b.execDone(b.get(SubExec)) },
			Counters{AllocExec: 1, Ucmds: 1, Highest: 1}},
		{"hits avoid ALLOC_MEM", nil, func(b *bench) { b.doWrite(8); b.doWrite(8); b.doWrite(8) },
			Counters{AllocMem: 1, PoolHits: 2, Ucmds: 1, Highest: 2}},
		{"no data, no buffer", nil, func(b *bench) {
			b.submit(scsi.EncodeTestUnitReady())
			b.execDone(b.get(SubExec))
		}, Counters{Highest: 1}},
		{"replies that come for nobody, twice, or for another subcommand", nil, func(b *bench) {
			b.refused(Reply{Handle: 999, Code: SubExec}, errESRCH)
			b.doWrite(8)
			c, s := b.writeExec(8)
			b.refused(Reply{Handle: s.Handle, Code: SubParse}, errEINVAL) // gives it up
			b.ended(c, scsi.CheckCondition, senseLUN)
		}, Counters{AllocMem: 1, PoolHits: 1, RejectedReplies: 2, Unjammed: 1, Ucmds: 1, Highest: 2}},
		{"a reply whose content makes no sense", nil, func(b *bench) {
			_, s := b.writeExec(8)
			b.refused(Reply{Handle: s.Handle, Code: SubExec, Type: 77}, errEINVAL)
		}, Counters{AllocMem: 1, RejectedReplies: 1, Ucmds: 1, Highest: 1}},
		{"more commands than MaxUcmds", []benchOpt{withLimits(Limits{MaxUcmds: 2})}, func(b *bench) {
			b.submit(scsi.EncodeTestUnitReady())
			b.submit(scsi.EncodeTestUnitReady())
			c := b.submit(scsi.EncodeTestUnitReady())
			b.ended(c, scsi.TaskSetFull, "")
			b.execDone(b.get(SubExec))
			b.execDone(b.get(SubExec))
		}, Counters{Refused: 1, Highest: 2}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBareBench(t, test.opts...)
			defer b.close()
			b.sess = b.attach(b.fe)
			b.dev.mu.Lock()
			b.dev.stats = Counters{} // ATTACH_SESS has a ucmd too
			b.dev.mu.Unlock()
			test.do(b)
			if got := b.dev.Counters(); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// A killed handler's commands count as unjammed.
func TestCountersOfARelease(t *testing.T) {
	b := newBench(t)
	b.writeExec(8)
	b.write(8) // ALLOC_MEM is ready
	b.close()
	if n := b.dev.Counters().Unjammed; n < 2 {
		t.Errorf("%d unjammed, want the fetched command and the queued one", n)
	}
}

// The listing as JSON has states by number and name, and reads back.
func TestCommandJSON(t *testing.T) {
	c := Command{Handle: 7, State: StateExecing, Ref: 2, Owners: "creation+sgv", Sent: true, Seen: true, HasCmd: true}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"handle": 7.0, "state": map[string]any{"number": 3.0, "name": "EXECING"}, "ref": 2.0, "owners": "creation+sgv",
		"sent_to_user": true, "seen_by_user": true, "aborted": false, "jammed": false, "scst_cmd": true,
	}
	for name, w := range want {
		if !reflect.DeepEqual(fields[name], w) {
			t.Errorf("%s is %v, want %v", name, fields[name], w)
		}
	}
	var back Command
	if err := json.Unmarshal(text, &back); err != nil || back != c {
		t.Errorf("read back %+v, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`{"state":"EXECING"}`), &back); err == nil {
		t.Error("a state that is not of this form was read")
	}
}
