package trace

import (
	"bytes"
	"encoding/json"
	"flag"

	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"scstuser/ioctl/abi"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// golden compares text with a file in testdata, or writes it.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("%s is out of date: go test ./ioctl/trace -rewrite, and look at what has changed; got\n%s", path, text)
	}
}

func recording(t testing.TB, id string) *Recording {
	t.Helper()
	for _, name := range recordings(t) {
		if strings.HasPrefix(filepath.Base(name), id+"-") {
			rec, err := Load(name)
			if err != nil {
				t.Fatal(err)
			}
			return rec
		}
	}
	t.Fatalf("no recording %s", id)
	return nil
}

// The listings of recordings that have most kinds of events in them.
func TestShowGolden(t *testing.T) {
	for _, id := range []string{"ka", "kg", "kp", "q", "y", "x", "t1"} {
		var p Printer
		var b strings.Builder
		for _, e := range recording(t, id).Events {
			b.WriteString(p.Line(e) + "\n")
		}
		golden(t, "show-"+id+".txt", b.String())
	}
}

// What the listing can show that the recordings don't have, and no text of a
// handler reaches the terminal as it is.
func TestShowEveryKind(t *testing.T) {
	var p Printer
	var b strings.Builder
	for i, e := range samples() {
		e.Seq = uint64(i + 1)
		b.WriteString(p.Line(e) + "\n")
	}
	evil := "\x1b[2Jname\n"
	b.WriteString(p.Line(&Event{Kind: KindMark, Text: evil}) + "\n")
	b.WriteString(p.Line(&Event{Kind: KindEnter, Op: "REGISTER_DEVICE", In: &In{DevDesc: &abi.DevDesc{Name: evil}, License: evil}}) + "\n")
	b.WriteString(p.Line(&Event{Kind: KindExit, Op: "REPLY_AND_GET_CMD", Out: &Out{Cmds: []Cmd{
		{Command: abi.Command{Subcode: abi.SubcodeAttachSess, Sess: &abi.Sess{InitiatorName: evil, TargetName: evil}}}}}}) + "\n")
	if strings.Count(b.String(), "\n") != len(samples())+3 || strings.Contains(b.String(), "\x1b") {
		t.Errorf("%q", b.String())
	}
	golden(t, "show-kinds.txt", b.String())
}

func TestStatGolden(t *testing.T) {
	for _, id := range []string{"ka", "d", "q", "t1"} {
		s := NewStats()
		for _, e := range recording(t, id).Events {
			s.Add(e)
		}
		var b bytes.Buffer
		if err := s.WriteText(&b); err != nil {
			t.Fatal(err)
		}
		golden(t, "stat-"+id+".txt", b.String())
		text, err := json.Marshal(s)
		if err != nil || !bytes.Contains(text, []byte(`"subcodes":{`)) {
			t.Error(string(text), err)
		}
	}
}

// The counts of a trace are what is in it.
func TestStatCounts(t *testing.T) {
	for _, name := range recordings(t) {
		rec, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		s := NewStats()
		cmds, enters, exits := 0, 0, 0
		for _, e := range rec.Events {
			s.Add(e)
			switch e.Kind {
			case KindEnter:
				enters++
			case KindExit:
				exits++
				if e.Out != nil {
					cmds += len(e.Out.Cmds)
				}
			}
		}
		fetched, replied, calls := 0, 0, 0
		for _, x := range s.Subcodes {
			fetched, replied = fetched+x.Fetched, replied+x.Replied
			if x.Latency.Count != x.Replied {
				t.Errorf("%s: %d latencies of %d replies", name, x.Latency.Count, x.Replied)
			}
		}
		for _, n := range s.Ioctls {
			calls += n
		}
		if s.Events != len(rec.Events) || fetched != cmds || calls != enters || s.Unreturned != enters-exits || s.Unanswered != fetched-replied {
			t.Errorf("%s: %+v; want %d events, %d subcommands, %d calls, %d unreturned", name, s, len(rec.Events), cmds, enters, enters-exits)
		}
	}
}

