package nbd

import (
	"bytes"
	"testing"

	"scstuser/nbd/nbdtest"
)

// Row 10 byte by byte: LIST and SET, and what they answer.
func TestRow10MetaContextsGolden(t *testing.T) {
	h := startNegotiation(t, twoExports(), Limits{})
	h.Hello()
	h.Send(wire(t, "49484156454f5054 00000008 00000000")) // STRUCTURED_REPLY
	h.ExpectBytes(wire(t, "0003e889045565a9 00000008 00000001 00000000"))
	const query = "00000001 61 00000001 0000000f 626173653a616c6c6f636174696f6e"
	h.Send(wire(t, "49484156454f5054 0000000a 0000001c"+query))
	h.ExpectBytes(wire(t, "0003e889045565a9 0000000a 00000004 00000013 00000001 626173653a616c6c6f636174696f6e"))
	h.ExpectBytes(wire(t, "0003e889045565a9 0000000a 00000001 00000000"))
	h.Send(wire(t, "49484156454f5054 00000009 0000001c"+query))
	h.ExpectBytes(wire(t, "0003e889045565a9 00000009 00000004 00000013 00000000 626173653a616c6c6f636174696f6e"))
	h.ExpectBytes(wire(t, "0003e889045565a9 00000009 00000001 00000000"))
	h.Go("a")
	n := h.expectTransmission("a")
	if n.mode != modeStructured || !n.allocation() {
		t.Errorf("mode %d, allocation %v", n.mode, n.allocation())
	}
}

// The contexts belong to the name that they were selected for, EXPORT_NAME and
// the default export included.
func TestRow10ContextsBelongToAName(t *testing.T) {
	for _, tc := range []struct {
		selected, chosen string
		exportName       bool
		want             bool
	}{
		{"a", "a", false, true}, {"", "", false, true}, {"a", "", false, false}, {"", "a", false, false},
		{"a", "bé", false, false}, {"bé", "bé", true, true}, {"a", "bé", true, false},
	} {
		h := startNegotiation(t, twoExports(), Limits{})
		h.Hello()
		h.Negotiate(nbdtest.Structured)
		h.SetAllocation(tc.selected)
		if tc.exportName {
			h.ExportName(tc.chosen)
		} else {
			h.Go(tc.chosen)
		}
		canonical := map[string]string{"": "a", "a": "a", "bé": "bé"}[tc.chosen]
		if n := h.expectTransmission(canonical); n.allocation() != tc.want {
			t.Errorf("selected for %q, chosen %q: %v", tc.selected, tc.chosen, n.allocation())
		}
	}
}

// What is offered with structured replies and with extended headers, and that the
// order of the options does not matter.
func TestRow14ModesAndFlags(t *testing.T) {
	const df, payload = nbdtest.FlagSendDF, nbdtest.FlagStatusPayload
	structured, extended := uint32(optStructuredReply), uint32(optExtendedHeaders)
	for _, tc := range []struct {
		options []uint32
		meta    bool
		mode    replyMode
		flags   uint16
	}{
		{nil, false, modeSimple, 0},
		{[]uint32{structured}, true, modeStructured, df},
		{[]uint32{structured, structured}, false, modeStructured, df},
		{[]uint32{extended}, false, modeExtended, df},
		{[]uint32{extended, extended}, true, modeExtended, df | payload},
		{[]uint32{structured, extended}, true, modeExtended, df | payload},
		{[]uint32{extended, structured}, true, modeExtended, df | payload},
	} {
		h := startNegotiation(t, twoExports(), Limits{})
		h.Hello()
		mode := modeSimple
		for _, id := range tc.options {
			h.SendOption(id, nil)
			want := uint32(repAck)
			if mode == modeExtended && id == structured {
				want = repErrExtHeaderRequired
			}
			h.ExpectOptionReply(id, want)
			if id == extended {
				mode = modeExtended
			}
		}
		if tc.meta {
			h.SetAllocation("a")
		}
		if e := h.Info("bé"); e.Flags&payload != 0 {
			t.Errorf("options %v: BLOCK_STATUS_PAYLOAD of an export without contexts", tc.options)
		}
		e := h.Go("a")
		n := h.expectTransmission("a")
		if got := e.Flags & (df | payload); got != tc.flags || n.mode != tc.mode || n.info.Flags != e.Flags {
			t.Errorf("options %v: flags %#x, mode %d; want %#x, %d", tc.options, got, n.mode, tc.flags, tc.mode)
		}
	}
}

// Queries are bounded by the bytes of an option.
func TestRow11MetaContextsAreBounded(t *testing.T) {
	h := startNegotiation(t, twoExports(), Limits{MaxOptionBytes: 200})
	h.Hello()
	h.Negotiate(nbdtest.Structured)
	h.SetAllocation("a")
	if _, typ := h.TryMeta(optSetMetaContext, "a", "x:"+string(bytes.Repeat([]byte("y"), 300))); typ != repErrTooBig {
		t.Errorf("reply %#x", typ)
	}
	h.Go("a")
	if n := h.expectTransmission("a"); n.allocation() {
		t.Error("what was selected before is still there (row 10)")
	}
}

func FuzzParseMetaRequest(f *testing.F) {
	for _, b := range [][]byte{
		nil, nbdtest.MetaData("a"), nbdtest.MetaData("", "base:"), nbdtest.MetaData("bé", "base:allocation", "x:"),
		nbdtest.MetaData("a", "nul:\x00"), {0, 0, 0, 0, 255, 255, 255, 255}, {255, 255, 255, 255, 0, 0, 0, 0},
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		export, queries, err := parseMetaRequest(data)
		if err != nil {
			if e := validateString(err.Error()); e != nil {
				t.Errorf("the message %q %v", err, e)
			}
			return
		}
		if again := nbdtest.MetaData(export, queries...); !bytes.Equal(again, data) {
			t.Errorf("%x is read as %q, %q", data, export, queries)
		}
	})
}
