package replay

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"scstuser/handlers"
	"scstuser/ioctl/abi"
	"scstuser/ioctl/trace"
	"scstuser/scsi"
	"scstuser/ucmd"
)

// A recorded device is a port for handlers, and takes no inline handler, which
// would not be recorded.
var (
	_ handlers.Port            = (*trace.Port)(nil)
	_ handlers.ExtendedCDBPort = (*trace.Port)(nil)
	_ handlers.ReleasedPort    = (*trace.Port)(nil)
	_ handlers.OptionsPort     = (*trace.Port)(nil)
	_ handlers.Preallocator    = (*trace.Port)(nil)
)

func TestPortTakesNoInlineHandler(t *testing.T) {
	if _, ok := any((*trace.Port)(nil)).(handlers.InlinePort); ok {
		t.Error("what an inline handler does would not be recorded")
	}
}

// flat is a handler's memory: whole buffers by address.
type flat struct {
	mu  sync.Mutex
	mem map[uint64][]byte
}

func (f *flat) Map(addr uint64, n int) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.mem[addr]
	if len(b) < n {
		b = make([]byte, n)
		f.mem[addr] = b
	}
	return b[:n:n], nil
}

func (f *flat) Unmap(uint64, []byte) {}

// actor is a handler that answers as a recording says, by CDB.
type actor struct {
	dev     *ucmd.Device
	port    getter // dev, or a recorder in front of it
	mem     *flat
	next    uint64
	answers map[string][]*trace.Reply
	spoil   func(*ucmd.Reply)
	over    chan struct{}
}

// getter is what an actor uses of a device.
type getter interface {
	ReplyAndGet(ctx context.Context, replies []ucmd.Reply, subs []ucmd.Subcommand) (done, n int, err error)
}

// newActor registers the recorded device and answers until its release.
func newActor(t *testing.T, rec *trace.Recording, spoil func(*ucmd.Reply)) *actor {
	t.Helper()
	return newRecordedActor(t, rec, spoil, nil)
}

// newRecordedActor is newActor with a recorder, if that is not nil.
func newRecordedActor(t *testing.T, rec *trace.Recording, spoil func(*ucmd.Reply), w trace.EventWriter) *actor {
	t.Helper()
	d := makePlan(rec.Events).devices[0]
	a := &actor{mem: &flat{mem: map[uint64][]byte{}}, next: 0x10000, answers: map[string][]*trace.Reply{}, spoil: spoil, over: make(chan struct{})}
	for _, w := range d.order {
		if w.answer != nil && w.kind == wantCommand {
			a.answers[string(w.cdb)] = append(a.answers[string(w.cdb)], w.answer)
		}
	}
	var err error
	if a.dev, err = ucmd.NewRegistry(ucmd.Limits{}).Register(d.desc.Desc(false), a.mem, nil); err != nil {
		t.Fatal(err)
	}
	a.port = a.dev
	if w != nil {
		a.port = trace.NewPort(a.dev, w)
	}
	go a.serve()
	t.Cleanup(func() {
		if err := a.dev.Close(context.Background()); err != nil {
			t.Error(err)
		}
		<-a.over
	})
	return a
}

func (a *actor) serve() {
	defer close(a.over)
	var replies []ucmd.Reply
	subs := make([]ucmd.Subcommand, 1)
	for {
		_, n, err := a.port.ReplyAndGet(context.Background(), replies, subs)
		if err != nil {
			return // released
		}
		replies = replies[:0]
		for i := range subs[:n] {
			replies = append(replies, a.answer(&subs[i]))
		}
	}
}

func (a *actor) answer(s *ucmd.Subcommand) ucmd.Reply {
	r := ucmd.Reply{Handle: s.Handle, Code: s.Code}
	switch s.Code {
	case ucmd.SubAllocMem:
		a.next += 1 << 24
		r.PBuf = a.next
	case ucmd.SubExec:
		cdb := string(s.CDB[:s.CDBLen])
		l := a.answers[cdb]
		r.Type = ucmd.ReplyCompleted
		if len(l) == 0 {
			r.Status = scsi.Busy // not in the recording
			break
		}
		a.answers[cdb] = l[1:]
		x := l[0]
		r.Status, r.RespDataLen, r.Sense = scsi.Status(x.Exec.Status), x.Exec.RespDataLen, x.Sense
		if x.Exec.ReplyType == abi.ExecReplyDoWriteSame {
			r.Type = ucmd.ReplyCompleted
		}
		if r.PBuf = s.PBuf; s.PBuf == 0 && s.AllocLen > 0 {
			a.next += 1 << 24
			r.PBuf = a.next
		}
		if s.Dir == scsi.DirRead {
			b, _ := a.mem.Map(r.PBuf, int(max(s.BufLen, s.AllocLen)))
			copy(b, x.Data)
		}
		if a.spoil != nil {
			a.spoil(&r)
		}
	}
	return r
}