func TestHistogram(t *testing.T) {
	for ns, bucket := range map[int64]int{-5: 0, 0: 0, 999: 0, 1000: 1, 1999: 1, 2000: 2, 1 << 60: 31} {
		var h HistogramOfNS
		h.Add(ns)
		if h.Buckets[bucket] != 1 || h.Count != 1 || h.Min != max(ns, 0) || h.Max != h.Min || int64(h.Mean()) != h.Min {
			t.Errorf("%d ns: %+v", ns, h)
		}
	}
}

// file is a trace of these events.
func file(t testing.TB, events []*Event) *Reader {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, Header{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		x := *e
		if x.Kind == KindExit && x.Call >= w.seq+1 {
			x.Call = w.seq // an event before it was dropped
		}
		if _, err := w.Write(&x); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(&out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func diff(t testing.TB, a, b []*Event) *Difference {
	t.Helper()
	d, err := Diff(file(t, a), file(t, b))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Two runs of the module under the same program are equal up to where they
// really differ; a recording is equal to itself.
func TestDiffGolden(t *testing.T) {
	for _, ids := range [][2]string{{"a", "ka"}, {"ka", "kg"}, {"ka", "kp"}, {"l", "r"}} {
		d := diff(t, recording(t, ids[0]).Events, recording(t, ids[1]).Events)
		if d == nil {
			t.Errorf("%v: no difference", ids)
			continue
		}
		var b bytes.Buffer
		if err := d.WriteText(&b); err != nil {
			t.Fatal(err)
		}
		golden(t, "diff-"+ids[0]+"-"+ids[1]+".txt", b.String())
	}
	for _, name := range recordings(t) {
		rec, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if d := diff(t, rec.Events, rec.Events); d != nil {
			t.Errorf("%s differs from itself: %+v", name, d)
		}
	}
}

// renamed is a recording with everything renamed that a difference may not be
// made of.
func renamed(events []*Event) []*Event {
	h := func(x uint32) uint32 { return x*7 + 3 }
	addr := func(a abi.Addr) abi.Addr {
		if a == 0 {
			return 0
		}
		return a ^ 0x550000000000
	}
	var out []*Event
	for _, e := range events {
		text, _ := json.Marshal(e)
		x := new(Event)
		_ = json.Unmarshal(text, x)
		x.Time, x.TID, x.PID, x.File = x.Time*3+7, x.TID*2+100, 5, x.File+40
		if in := x.In; in != nil {
			in.Raw = nil
			if in.Multi != nil {
				in.Multi.PReplies = addr(in.Multi.PReplies)
			}
			if in.Prealloc != nil {
				in.Prealloc.PBuf = addr(in.Prealloc.PBuf)
			}
			for i := range in.Replies {
				r := &in.Replies[i]
				r.Raw, r.CmdH = nil, h(r.CmdH)
				if r.Exec != nil {
					r.Exec.PBuf, r.Exec.PSenseBuffer = addr(r.Exec.PBuf), addr(r.Exec.PSenseBuffer)
				}
				if r.Alloc != nil {
					r.Alloc.PBuf = addr(r.Alloc.PBuf)
				}
			}
		}
		if o := x.Out; o != nil {
			o.Raw = nil
			if o.Prealloc != nil {
				o.Prealloc.CmdH = h(o.Prealloc.CmdH)
			}
			for i := range o.Cmds {
				c := &o.Cmds[i]
				c.Raw, c.CmdH = nil, h(c.CmdH)
				switch {
				case c.Exec != nil:
					c.Exec.PBuf, c.Exec.SessH, c.Exec.POutBuf = addr(c.Exec.PBuf), addr(c.Exec.SessH), 77
				case c.AllocMem != nil:
					c.AllocMem.SessH = addr(c.AllocMem.SessH)
				case c.Parse != nil:
					c.Parse.SessH = addr(c.Parse.SessH)
				case c.Sess != nil:
					c.Sess.SessH = addr(c.Sess.SessH)
				case c.TM != nil:
					c.TM.SessH = addr(c.TM.SessH)
				case c.OnFree != nil:
					c.OnFree.PBuf = addr(c.OnFree.PBuf)
				case c.OnCachedMemFree != nil:
					c.OnCachedMemFree.PBuf = addr(c.OnCachedMemFree.PBuf)
				}
			}
		}
		out = append(out, x)
	}
	return out
}

// Renaming is no difference.
func TestDiffUpToRenaming(t *testing.T) {
	for _, name := range recordings(t) {
		rec, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if d := diff(t, rec.Events, renamed(rec.Events)); d != nil {
			var b strings.Builder
			_ = d.WriteText(&b)
			t.Errorf("%s: %s", name, b.String())
		}
	}
}

// What is spoiled is found, there or later (a swapped handle can only show
// where it is used next), and never before.
func TestDiffFindsMutations(t *testing.T) {
	base := recording(t, "kg").Events
	rapid.Check(t, func(t *rapid.T) {
		events := renamed(base)
		i := rapid.IntRange(0, len(events)-2).Draw(t, "event")
		for events[i].Kind == KindMark {
			i = (i + 1) % (len(events) - 1)
		}
		e := events[i]
		switch kind := rapid.SampledFrom([]string{"drop", "double", "errno", "op", "field"}).Draw(t, "mutation"); kind {
		case "drop":
			events = append(events[:i:i], events[i+1:]...)
		case "double":
			events = append(events[:i+1:i+1], events[i:]...)
		case "errno":
			e.Kind, e.Errno, e.Call = KindExit, e.Errno+1, max(e.Call, 1)
		case "op":
			e.Op += "X"
		case "field":
			switch {
			case e.Out != nil && len(e.Out.Cmds) > 0 && e.Out.Cmds[0].Exec != nil:
				e.Out.Cmds[0].Exec.LBA++
			case e.In != nil && len(e.In.Replies) > 0:
				e.In.Replies[0].Subcode++
			default:
				e.Ret--
			}
		}
		a, b := fileOf(base), fileOf(events)
		d, err := Diff(a, b)
		if err != nil || d == nil {
			t.Fatalf("no difference (%v)", err)
		}
		compared := 0
		for _, e := range base[:i] {
			if e.Kind != KindMark {
				compared++
			}
		}
		if d.At <= compared {
			t.Fatalf("difference in event %d, changed was the one behind %d", d.At, compared)
		}
	})
}

// fileOf is file where there is no testing.TB; calls are made valid.
func fileOf(events []*Event) *Reader {
	var out bytes.Buffer
	w, _ := NewWriter(&out, Header{})
	for _, e := range events {
		x := *e
		if x.Kind == KindExit {
			x.Call = min(max(x.Call, 1), max(w.seq, 1))
		}
		_, _ = w.Write(&x)
	}
	_ = w.Close()
	r, _ := NewReader(&out)
	return r
}

func TestDiffEnds(t *testing.T) {
	e := samples()
	for i, d := range []*Difference{diff(t, e, e[:3]), diff(t, e[:3], e)} {
		if d == nil || d.At != 4 || (d.A == nil) == (d.B == nil) || len(d.Before) != 3 || (i == 0) != (d.B == nil) {
			t.Errorf("%+v", d)
		}
	}
	bad, err := NewReader(strings.NewReader(`{"format":"scst_user-trace","version":1}` + "\nx\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Diff(bad, file(t, e)); err == nil || !strings.Contains(err.Error(), "first trace") {
		t.Error(err)
	}
}

// The older format is recognised; what is neither format is refused with the
// reader's words.
func TestOpenAny(t *testing.T) {
	rec := recording(t, "a")
	if rec.Header.Source != "module" || len(rec.Events) == 0 || rec.Truncated {
		t.Errorf("%+v, %d events", rec.Header, len(rec.Events))
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"empty": "", "other": "hello\n", "json": "{}\n"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenAny(path); err == nil || !strings.Contains(err.Error(), "not a scst_user trace") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := OpenAny(filepath.Join(dir, "none")); !os.IsNotExist(errorsUnwrap(err)) {
		t.Error(err)
	}
	cut := filepath.Join(dir, "cut")
	if err := os.WriteFile(cut, []byte(`{"ev":"mark","t_ns":1,"text":"a"}`+"\n"+`{"ev":"ma`), 0o600); err != nil {
		t.Fatal(err)
	}
	rec, err := Load(cut)
	if err != nil || !rec.Truncated || len(rec.Events) != 1 {
		t.Errorf("%+v %v", rec, err)
	}
}

func errorsUnwrap(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		err = u.Unwrap()
	}
}
