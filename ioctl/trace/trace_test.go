package trace

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"scstuser/ioctl/abi"
)

// one event of each kind, with every member set somewhere.
func samples() []*Event {
	p := abi.Addr(0x7f0000001000)
	result := int32(-12)
	return []*Event{
		{Kind: KindOpen, Time: 1, PID: 9, TID: 10, File: 1, NonBlock: true},
		{Kind: KindEnter, Time: 2, TID: 10, File: 1, Op: "REGISTER_DEVICE", In: &In{
			DevDesc: &abi.DevDesc{Name: "d", BlockSize: 512, Opt: abi.Opt{TST: 1}}, Version: abi.Version, License: "GPL"}},
		{Kind: KindExit, Time: 3, TID: 10, File: 1, Op: "REGISTER_DEVICE", Call: 2, Ret: -1, Errno: Errno(syscall.EINVAL)},
		{Kind: KindEnter, Op: "REPLY_AND_GET_CMD", In: &In{PReply: &p, Raw: Hex{1, 2}, Replies: []Reply{
			{Answer: abi.Answer{CmdH: 7, Subcode: abi.SubcodeExec, Exec: &abi.ExecReply{ReplyType: 1, Status: 2, SenseLen: 2, PSenseBuffer: 1 << 63}}, Sense: Hex{0x70, 0}},
			{Answer: abi.Answer{Subcode: abi.SubcodeAttachSess, Result: &result}},
			{Answer: abi.Answer{Subcode: abi.SubcodeExec, Exec: &abi.ExecReply{ReplyType: 2, WSDescriptorsLen: 16}}, WriteSame: make(Hex, 16)},
			{Answer: abi.Answer{Subcode: abi.SubcodeExtCopyRemap, Remap: &abi.RemapReply{RemapDescriptorsLen: 24}}, RemapList: make(Hex, 24), Raw: Hex{3}},
		}}},
		{Kind: KindExit, Op: "REPLY_AND_GET_CMD", Call: 4, Out: &Out{Cmds: []Cmd{
			{Command: abi.Command{Subcode: abi.SubcodeExec, Exec: &abi.Exec{SessH: 0xffff888007000000, CDB: abi.CDB{0x2a}, PBuf: 4096}}, Data: Hex("data")}}}},
		{Kind: KindEnter, Op: "GET_EXTENDED_CDB", In: &In{ExtCDB: &abi.GetExtCDB{CmdH: 1}}},
		{Kind: KindExit, Op: "GET_EXTENDED_CDB", Call: 6, Out: &Out{ExtCDB: Hex{5}}, Errno: 524},
		{Kind: KindEnter, Op: "PREALLOC_BUFFER", In: &In{Prealloc: &abi.PreallocIn{BuffLen: 4096}, Multi: &abi.Multi{Pad: 1}, Opt: &abi.Opt{}}},
		{Kind: KindExit, Op: "PREALLOC_BUFFER", Call: 8, Out: &Out{Prealloc: &abi.PreallocOut{CmdH: 3}, Multi: &abi.Multi{CmdsCnt: 1}, Opt: &abi.Opt{}, Raw: Hex{9}}},
		{Kind: KindClose, File: 1}, {Kind: KindRelease, File: 1}, {Kind: KindMark, Text: "a \"mark\"\n"},
	}
}

