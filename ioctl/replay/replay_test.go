package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"scstuser/ioctl/abi"
	"scstuser/ioctl/node"
	"scstuser/ioctl/trace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recordings are the module's own, by id.
func recordings(t testing.TB) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../../testdata/ioctl/recordings/*.jsonl.gz")
	if err != nil || len(files) < 19 {
		t.Fatalf("%d recordings, want 19 (%v)", len(files), err)
	}
	m := map[string]string{}
	for _, f := range files {
		id := strings.TrimSuffix(filepath.Base(f), ".jsonl.gz")
		if i := strings.IndexByte(id, '-'); i <= 2 && id[0] != 't' {
			id = id[:i]
		}
		m[id] = f
	}
	return m
}

func load(t testing.TB, name string) *trace.Recording {
	t.Helper()
	rec, err := trace.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// good replays and wants no difference.
func good(t testing.TB, rec *trace.Recording, o Options) *Result {
	t.Helper()
	res, err := Run(rec, o)
	if err != nil {
		t.Fatal(err)
	}
	if d := res.Difference; d != nil {
		var b strings.Builder
		_ = d.WriteText(&b)
		t.Errorf("%s", b.String())
	}
	return res
}

// Every recording of the module replays; each expectation is needed by one.
func TestModuleRecordingsReplay(t *testing.T) {
	var mu sync.Mutex
	used := map[string]bool{}
	t.Run("recordings", func(t *testing.T) {
		for id, name := range recordings(t) {
			t.Run(id, func(t *testing.T) {
				t.Parallel()
				rec := load(t, name)
				res := good(t, rec, Options{})
				if res.Events != len(rec.Events) || res.Subcommands == 0 || res.Listings < 2 {
					t.Errorf("compared too little: %+v", res)
				}
				mu.Lock()
				defer mu.Unlock()
				for _, n := range res.Expected {
					used[n] = true
				}
			})
		}
	})
	for _, x := range Expectations {
		if !used[x.Name] || x.Reason == "" {
			t.Errorf("expectation %q: no recording needs it, or it has no reason", x.Name)
		}
		delete(used, x.Name)
	}
	if len(used) > 0 {
		t.Errorf("not in the table: %v", used)
	}
}

// What every subcommand of a recording is compared with is all of them.
func TestEverySubcommandIsCompared(t *testing.T) {
	for _, id := range []string{"ka", "kd", "kg", "kp", "y", "t1-fixed"} {
		rec := load(t, recordings(t)[id])
		want := 0
		for _, e := range rec.Events {
			if e.Out != nil {
				want += len(e.Out.Cmds)
			}
		}
		if res := good(t, rec, Options{}); res.Subcommands != want {
			t.Errorf("%s: %d subcommands compared, want %d", id, res.Subcommands, want)
		}
	}
}

// The same trace gives the same result.
func TestDeterministic(t *testing.T) {
	for _, id := range []string{"c", "q", "t1-prefix", "x", "y"} {
		rec := load(t, recordings(t)[id])
		var first []byte
		for range 3 {
			text, err := json.Marshal(good(t, rec, Options{}))
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = text
			}
			if !bytes.Equal(text, first) {
				t.Errorf("%s: %s, before %s", id, text, first)
			}
		}
	}
}

// taped is a recorder of replays; text is of the last.
type taped struct {
	out *bytes.Buffer
	w   *trace.Writer
}

func (p *taped) make() node.Recorder {
	p.out = new(bytes.Buffer)
	p.w, _ = trace.NewWriter(p.out, trace.Header{Source: "host"})
	return p.w
}

func (p *taped) recording(t testing.TB) *trace.Recording {
	t.Helper()
	if err := p.w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := trace.NewReader(p.out)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	rec, err := trace.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// What our host does in a replay is recorded, and that recording replays.
func TestRecordAndReplay(t *testing.T) {
	for _, id := range []string{"a", "c", "d", "ka", "kd", "kg", "kp", "k", "l", "q", "r", "t1-fixed"} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			p := &taped{}
			res := good(t, load(t, recordings(t)[id]), Options{NewRecorder: p.make})
			again := good(t, p.recording(t), Options{})
			if again.Subcommands != res.Subcommands {
				t.Errorf("%d subcommands, recorded %d", again.Subcommands, res.Subcommands)
			}
			// What was expected of the module is not of ourselves.
			if len(again.Expected) > 0 {
				t.Errorf("expected differences from ourselves: %v", again.Expected)
			}
		})
	}
}

// copied is a recording that can be spoiled.
func copied(t interface{ Fatal(...any) }, rec *trace.Recording) *trace.Recording {
	c := &trace.Recording{Header: rec.Header}
	for _, e := range rec.Events {
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		x := new(trace.Event)
		if err := json.Unmarshal(text, x); err != nil {
			t.Fatal(err)
		}
		c.Events = append(c.Events, x)
	}
	return c
}

// spoilers change what a host said. They return false for a subcommand that
// they have nothing to do with.
var spoilers = map[string]func(*trace.Cmd) bool{
	"lba":      onExec(func(x *abi.Exec) { x.LBA++ }),
	"data_len": onExec(func(x *abi.Exec) { x.DataLen += 512 }),
	"bufflen":  onExec(func(x *abi.Exec) { x.BuffLen += 3 }),
	"alloc":    onExec(func(x *abi.Exec) { x.AllocLen += 4096 }),
	"pbuf":     onExec(func(x *abi.Exec) { x.PBuf += 4096 }),
	"timeout":  onExec(func(x *abi.Exec) { x.Timeout++ }),
	"sn":       onExec(func(x *abi.Exec) { x.SN++ }),
	"session":  onExec(func(x *abi.Exec) { x.SessH++ }),
	"subcode": func(c *trace.Cmd) bool {
		c.Subcode, c.Exec, c.OnCachedMemFree = abi.SubcodeOnCachedMemFree, nil, &abi.OnCachedMemFree{PBuf: 4096}
		c.OnFree, c.AllocMem, c.Parse, c.Sess, c.TM = nil, nil, nil, nil, nil
		return true
	},
	"handle": func(c *trace.Cmd) bool { c.CmdH += 1000; return true },
	"freed pbuf": func(c *trace.Cmd) bool {
		if c.OnFree == nil {
			return false
		}
		c.OnFree.PBuf += 4096
		return true
	},
	"freed status": func(c *trace.Cmd) bool {
		if c.OnFree == nil {
			return false
		}
		c.OnFree.Status ^= 2
		return true
	},
	"freed cached": func(c *trace.Cmd) bool {
		if c.OnFree == nil {
			return false
		}
		c.OnFree.BufferCached ^= 1
		return true
	},
	"op_flags": func(c *trace.Cmd) bool {
		if c.Parse == nil {
			return false
		}
		c.Parse.OpFlags ^= 4
		return true
	},
}

func onExec(f func(*abi.Exec)) func(*trace.Cmd) bool {
	return func(c *trace.Cmd) bool {
		if c.Exec != nil {
			f(c.Exec)
		}
		return c.Exec != nil
	}
}

// A recording in which something is changed, dropped or swapped gives a
// difference, and not before that event.
func TestMutatedRecordingsDiffer(t *testing.T) {
	names := slices.Sorted(maps.Keys(spoilers))
	bases := []*trace.Recording{load(t, recordings(t)["ka"]), load(t, recordings(t)["kg"]), load(t, recordings(t)["kp"])}
	rapid.Check(t, func(t *rapid.T) {
		rec := copied(t, rapid.SampledFrom(bases).Draw(t, "recording"))
		var with []int // events with subcommands
		for i, e := range rec.Events {
			if e.Out != nil && len(e.Out.Cmds) > 0 && i > 20 {
				with = append(with, i)
			}
		}
		k := rapid.IntRange(0, len(with)-2).Draw(t, "event")
		e := rec.Events[with[k]]
		earliest := beginOf(rec.Events[:with[k]+1])
		switch kind := rapid.SampledFrom(append([]string{"drop", "drop reply", "swap", "errno"}, names...)).Draw(t, "mutation"); kind {
		case "drop":
			e.Out.Cmds = e.Out.Cmds[1:]
		case "drop reply":
			for _, x := range rec.Events[with[k]:] {
				if x.In != nil && len(x.In.Replies) > 0 {
					x.In.Replies = x.In.Replies[1:]
					break
				}
			}
		case "swap":
			other := rec.Events[with[k+1]]
			if same(e.Out.Cmds, other.Out.Cmds) {
				t.Skip("the same twice")
			}
			e.Out.Cmds, other.Out.Cmds = other.Out.Cmds, e.Out.Cmds
		case "errno":
			e.Ret, e.Errno = -1, trace.Errno(syscall.EINVAL)
		default:
			if !spoilers[kind](&e.Out.Cmds[0]) {
				t.Skip("not in this subcommand")
			}
		}
		res, err := Run(rec, Options{Timeout: 300 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		d := res.Difference
		if d == nil {
			t.Fatalf("no difference: %+v", e)
		}
		if d.Event != nil && d.Event.Seq < earliest {
			t.Fatalf("difference in event %d, changed was %d, which counts from %d: %v", d.Event.Seq, e.Seq, earliest, d)
		}
	})
}

// beginOf is the first event in which the last one's subcommands matter. EXEC says
// what the initiator asked for, which it does at the first subcommand of the
// handle; and its commands begin in the order of handles.
func beginOf(events []*trace.Event) (seq uint64) {
	last := events[len(events)-1]
	for _, e := range events {
		if e.Out == nil {
			continue
		}
		for _, c := range e.Out.Cmds {
			if slices.ContainsFunc(last.Out.Cmds, func(x trace.Cmd) bool { return x.Exec != nil && x.CmdH <= c.CmdH }) {
				return e.Seq
			}
		}
	}
	return last.Seq
}

func same(a, b []trace.Cmd) bool {
	return len(a) == len(b) && slices.EqualFunc(a, b, func(x, y trace.Cmd) bool { return x.Subcode == y.Subcode && x.CmdH == y.CmdH })
}

// A listing of commands that is not as recorded is a difference.
func TestListingDiffers(t *testing.T) {
	rec := copied(t, load(t, recordings(t)["ka"]))
	for _, e := range rec.Events {
		if strings.HasPrefix(e.Text, "COMMANDS(before LUN del)") {
			e.Text = strings.Replace(e.Text, "state 7", "state 4", 1)
		}
	}
	res, err := Run(rec, Options{})
	if err != nil || res.Difference == nil || !strings.Contains(res.Difference.Error(), "listing") {
		t.Errorf("%+v %v", res, err)
	}
}

// What can't be replayed says why; every reason has a recording that shows it.
func TestObstacles(t *testing.T) {
	shown := map[string]func(rec *trace.Recording){
		"no registration": func(rec *trace.Recording) { rec.Events = rec.Events[:1] },
		"long CDB":        func(rec *trace.Recording) { exec(rec).CDBLen = 32 },
		"bidirectional":   func(rec *trace.Recording) { exec(rec).DataDirection = 3 },
		"EXTENDED COPY": func(rec *trace.Recording) {
			c := cmdOf(rec)
			c.Exec, c.Remap, c.Subcode = nil, &abi.ExtCopyRemap{}, abi.SubcodeExtCopyRemap
		},
		"unreadable memory": func(rec *trace.Recording) {
			for _, e := range rec.Events {
				if e.Kind == trace.KindExit && fetches(e) {
					e.Ret, e.Errno = -1, trace.Errno(syscall.EFAULT)
				}
			}
		},
	}
	base := load(t, recordings(t)["ka"])
	for _, o := range obstacles {
		rec := copied(t, base)
		f := shown[o.name]
		if f == nil || o.reason == "" {
			t.Errorf("%s: no recording shows it, or it has no reason", o.name)
			continue
		}
		f(rec)
		_, err := Run(rec, Options{})
		var got *Obstacle
		if !errors.As(err, &got) || got.Name != o.name || !strings.Contains(err.Error(), o.reason) {
			t.Errorf("%s: %v", o.name, err)
		}
		delete(shown, o.name)
	}
	if len(shown) > 0 {
		t.Errorf("not in the table: %v", shown)
	}
	// None of the module's recordings meets one (TestModuleRecordingsReplay);
	// errors.json is no recording of events.
	if _, err := trace.Load("../../testdata/ioctl/recordings/errors.json.gz"); !errors.Is(err, trace.ErrFormat) {
		t.Errorf("errors.json: %v", err)
	}
}

func cmdOf(rec *trace.Recording) *trace.Cmd {
	for _, e := range rec.Events {
		if e.Out != nil && len(e.Out.Cmds) > 0 && e.Out.Cmds[0].Exec != nil {
			return &e.Out.Cmds[0]
		}
	}
	return nil
}

func exec(rec *trace.Recording) *abi.Exec { return cmdOf(rec).Exec }
