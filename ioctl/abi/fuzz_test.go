package abi_test

import (
	"bytes"
	"reflect"
	"testing"

	"scstuser/ioctl/abi"
	"scstuser/ucmd"
)

func FuzzDecodeSubcommand(f *testing.F) {
	f.Add(golden(f, goldenExec))
	f.Add(golden(f, goldenOnFree))
	for _, c := range subcodes {
		b := make([]byte, abi.SizeGetCmd)
		if n, err := abi.EncodeSubcommand(b, &ucmd.Subcommand{Handle: 7, Code: c}); err == nil {
			f.Add(b[:n])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, s2 ucmd.Subcommand
		if abi.DecodeSubcommand(b, &s) != nil {
			return
		}
		out := make([]byte, abi.SizeGetCmd)
		n, err := abi.EncodeSubcommand(out, &s)
		if err != nil {
			t.Fatal(err)
		}
		if err := abi.DecodeSubcommand(out[:n], &s2); err != nil || !reflect.DeepEqual(s, s2) {
			t.Fatalf("got %+v (%v), want %+v", s2, err, s)
		}
		var c, c2 abi.Command
		if err := c.Decode(b); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Encode(out); err != nil {
			t.Fatal(err)
		}
		if err := c2.Decode(out); err != nil || !reflect.DeepEqual(c, c2) {
			t.Fatalf("got %+v (%v), want %+v", c2, err, c)
		}
	})
}

func FuzzDecodeReply(f *testing.F) {
	for _, s := range []string{goldenExecReply, goldenWriteSame, goldenParseReply} {
		f.Add(golden(f, s))
	}
	for _, c := range subcodes {
		b := make([]byte, abi.SizeReplyCmd)
		if abi.EncodeReply(b, &ucmd.Reply{Handle: 7, Code: c}, new(abi.Pointers)) == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r, r2 ucmd.Reply
		var p, p2 abi.Pointers
		if abi.DecodeReply(b, &r, &p) != nil {
			return
		}
		if p.Sense.Len > abi.MaxSense || p.WriteSame.Len > ucmd.PageSize || p.Remap.Len > ucmd.PageSize {
			t.Fatalf("more than the limits: %+v", p)
		}
		out := make([]byte, abi.SizeReplyCmd)
		if r.Code != 0 {
			if err := abi.EncodeReply(out, &r, &p); err != nil {
				t.Fatal(err)
			}
			if err := abi.DecodeReply(out, &r2, &p2); err != nil || !reflect.DeepEqual(r, r2) || p != p2 {
				t.Fatalf("got %+v %+v (%v), want %+v %+v", r2, p2, err, r, p)
			}
		}
		var a, a2 abi.Answer
		if err := a.Decode(b); err != nil {
			t.Fatal(err)
		}
		if err := a.Encode(out); err != nil {
			t.Fatal(err)
		}
		if err := a2.Decode(out); err != nil || !reflect.DeepEqual(a, a2) || !bytes.Equal(out[:8], b[:8]) {
			t.Fatalf("got %+v (%v), want %+v", a2, err, a)
		}
	})
}
