package abi_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"scstuser/ioctl/abi"
	"scstuser/ioctl/abi/internal/layout"
	"scstuser/ucmd"
)

type object = map[string]any

// eachRecord calls f with every line of every recording.
func eachRecord(t testing.TB, f func(where string, r object)) {
	t.Helper()
	files, _ := filepath.Glob("../../testdata/ioctl/recordings/*.jsonl.gz")
	if len(files) < 19 {
		t.Fatalf("%d recordings, want 19", len(files))
	}
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(file)
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewScanner(z)
		in.Buffer(nil, 1<<24)
		for n := 1; in.Scan(); n++ {
			var r object
			d := json.NewDecoder(bytes.NewReader(in.Bytes()))
			d.UseNumber()
			if err := d.Decode(&r); err != nil {
				t.Fatal(name, n, err)
			}
			f(fmt.Sprintf("%s:%d", filepath.Base(name), n), r)
		}
		if in.Err() != nil {
			t.Fatal(in.Err())
		}
		file.Close()
	}
}

func unhex(t testing.TB, r object) []byte {
	b, err := hex.DecodeString(r["hex"].(string))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sameFields compares what was recorded with what was decoded, by C names.
func sameFields(t *testing.T, where string, recorded, decoded object) {
	t.Helper()
	for name, v := range decoded {
		r, ok := recorded[name]
		switch {
		case name == "pad" || name == "version_str" || name == "license_str":
			continue // not recorded, or recorded as the string
		case name == "opt":
			sameFields(t, where, r.(object), v.(object))
		case !ok || text(r) != text(v):
			t.Errorf("%s: %s is %v, recorded %v", where, name, v, r)
		}
	}
}

// text makes numbers and hexadecimal strings comparable.
func text(v any) string {
	s := fmt.Sprint(v)
	if n, err := strconv.ParseUint(s, 0, 64); err == nil {
		return fmt.Sprint(n)
	}
	return s
}

// fieldsOf is x as a JSON object, the alternative of a union lifted up.
func fieldsOf(t *testing.T, x any) object {
	b, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	var o object
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&o); err != nil {
		t.Fatal(err)
	}
	for k, v := range o {
		if inner, ok := v.(object); ok && k != "opt" {
			delete(o, k)
			maps.Copy(o, inner)
		}
	}
	return o
}

// Every structure in every recording of the real module decodes to the fields
// that were recorded with it and encodes to the very bytes.
func TestRecordingsDecodeAndEncode(t *testing.T) {
	seen := map[string]int{}
	eachRecord(t, func(where string, r object) {
		if cmd, ok := r["cmd_nr"].(string); ok {
			n, _ := strconv.ParseUint(cmd, 0, 32)
			if x := abi.Ioctl(n); n != 0 && x.String() != r["cmd"] {
				t.Errorf("%s: %#x is %v, recorded %v", where, n, x, r["cmd"])
			}
		}
		in, _ := r["in"].(object)
		out, _ := r["out"].(object)
		argument(t, where, r["cmd"], in, seen)
		argument(t, where, r["cmd"], out, seen)
		if list, ok := in["replies"].([]any); ok {
			for _, x := range list {
				answer(t, where, x.(object), seen)
			}
		}
		if list, ok := out["cmds"].([]any); ok {
			for _, x := range list {
				command(t, where, x.(object), seen)
			}
		}
	})
	for _, name := range []string{"arg REGISTER_DEVICE", "arg SET_OPTIONS", "arg GET_OPTIONS", "arg REPLY_AND_GET_MULTI", "arg PREALLOC_BUFFER",
		"cmd EXEC", "cmd PARSE", "cmd ALLOC_MEM", "cmd ON_FREE_CMD", "cmd ON_CACHED_MEM_FREE", "cmd ATTACH_SESS", "cmd DETACH_SESS", "cmd TASK_MGMT_RECEIVED", "cmd TASK_MGMT_DONE",
		"reply EXEC", "reply PARSE", "reply ALLOC_MEM", "reply ON_FREE_CMD", "reply ON_CACHED_MEM_FREE", "reply ATTACH_SESS", "reply DETACH_SESS", "reply TASK_MGMT_RECEIVED", "reply TASK_MGMT_DONE"} {
		if seen[name] == 0 {
			t.Errorf("no %s in the recordings", name)
		}
	}
	t.Log(seen)
}