func (a *actor) find(_ context.Context, _ string) (*ucmd.Device, error) { return a.dev, nil }

// A handler that answers as recorded passes; its commands are the recorded ones.
func TestAsHost(t *testing.T) {
	for _, id := range []string{"a", "ka", "kd", "kg", "l", "q", "y"} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			rec := load(t, recordings(t)[id])
			a := newActor(t, rec, nil)
			res, err := RunAsHost(context.Background(), rec, a.find, Options{})
			if err != nil || res.Difference != nil {
				t.Fatalf("%v %v", err, res.Difference)
			}
			want := 0
			for _, w := range makePlan(rec.Events).devices[0].order {
				if w.kind == wantCommand && w.answer != nil {
					want++
				}
			}
			if res.Commands != want || want < 30 {
				t.Errorf("%d commands, want %d", res.Commands, want)
			}
			for cdb, l := range a.answers {
				if len(l) > 0 {
					t.Errorf("%x was not submitted %d times", cdb, len(l))
				}
			}
		})
	}
}

// A handler that answers otherwise is found out.
func TestAsHostDiffers(t *testing.T) {
	rec := load(t, recordings(t)["ka"])
	for want, spoil := range map[string]func(*ucmd.Reply){
		"status":        func(r *ucmd.Reply) { r.Status = scsi.ReservationConflict },
		"resp_data_len": func(r *ucmd.Reply) { r.RespDataLen = max(r.RespDataLen-1, 0) },
		"sense": func(r *ucmd.Reply) {
			r.Status, r.Sense = scsi.CheckCondition, []byte{0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 0, 0, 0, 0, 0}
		},
	} {
		a := newActor(t, rec, spoil)
		res, err := RunAsHost(context.Background(), rec, a.find, Options{})
		if err != nil || res.Difference == nil || !strings.Contains(res.Difference.Error(), want) {
			t.Errorf("%s: %v %v", want, err, res.Difference)
		}
	}
	// One that registers another device.
	other := copied(t, rec)
	for _, e := range other.Events {
		if e.In != nil && e.In.DevDesc != nil {
			e.In.DevDesc.BlockSize = 4096
		}
	}
	a := newActor(t, other, nil)
	res, err := RunAsHost(context.Background(), rec, a.find, Options{})
	if err != nil || res.Difference == nil || !strings.Contains(res.Difference.Error(), "block_size: 512 / 4096") {
		t.Errorf("%v %v", err, res.Difference)
	}
}

// A handler that does not answer is a difference, not a hang; one that never
// registers is find's error.
func TestAsHostHang(t *testing.T) {
	rec := load(t, recordings(t)["ka"])
	d := makePlan(rec.Events).devices[0]
	dev, err := ucmd.NewRegistry(ucmd.Limits{AttachTimeout: 20 * time.Millisecond}).Register(d.desc.Desc(false), &flat{mem: map[uint64][]byte{}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close(context.Background())
	find := func(context.Context, string) (*ucmd.Device, error) { return dev, nil }
	res, err := RunAsHost(context.Background(), rec, find, Options{Timeout: time.Second})
	if err != nil || res.Difference == nil || !strings.Contains(res.Difference.Error(), "refuses a session") {
		t.Errorf("%v %v", err, res)
	}
	boom := errors.New("never registered")
	if _, err := RunAsHost(context.Background(), rec, func(context.Context, string) (*ucmd.Device, error) { return nil, boom }, Options{}); !errors.Is(err, boom) {
		t.Error(err)
	}
}

// A handler in this process is recorded through trace.Port; the recording
// replays.
func TestRecordPortAndReplay(t *testing.T) {
	for _, id := range []string{"ka", "kd", "kg", "q"} {
		rec := load(t, recordings(t)[id])
		p := &taped{}
		p.make()
		a := newRecordedActor(t, rec, nil, p.w)
		res, err := RunAsHost(context.Background(), rec, a.find, Options{})
		if err != nil || res.Difference != nil {
			t.Fatalf("%v %v", err, res.Difference)
		}
		a.dev.Release()
		<-a.over
		if err := a.port.(*trace.Port).End(); err != nil {
			t.Fatal(err)
		}
		again := good(t, p.recording(t), Options{})
		if again.Commands < res.Commands || again.Subcommands < res.Commands {
			t.Errorf("%s: replayed %+v, recorded %+v", id, again, res)
		}
	}
}
