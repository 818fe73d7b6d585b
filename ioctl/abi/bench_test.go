package abi_test

import (
	"testing"

	"scstuser/ioctl/abi"
	"scstuser/ucmd"
)

// hot is what travels for each command: nothing of it may allocate.
func hot(t testing.TB) map[string]func() {
	b := make([]byte, abi.SizeGetCmd)
	m := map[string]func(){}
	for name, c := range map[string]ucmd.Subcode{"EXEC": ucmd.SubExec, "ALLOC_MEM": ucmd.SubAllocMem, "ON_FREE": ucmd.SubOnFree} {
		s := ucmd.Subcommand{Handle: 7, Code: c, PBuf: 4096, BufLen: 4096}
		wire := make([]byte, abi.SizeGetCmd)
		if _, err := abi.EncodeSubcommand(wire, &s); err != nil {
			t.Fatal(err)
		}
		var got ucmd.Subcommand
		m["encode "+name] = func() { _, _ = abi.EncodeSubcommand(b, &s) }
		m["decode "+name] = func() { _ = abi.DecodeSubcommand(wire, &got) }
		r, p := ucmd.Reply{Handle: 7, Code: c, Type: ucmd.ReplyCompleted, PBuf: 4096}, abi.Pointers{}
		reply := make([]byte, abi.SizeReplyCmd)
		if err := abi.EncodeReply(reply, &r, &p); err != nil {
			t.Fatal(err)
		}
		var r2 ucmd.Reply
		var p2 abi.Pointers
		m["encode reply "+name] = func() { _ = abi.EncodeReply(b, &r, &p) }
		m["decode reply "+name] = func() { _ = abi.DecodeReply(reply, &r2, &p2) }
	}
	return m
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	for name, f := range hot(t) {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func BenchmarkHot(b *testing.B) {
	for name, f := range hot(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
}