// written is a trace of the samples.
func written(t testing.TB, c compression) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := newWriter(&out, c, Header{Source: "host", Start: 5, Command: "prog -x", Note: "n"})
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range samples() {
		if seq, err := w.Write(e); err != nil || seq != uint64(i+1) {
			t.Fatal(seq, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestRoundTrip(t *testing.T) {
	want := samples()
	for i := range want {
		want[i].Seq = uint64(i + 1)
	}
	for _, name := range []string{"t.jsonl", "t.jsonl.gz", "t.jsonl.zst"} {
		path := filepath.Join(t.TempDir(), name)
		w, err := Create(path, Header{Source: "host"})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range samples() {
			if _, err := w.Write(e); err != nil {
				t.Fatal(err)
			}
		}
		// What was flushed can be read before the end is written, and is a
		// truncated file only where the packing has an end.
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := readAll(t, b); len(got) != len(want) {
			t.Errorf("%s: after Flush %d events can be read, want %d", name, len(got), len(want))
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(&Event{}); err != ErrClosed || w.Close() != ErrClosed || w.Flush() != ErrClosed {
			t.Errorf("%s: a closed writer works: %v", name, err)
		}
		// Recognised by content, not by name.
		renamed := filepath.Join(t.TempDir(), "x")
		if err := os.Rename(path, renamed); err != nil {
			t.Fatal(err)
		}
		r, err := Open(renamed)
		if err != nil {
			t.Fatal(err)
		}
		if r.Header != (Header{Format: Format, Version: Version, Source: "host"}) {
			t.Errorf("%s: header %+v", name, r.Header)
		}
		for i := range want {
			if e, err := r.Next(); err != nil || !reflect.DeepEqual(e, want[i]) {
				t.Errorf("%s: event %d is %+v (%v), want %+v", name, i, e, err, want[i])
			}
		}
		if _, err := r.Next(); err != io.EOF || r.Truncated() {
			t.Errorf("%s: at the end %v, truncated %v", name, err, r.Truncated())
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		fi, err := os.Stat(renamed)
		if err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v (%v)", name, fi.Mode(), err)
		}
	}
}

// A file may end anywhere: what is whole can be read, the rest is reported.
func TestTruncatedAnywhere(t *testing.T) {
	for _, c := range []compression{plain, gz, zst} {
		b := written(t, c)
		whole, _ := readAll(t, b)
		for n := range len(b) {
			r, err := NewReader(bytes.NewReader(b[:n]))
			if err != nil {
				continue // not even a header
			}
			got := 0
			for {
				e, err := r.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatalf("packing %d, %d bytes: %v", c, n, err)
				}
				if !reflect.DeepEqual(e, whole[got]) {
					t.Fatalf("packing %d, %d bytes: event %d is %+v", c, n, got, e)
				}
				got++
			}
			atEnd := c == plain && b[n-1] == '\n'
			if r.Truncated() == atEnd {
				t.Fatalf("packing %d, %d bytes: truncated %v", c, n, r.Truncated())
			}
			r.Close()
		}
	}
}

func TestReaderRefuses(t *testing.T) {
	head := `{"format":"scst_user-trace","version":1}` + "\n"
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"empty":            {"", ErrFormat},
		"older format":     {`{"ev":"mark","t_ns":1,"text":"START"}` + "\n", ErrFormat},
		"not JSON":         {"hello\n", ErrFormat},
		"newer version":    {`{"format":"scst_user-trace","version":2}` + "\n", ErrVersion},
		"bad event":        {head + "{]\n", ErrLine},
		"unknown kind":     {head + `{"seq":1,"ev":"x"}` + "\n", ErrLine},
		"order":            {head + `{"seq":2,"ev":"mark"}` + "\n" + `{"seq":2,"ev":"mark"}` + "\n", ErrLine},
		"no sequence":      {head + `{"ev":"mark"}` + "\n", ErrLine},
		"exit of later":    {head + `{"seq":1,"ev":"exit","call":1}` + "\n", ErrLine},
		"bad errno":        {head + `{"seq":2,"ev":"exit","call":1,"errno":"EWHAT"}` + "\n", ErrLine},
		"line too long":    {head + strings.Repeat(" ", MaxLine) + "\n", ErrLine},
		"endless header":   {strings.Repeat(" ", MaxLine+1), ErrLine},
		"unknown packing":  {"\x1f\x8b\x00\x00", nil},
		"zstd, then trash": {"\x28\xb5\x2f\xfd\xff\xff\xff\xff\xff", nil},
	} {
		r, err := NewReader(strings.NewReader(c.text))
		for err == nil {
			_, err = r.Next()
		}
		if err == io.EOF || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if r != nil {
			if _, again := r.Next(); again != err {
				t.Errorf("%s: the error does not stay: %v", name, again)
			}
			r.Close()
		}
	}
}

// Lines longer than any buffer, up to the limit.
func TestLongLines(t *testing.T) {
	var out bytes.Buffer
	w, _ := NewWriter(&out, Header{})
	long := &Event{Kind: KindMark, Text: strings.Repeat("x", 1<<20)}
	for range 2 {
		if _, err := w.Write(long); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Write(&Event{Kind: KindMark, Text: strings.Repeat("x", MaxLine)}); err == nil {
		t.Error("an event longer than a line was taken")
	}
	if _, err := w.Write(&Event{Kind: KindMark, Text: "last"}); err != nil {
		t.Error(err)
	}
	_ = w.Close()
	events, _ := readAll(t, out.Bytes())
	if len(events) != 3 || events[1].Text != long.Text || events[2].Seq != 3 {
		t.Errorf("%d events", len(events))
	}
}

// Threads write at the same time: every event is there once, in order.
func TestWriterConcurrent(t *testing.T) {
	var out bytes.Buffer
	w, _ := NewWriter(&out, Header{})
	var wg sync.WaitGroup
	for tid := range 4 {
		wg.Go(func() {
			for range 50 {
				seq, err := w.Write(&Event{Kind: KindEnter, TID: tid + 1, Op: "FLUSH_CACHE"})
				if err != nil {
					t.Error(err)
				}
				if _, err := w.Write(&Event{Kind: KindExit, TID: tid + 1, Call: seq}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	_ = w.Close()
	events, _ := readAll(t, out.Bytes())
	if len(events) != 400 {
		t.Fatalf("%d events, want 400", len(events))
	}
	for i, e := range events {
		if e.Seq != uint64(i+1) || e.Kind == KindExit && events[e.Call-1].TID != e.TID {
			t.Fatalf("event %d: %+v", i, e)
		}
	}
}

type fullDisk struct{ room int }

func (f *fullDisk) Write(b []byte) (int, error) {
	if f.room -= len(b); f.room < 0 {
		return 0, syscall.ENOSPC
	}
	return len(b), nil
}

// A write error stays and comes out at Close at the latest.
func TestWriterReportsFullDisk(t *testing.T) {
	w, err := NewWriter(&fullDisk{room: 100 << 10}, Header{})
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		_, err = w.Write(&Event{Kind: KindMark, Text: strings.Repeat("x", 1000)})
	}
	if !errors.Is(err, syscall.ENOSPC) || !errors.Is(w.Close(), syscall.ENOSPC) {
		t.Errorf("%v, want ENOSPC", err)
	}
}

func TestErrnoText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := Errno(rapid.Uint32().Draw(t, "errno"))
		b, _ := e.MarshalText()
		var got Errno
		if err := got.UnmarshalText(b); err != nil || got != e {
			t.Fatalf("%s: %d (%v), want %d", b, got, err, e)
		}
	})
	if s := Errno(syscall.ESRCH).String(); s != "ESRCH" {
		t.Error(s)
	}
}

// Any text: no panic, and what can be read can be written and read again.
func FuzzReader(f *testing.F) {
	for _, c := range []compression{plain, gz, zst} {
		f.Add(written(f, c))
	}
	b, _ := convertFile(f, recordings(f)[0])
	f.Add(b[:16<<10])
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := NewReader(bytes.NewReader(b))
		if err != nil {
			return
		}
		defer r.Close()
		var out bytes.Buffer
		w, _ := NewWriter(&out, r.Header)
		var events []*Event
		for range 1000 {
			e, err := r.Next()
			if err != nil {
				break
			}
			if e.Kind == KindExit {
				e.Call = 1 // numbers are new
				if len(events) == 0 {
					continue
				}
			}
			if _, err := w.Write(e); err != nil {
				t.Fatal(err)
			}
			events = append(events, e)
		}
		_ = w.Close()
		again, _ := readAll(t, out.Bytes())
		if len(again) != len(events) {
			t.Fatalf("%d events, want %d", len(again), len(events))
		}
		for i := range again {
			a, _ := json.Marshal(again[i])
			e, _ := json.Marshal(events[i])
			if !bytes.Equal(a, e) {
				t.Fatalf("got %s, want %s", a, e)
			}
		}
	})
}

func FuzzConvert(f *testing.F) {
	f.Add([]byte(`{"ev":"enter","seq":1,"cmd_nr":"0xc010750b","in":{"hex":"e0e94c75227f00000100000002000000","replies":[]}}` + "\n" +
		`{"ev":"exit","seq":2,"call":1,"cmd_nr":"0xc010750b","out":{"hex":"e0e94c75227f00000100000001000000","cmds":[{"hex":"010000000573088000100088297f0000"}]}}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var out bytes.Buffer
		w, _ := NewWriter(&out, Header{})
		c, _ := Convert(bytes.NewReader(b), w)
		_ = w.Close()
		if events, _ := readAll(t, out.Bytes()); len(events) != c.Events {
			t.Fatalf("%d events, want %d", len(events), c.Events)
		}
	})
}
