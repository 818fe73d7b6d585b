package nbd

import (
	"bytes"
	"testing"
)

func TestRequestGolden(t *testing.T) {
	golden := wire(t, "25609513 0003 0001 1122334455667788 0000010000000200 00001000")
	header := requestHeader{
		flags: cmdFlagFUA | cmdFlagNoHole, typ: cmdWrite,
		cookie: 0x1122334455667788, offset: 0x10000000200, length: 4096,
	}
	if got, ok := decodeRequest(golden); !ok || got != header {
		t.Errorf("decoded %+v, %v", got, ok)
	}
	b := make([]byte, requestSize)
	if putRequest(b, header); !bytes.Equal(b, golden) {
		t.Errorf("encoded %x, want %x", b, golden)
	}
}

func TestSimpleReplyGolden(t *testing.T) {
	golden := wire(t, "67446698 0000001c 8877665544332211")
	b := make([]byte, simpleReplySize)
	if putSimpleReply(b, errnoNoSpace, 0x8877665544332211); !bytes.Equal(b, golden) {
		t.Errorf("encoded %x, want %x", b, golden)
	}
	if errno, cookie, ok := decodeSimpleReply(golden); !ok || errno != 28 || cookie != 0x8877665544332211 {
		t.Errorf("decoded %d %#x %v", errno, cookie, ok)
	}
}

// Requests of other kinds, and of other times, are not taken for ours.
func TestRequestMagic(t *testing.T) {
	for _, magic := range []string{"25609512", "25609514", "12560953", "13956025", "21e41c71", "67446698", "00000000"} {
		b := append(wire(t, magic), make([]byte, requestSize-4)...)
		if _, ok := decodeRequest(b); ok {
			t.Errorf("%s accepted", magic)
		}
		if _, _, ok := decodeSimpleReply(b); ok != (magic == "67446698") {
			t.Errorf("%s as a reply: %v", magic, ok)
		}
	}
}

// The numbers that go-nbd does not define, and some that it does, against
// proto.md.
func TestNumbers(t *testing.T) {
	for _, tc := range []struct {
		name      string
		got, want uint64
	}{
		{"NBDMAGIC", magicInit, 0x4e42444d41474943},
		{"IHAVEOPT", magicOption, 0x49484156454f5054},
		{"option reply magic", magicOptionReply, 0x3e889045565a9},
		{"NBD_REP_ERR_UNSUP", uint64(repErrUnsup), 1<<31 + 1},
		{"NBD_REP_ERR_POLICY", uint64(repErrPolicy), 1<<31 + 2},
		{"NBD_REP_ERR_INVALID", uint64(repErrInvalid), 1<<31 + 3},
		{"NBD_REP_ERR_PLATFORM", uint64(repErrPlatform), 1<<31 + 4},
		{"NBD_REP_ERR_TLS_REQD", uint64(repErrTLSRequired), 1<<31 + 5},
		{"NBD_REP_ERR_UNKNOWN", uint64(repErrUnknown), 1<<31 + 6},
		{"NBD_REP_ERR_SHUTDOWN", uint64(repErrShutdown), 1<<31 + 7},
		{"NBD_REP_ERR_BLOCK_SIZE_REQD", uint64(repErrBlockSizeRequired), 1<<31 + 8},
		{"NBD_REP_ERR_TOO_BIG", uint64(repErrTooBig), 1<<31 + 9},
		{"NBD_REP_ERR_EXT_HEADER_REQD", uint64(repErrExtHeaderRequired), 1<<31 + 10},
		{"all transmission flags", uint64(flagHasFlags | flagReadOnly | flagSendFlush | flagSendFUA | flagRotational | flagSendTrim |
			flagSendWriteZeroes | flagSendDF | flagCanMultiConn | flagSendResize | flagSendCache | flagSendFastZero | flagBlockStatusPayload), 1<<13 - 1},
		{"all command flags", uint64(cmdFlagFUA | cmdFlagNoHole | cmdFlagDF | cmdFlagReqOne | cmdFlagFastZero | cmdFlagPayloadLen), 1<<6 - 1},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %#x, want %#x", tc.name, tc.got, tc.want)
		}
	}
}

func FuzzDecodeRequest(f *testing.F) {
	f.Add([]byte("\x25\x60\x95\x13\x00\x01\x00\x01cookie..offset..leng"))
	f.Add(make([]byte, requestSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < requestSize {
			return
		}
		header, ok := decodeRequest(b)
		again := make([]byte, requestSize)
		putRequest(again, header)
		if ok != bytes.Equal(again, b[:requestSize]) {
			t.Errorf("%x decoded to %+v (%v), which is %x", b[:requestSize], header, ok, again)
		}
	})
}

func FuzzDecodeSimpleReply(f *testing.F) {
	f.Add([]byte("\x67\x44\x66\x98\x00\x00\x00\x00cookie.."))
	f.Add(make([]byte, simpleReplySize))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < simpleReplySize {
			return
		}
		errno, cookie, ok := decodeSimpleReply(b)
		again := make([]byte, simpleReplySize)
		putSimpleReply(again, errno, cookie)
		if ok != bytes.Equal(again, b[:simpleReplySize]) {
			t.Errorf("%x decoded to %d %#x (%v), which is %x", b[:simpleReplySize], errno, cookie, ok, again)
		}
	})
}

func BenchmarkHeaders(b *testing.B) {
	req, reply := make([]byte, requestSize), make([]byte, simpleReplySize)
	putRequest(req, requestHeader{typ: cmdRead, cookie: 7, length: 4096})
	b.ReportAllocs()
	for b.Loop() {
		h, _ := decodeRequest(req)
		putSimpleReply(reply, errnoNone, h.cookie)
	}
}