// argument checks an ioctl's own structure.
func argument(t *testing.T, where string, cmd any, o object, seen map[string]int) {
	if o["hex"] == nil {
		return
	}
	b := unhex(t, o)
	var x codec
	size := 0
	switch cmd {
	case "REGISTER_DEVICE":
		x, size = new(abi.DevDesc), abi.SizeDevDesc
	case "SET_OPTIONS", "GET_OPTIONS":
		x, size = new(abi.Opt), abi.SizeOpt
		o = o["opt"].(object)
	case "REPLY_AND_GET_MULTI":
		x, size = new(abi.Multi), abi.SizeMulti
		if o["preplies"] == nil { // on the way out the counters only
			o["preplies"], o["replies_cnt"] = nil, nil
		}
	case "PREALLOC_BUFFER":
		x, size = new(abi.PreallocIn), abi.SizePreallocIn
	case "REPLY_AND_GET_CMD":
		if p, err := abi.PReply(b); err != nil || text(fmt.Sprintf("%#x", uint64(p))) != text(o["preply"]) {
			t.Errorf("%s: preply %#x (%v), recorded %v", where, uint64(p), err, o["preply"])
		}
		return
	default:
		t.Errorf("%s: %v has bytes that nobody checks", where, cmd)
		return
	}
	if err := x.Decode(b); err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	got := make([]byte, size)
	if err := x.Encode(got); err != nil || !bytes.Equal(got, b) {
		t.Errorf("%s: %v encodes to\n%x, recorded\n%x (%v)", where, cmd, got, b, err)
	}
	f := fieldsOf(t, x)
	for k := range f {
		if v, ok := o[k]; ok && v == nil {
			delete(f, k)
		}
	}
	sameFields(t, where, o, f)
	seen["arg "+cmd.(string)]++
}

var (
	allLayouts    = layoutsByName()
	payloadLayout = func() map[string]layout.Layout {
		m := map[string]layout.Layout{}
		for _, i := range layout.Subcodes {
			m[strings.TrimPrefix(i.Name, "SCST_USER_")] = allLayouts[i.Arg]
		}
		return m
	}()
)

// command checks a subcommand, as Command and as ucmd.Subcommand.
func command(t *testing.T, where string, o object, seen map[string]int) {
	b := unhex(t, o)
	var c abi.Command
	if err := c.Decode(b); err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	// The module does not clear EXEC's padding: what the PARSE and ALLOC_MEM
	// of the same command had there shines through.
	copy(b[8:], canonical(b[8:], payloadLayout[c.Subcode.String()], allLayouts))
	o["subcode"] = c.Subcode.String()
	if c.Subcode.String() != o["subname"] || c.Subcode.GetLen() != len(b) {
		t.Errorf("%s: %v of %d bytes, recorded %v of %d", where, c.Subcode, c.Subcode.GetLen(), o["subname"], len(b))
	}
	got := make([]byte, len(b))
	if n, err := c.Encode(got); err != nil || n != len(b) || !bytes.Equal(got, b) {
		t.Errorf("%s: encodes to\n%x, recorded\n%x (%v)", where, got, b, err)
	}
	sameFields(t, where, o, fieldsOf(t, c))

	var s ucmd.Subcommand
	if err := abi.DecodeSubcommand(b, &s); err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	if c.Exec != nil { // p_out_buf is garbage unless BIDI (R55): dropped
		c.Exec.POutBuf = 0
		_, _ = c.Encode(b)
	}
	clear(got)
	if n, err := abi.EncodeSubcommand(got, &s); err != nil || n != len(b) || !bytes.Equal(got, b) {
		t.Errorf("%s: by ucmd encodes to\n%x, recorded\n%x (%v)", where, got, b, err)
	}
	seen["cmd "+c.Subcode.String()]++
}

// answer checks a reply, as Answer and as ucmd.Reply.
func answer(t *testing.T, where string, o object, seen map[string]int) {
	b := unhex(t, o)
	var a abi.Answer
	if err := a.Decode(b); err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	o["subcode"] = a.Subcode.String()
	got := make([]byte, len(b))
	if err := a.Encode(got); err != nil || !bytes.Equal(got, b) {
		t.Errorf("%s: encodes to\n%x, recorded\n%x (%v)", where, got, b, err)
	}
	sameFields(t, where, o, fieldsOf(t, a))

	var r ucmd.Reply
	var p abi.Pointers
	if err := abi.DecodeReply(b, &r, &p); err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	for field, span := range map[string]abi.Span{"sense": p.Sense, "ws_desc": p.WriteSame} {
		if s, _ := o[field].(string); len(s)/2 != span.Len {
			t.Errorf("%s: %s has %d bytes, recorded %q", where, field, span.Len, s)
		}
	}
	clear(got)
	if err := abi.EncodeReply(got, &r, &p); err != nil || !bytes.Equal(got, b) {
		t.Errorf("%s: by ucmd encodes to\n%x, recorded\n%x (%v)", where, got, b, err)
	}
	seen["reply "+a.Subcode.String()]++
}
