package nbd

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// The chunks byte by byte, typed from proto.md.
func TestChunksGolden(t *testing.T) {
	h := &requestHeader{cookie: 0x1122334455667788, offset: 0x200, length: 0x1000}
	for _, tc := range []struct{ name, got, want string }{
		{"NONE", hex.EncodeToString(appendChunk(nil, modeStructured, chunkDone, chunkNone, h, 0)),
			"668e33ef 0001 0000 1122334455667788 00000000"},
		{"NONE, extended", hex.EncodeToString(appendChunk(nil, modeExtended, chunkDone, chunkNone, h, 0)),
			"6e8a278c 0001 0000 1122334455667788 0000000000000200 0000000000000000"},
		{"data", hex.EncodeToString(appendDataChunk(nil, modeStructured, 0, h, 0x400, 0x1234)),
			"668e33ef 0000 0001 1122334455667788 0000123c 0000000000000400"},
		{"data, extended", hex.EncodeToString(appendDataChunk(nil, modeExtended, chunkDone, h, 0x400, 0x1234)),
			"6e8a278c 0001 0001 1122334455667788 0000000000000200 000000000000123c 0000000000000400"},
		{"hole", hex.EncodeToString(appendHoleChunk(nil, modeStructured, 0, h, 0x400, 0x200)),
			"668e33ef 0000 0002 1122334455667788 0000000c 0000000000000400 00000200"},
		{"hole, extended", hex.EncodeToString(appendHoleChunk(nil, modeExtended, chunkDone, h, 0x400, 0x200)),
			"6e8a278c 0001 0002 1122334455667788 0000000000000200 000000000000000c 0000000000000400 00000200"},
		{"error", hex.EncodeToString(appendErrorChunk(nil, modeStructured, h, errnoNoSpace, "full", false)),
			"668e33ef 0001 8001 1122334455667788 0000000a 0000001c 0004"},
		{"error with its offset, extended", hex.EncodeToString(appendErrorChunk(nil, modeExtended, h, errnoIO, "bad", true)),
			"6e8a278c 0001 8002 1122334455667788 0000000000000200 0000000000000011 00000005 0003"},
	} {
		if want := strings.ReplaceAll(tc.want, " ", ""); tc.got != want {
			t.Errorf("%s:\n got %s\nwant %s", tc.name, tc.got, want)
		}
	}
}

func TestExtendedRequestGolden(t *testing.T) {
	b, _ := hex.DecodeString(strings.ReplaceAll("21e41c71 0021 0001 1122334455667788 0000000000000200 0000000100000000", " ", ""))
	want := requestHeader{flags: cmdFlagFUA | cmdFlagPayloadLen, typ: cmdWrite, cookie: 0x1122334455667788, offset: 0x200, length: 1 << 32}
	if got, ok := modeExtended.decode(b); !ok || got != want {
		t.Errorf("%+v, %v", got, ok)
	}
	if _, ok := modeStructured.decode(b); ok {
		t.Error("an extended request is taken for a compact one")
	}
	putRequest(b, want)
	if _, ok := modeExtended.decode(b); ok {
		t.Error("a compact request is taken for an extended one")
	}
	if n := want.payloadLength(modeExtended); n != 1<<32 {
		t.Errorf("a payload of %d bytes", n)
	}
	want.flags = 0
	if a, b := want.payloadLength(modeExtended), want.payloadLength(modeSimple); a != 0 || b != 1<<32 {
		t.Errorf("payloads of %d and %d bytes without the flag", a, b)
	}
}

// The longest header of a chunk fits into a request's room.
func TestChunkHeadersFit(t *testing.T) {
	h := &requestHeader{}
	for _, b := range [][]byte{
		appendHoleChunk(nil, modeExtended, 0, h, 0, 0), appendDataChunk(nil, modeExtended, 0, h, 0, 0),
		appendErrorChunk(nil, modeExtended, h, errnoIO, "x", true), bytes.Repeat([]byte{0}, extendedReplySize+8),
	} {
		if len(b) > maxChunkHeader {
			t.Errorf("a header of %d bytes", len(b))
		}
	}
}
