package node

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"syscall"
	"testing"

	"scstuser/ioctl/abi"
	"scstuser/ioctl/trace"
	"scstuser/scsi"
)

// tape is a Recorder in memory.
type tape struct {
	mu     sync.Mutex
	events []trace.Event
	err    error
}

func (t *tape) Write(e *trace.Event) (uint64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return 0, t.err
	}
	e.Seq = uint64(len(t.events) + 1)
	t.events = append(t.events, *e)
	return e.Seq, nil
}

// find returns the recorded events of an ioctl.
func (t *tape) find(k trace.Kind, op abi.Ioctl) (l []trace.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.events {
		if e.Kind == k && (op == 0 || e.Op == op.String()) {
			l = append(l, e)
		}
	}
	return l
}

// Everything that crosses the interface is in a recording: arguments, what they
// point to, results, and the beginning of the data.
func TestRecording(t *testing.T) {
	rec := &tape{}
	r := attached(t, Options{Recorder: rec, RecordData: 100}, true, nil)
	pbuf := r.mem.alloc(4096)
	want := pattern(4096, 1)
	w := r.write(want)
	r.reply(allocReply(r.expect(abi.SubcodeAllocMem), pbuf), 0)
	r.reply(execOK(r.expect(abi.SubcodeExec), 0, 0), 0)
	r.ends(w, scsi.Good, scsi.SenseNone)
	rd := r.read(8)
	c := r.expect(abi.SubcodeExec)
	r.multi([]abi.Answer{*execOK(c, 4096, 0)}, 2)
	r.ends(rd, scsi.Good, scsi.SenseNone)
	r.do(abi.IoctlPreallocBuffer, r.encode(&abi.PreallocIn{PBuf: 1, BuffLen: 4096}, abi.SizePreallocIn), syscall.EINVAL)
	r.file.Close(1)
	<-r.file.att.over

	if l := rec.find(trace.KindOpen, 0); len(l) != 1 || !l[0].NonBlock {
		t.Errorf("open: %+v", l)
	}
	if l := rec.find(trace.KindEnter, abi.IoctlRegisterDevice); len(l) != 1 || l[0].In.License != "GPL" || l[0].In.Version != abi.Version || l[0].In.DevDesc.Name != "disk1" {
		t.Errorf("REGISTER_DEVICE: %+v", l)
	}
	if l := rec.find(trace.KindRelease, 0); len(l) != 1 {
		t.Errorf("release: %+v", l)
	}
	l := rec.find(trace.KindEnter, abi.IoctlReplyAndGetMulti)
	if len(l) != 1 || len(l[0].In.Replies) != 1 || !bytes.Equal(l[0].In.Replies[0].Data, want[:100]) {
		t.Errorf("MULTI in: %+v", l)
	}
	l = rec.find(trace.KindExit, abi.IoctlReplyAndGetMulti)
	if len(l) != 1 || l[0].Ret != -1 || l[0].Errno != trace.Errno(syscall.EAGAIN) || l[0].Out.Multi.RepliesDone != 1 {
		t.Errorf("MULTI out: %+v", l)
	}
	// The WRITE's EXEC comes with its data.
	if !slices.ContainsFunc(rec.find(trace.KindExit, abi.IoctlReplyAndGetCmd), func(e trace.Event) bool {
		return e.Out != nil && len(e.Out.Cmds) == 1 && e.Out.Cmds[0].Exec != nil && bytes.Equal(e.Out.Cmds[0].Data, want[:100])
	}) {
		t.Error("no EXEC with the WRITE's data")
	}
	if l := rec.find(trace.KindExit, abi.IoctlPreallocBuffer); len(l) != 1 || l[0].Errno != trace.Errno(syscall.EINVAL) {
		t.Errorf("PREALLOC_BUFFER: %+v", l)
	}
	for _, e := range rec.find(trace.KindExit, 0) {
		if in := rec.events[e.Call-1]; in.Kind != trace.KindEnter || in.Op != e.Op {
			t.Errorf("the exit %+v belongs to %+v", e, in)
		}
	}
}

// A recording that can't be written does not disturb anybody.
func TestRecordingFails(t *testing.T) {
	r := attached(t, Options{Recorder: &tape{err: errors.New("disk full")}}, true, nil)
	s := r.submit(scsi.EncodeSyncCache16(0, 0), nil)
	r.reply(execOK(r.expect(abi.SubcodeExec), 0, 0), 0)
	r.ends(s, scsi.Good, scsi.SenseNone)
}
