package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestSendAndReceive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b bytes.Buffer
		var sent []Request
		for range rapid.IntRange(0, 5).Draw(t, "messages") {
			r := Request{
				ID: rapid.Uint32().Draw(t, "id"), Op: Write, Path: rapid.String().Draw(t, "path"),
				Offset: rapid.Int64().Draw(t, "offset"), Data: rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(t, "data"),
				Command: &Command{Args: []string{rapid.String().Draw(t, "arg")}},
			}
			sent = append(sent, r)
			if err := Send(&b, r); err != nil {
				t.Fatal(err)
			}
		}
		for _, want := range sent {
			var got Request
			if err := Receive(&b, &got); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%+v, %v, want %+v", got, err, want)
			}
		}
		if err := Receive(&b, new(Request)); !errors.Is(err, io.EOF) {
			t.Errorf("at the end: %v", err)
		}
	})
}

// A chunk of data fits into a message.
func TestChunk(t *testing.T) {
	if err := Send(io.Discard, Event{ID: 1<<32 - 1, Kind: Stdout, Data: make([]byte, Chunk)}); err != nil {
		t.Error(err)
	}
	if err := Send(io.Discard, Event{Data: make([]byte, MaxMessage)}); err == nil {
		t.Error("a message is too long, and is sent")
	}
}

func TestReceiveRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"half a length":  {"\x00\x00", "unexpected EOF"},
		"half a message": {"\x00\x00\x00\x05{", "unexpected EOF"},
		"too long":       {"\xff\xff\xff\xff", "at most"},
		"no JSON":        {"\x00\x00\x00\x01x", "decode a message"},
	} {
		err := Receive(strings.NewReader(tc.in), new(Event))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

func FuzzReceive(f *testing.F) {
	var b bytes.Buffer
	for _, e := range []Event{{Kind: Hello, Text: "6.1"}, {ID: 1, Kind: Exit, Status: 3}, {ID: 2, Kind: Data, Data: []byte("x")}} {
		if err := Send(&b, e); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(b.Bytes())
	f.Add([]byte{0, 0, 0, 2, '{', '}'})
	f.Add(binary.BigEndian.AppendUint32(nil, MaxMessage))
	f.Fuzz(func(t *testing.T, in []byte) {
		for r := bytes.NewReader(in); ; {
			var e Event
			if err := Receive(r, &e); err != nil {
				return
			}
			// What was understood can be said again.
			var out bytes.Buffer
			var again Event
			if err := Send(&out, e); err != nil {
				t.Fatal(err)
			}
			if err := Receive(&out, &again); err != nil || !reflect.DeepEqual(e, again) {
				t.Fatalf("%+v, then %+v, %v", e, again, err)
			}
		}
	})
}
