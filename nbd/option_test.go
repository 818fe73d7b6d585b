package nbd

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"scstuser/nbd/nbdtest"
)

func TestRow02ExportName(t *testing.T) {
	zeroes := strings.Repeat("00", 124)
	for _, tc := range []struct{ name, flags, option, reply string }{
		{"named, with zeroes", "00000001", "00000001 00000001 61", "0102030405060000 000d" + zeroes},
		{"named, without zeroes", "00000003", "00000001 00000001 61", "0102030405060000 000d"},
		{"default", "00000003", "00000001 00000000", "0102030405060000 000d"},
		{"plain newstyle", "00000000", "00000001 00000003 62c3a9", "0000000000100000 0003" + zeroes},
		{"plain newstyle without zeroes", "00000002", "00000001 00000003 62c3a9", "0000000000100000 0003"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := startNegotiation(t, twoExports(), Limits{})
			h.ExpectBytes(wire(t, greetingHex))
			// Everything at once, and a request behind it, which has to be
			// left for the transmission half.
			h.Send(append(wire(t, tc.flags+optionHex+tc.option), "request"...))
			h.ExpectBytes(wire(t, tc.reply))
			if o := h.outcome(); o.err != nil || o.viaGo || o.blockSizesAsked {
				t.Errorf("outcome %+v", o)
			}
		})
	}
}

func TestRow02RefusedExportNameCloses(t *testing.T) {
	broken := exportB()
	broken.broken = errors.New("gone")
	lies := exportB()
	lies.Name, lies.PreferredBlock = "lies", 3
	tbl := &tableOf{exports: []*fakeExport{exportA(), broken, lies}}
	for _, tc := range []struct{ name, export string }{
		{"unknown", "c"},
		{"prefix of a known one", "b"},
		{"known one and NUL", "a\x00"},
		{"not UTF-8", "b\xe9"},
		{"too long", strings.Repeat("a", maxString+1)},
		{"longer than options may be", strings.Repeat("a", 70_000)},
		{"not available", "bé"},
		{"misconfigured", "lies"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := startNegotiation(t, tbl, Limits{})
			h.Hello()
			h.SendOption(optExportName, []byte(tc.export))
			h.expectError(errRefused)
		})
	}
}

func TestRow03UnknownOptionIsUnsup(t *testing.T) {
	h := startNegotiation(t, twoExports(), Limits{})
	h.Hello()
	for _, tc := range []struct {
		id   uint32
		data []byte
	}{
		{0, nil},
		{optPeekExport, nil},
		{12, []byte("data that has to be consumed")},
		{0x80000001, bytes.Repeat(nbdtest.OptionBytes(optAbort, nil), 1000)}, // looks like options
		{0xffffffff, make([]byte, 300_000)},                                  // more than is ever held
	} {
		h.SendOption(tc.id, tc.data)
		h.ExpectOptionReply(tc.id, repErrUnsup)
	}
	h.Go("a")
	h.expectTransmission("a")
}

func TestRow03GoldenReply(t *testing.T) {
	h := startNegotiation(t, twoExports(), Limits{})
	h.Hello()
	h.Send(wire(t, optionHex+"00000063 00000002 ffff"))
	h.ExpectBytes(append(wire(t, replyHex+"00000063 80000001 0000001a"), "option 99 is not supported"...))
}

func TestRow04DataWhereNoneBelongs(t *testing.T) {
	h := startNegotiation(t, twoExports(), Limits{})
	h.Hello()
	for _, id := range []uint32{optList, optStructuredReply, optExtendedHeaders, optStartTLS} {
		for _, length := range []int{1, 4, 100_000} {
			h.SendOption(id, make([]byte, length))
			h.ExpectOptionReply(id, repErrInvalid)
		}
	}
	h.Go("a")
	h.expectTransmission("a")
}

func TestRow05AbortIsAcknowledged(t *testing.T) {
	for _, data := range []string{"", "00", strings.Repeat("ff", 2000)} {
		h := startNegotiation(t, twoExports(), Limits{})
		h.Hello()
		h.SendOption(optAbort, wire(t, data))
		h.ExpectBytes(wire(t, replyHex+"00000002 00000001 00000000"))
		h.expectError(errAborted)
	}
}

// A client may send ABORT and be gone before the answer.
func TestRow05AbortAndGone(t *testing.T) {
	h := startNegotiation(t, twoExports(), Limits{})
	h.Hello()
	h.SendOption(optAbort, nil)
	h.Close()
	h.expectAborted()
}

func TestRow06List(t *testing.T) {
	h := startNegotiation(t, twoExports(), Limits{})
	h.Hello()
	for range 2 {
		h.Send(wire(t, optionHex+"00000003 00000000"))
		h.ExpectBytes(wire(t, replyHex+"00000003 00000002 0000000a 00000001 61 6669727374"+ // "a" "first"
			replyHex+"00000003 00000002 00000007 00000003 62c3a9"+ // "bé"
			replyHex+"00000003 00000001 00000000"))
	}
}

func TestRow06EmptyList(t *testing.T) {
	h := startNegotiation(t, &tableOf{}, Limits{})
	h.Hello()
	if list := h.List(); len(list) != 0 {
		t.Errorf("%v", list)
	}
	if _, typ := h.TryInfo(optGo, ""); typ != repErrUnknown {
		t.Errorf("the default export of no exports: %#x", typ)
	}
}

func TestRow06LongestStrings(t *testing.T) {
	e := exportA()
	e.Name, e.Description = strings.Repeat("n", maxString), strings.Repeat("d", maxString)
	h := startNegotiation(t, &tableOf{exports: []*fakeExport{e}}, Limits{})
	h.Hello()
	if list := h.List(); len(list) != 1 || list[0] != (nbdtest.Listed{Name: e.Name, Description: e.Description}) {
		t.Errorf("%d exports, or other ones", len(list))
	}
	h.Go(e.Name)
	h.expectTransmission(e.Name)
}

// Rows 7 and 8: INFO and GO are answered alike, byte for byte.
func TestRow07InfoAndGoGolden(t *testing.T) {
	const (
		export      = "00000003 0000000c 0000 0102030405060000 000d"
		name        = "00000003 00000003 0001 61"
		description = "00000003 00000007 0002 6669727374"
		blocks      = "00000003 0000000e 0003 00000200 00001000 02000000"
		ack         = "00000001 00000000"
	)
	for _, tc := range []struct {
		name, data string
		replies    []string
	}{
		{"nothing asked", "00000001 61 0000", []string{export, ack}},
		{"export asked", "00000001 61 0001 0000", []string{export, ack}},
		{"name asked", "00000001 61 0001 0001", []string{export, name, ack}},
		{"name of the default asked", "00000000 0001 0001", []string{export, name, ack}},
		{"description asked", "00000001 61 0001 0002", []string{export, description, ack}},
		{"block size asked", "00000001 61 0001 0003", []string{export, blocks, ack}},
		{"all asked, and unknown ones", "00000001 61 0006 0003 7fff 0002 0001 0000 0004", []string{export, name, description, blocks, ack}},
		{"one asked three times", "00000001 61 0003 0003 0003 0003", []string{export, blocks, ack}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := startNegotiation(t, twoExports(), Limits{})
			h.Hello()
			for _, id := range []uint32{optInfo, optInfo, optGo} {
				h.SendOption(id, wire(t, tc.data))
				for _, r := range tc.replies {
					h.ExpectBytes(append(wire(t, replyHex), append([]byte{0, 0, 0, byte(id)}, wire(t, r)...)...))
				}
			}
			n := h.expectTransmission("a")
			if asked := bytes.Contains([]byte(strings.Join(tc.replies, "")), []byte(blocks)); n.blockSizesAsked != asked || !n.viaGo {
				t.Errorf("blockSizesAsked %v, viaGo %v", n.blockSizesAsked, n.viaGo)
			}
		})
	}
}

// After GO there is no padding, whatever was agreed on, and the first request
// may be on its way already.
func TestRow07GoLeavesWhatFollows(t *testing.T) {
	for _, flags := range []uint32{clientFixedNewstyle, clientFixedNewstyle | clientNoZeroes} {
		client, server := nbdtest.Socketpair(t)
		rest := make(chan string, 1)
		go func() {
			if _, err := negotiate(server, twoExports(), Limits{}); err != nil {
				t.Error(err)
			}
			b := make([]byte, 100)
			n, _ := server.Read(b)
			server.Close()
			rest <- string(b[:n])
		}()
		client.Greet()
		client.SendClientFlags(flags)
		client.Send(append(nbdtest.OptionBytes(optGo, nbdtest.InfoData("bé")), "first request"...))
		client.ExpectOptionReply(optGo, repInfo)
		client.ExpectOptionReply(optGo, repAck)
		client.ExpectClosed()
		if got := <-rest; got != "first request" {
			t.Errorf("the transmission half reads %q", got)
		}
	}
}

func TestRow07MalformedRequests(t *testing.T) {
	for _, tc := range []struct{ name, data string }{
		{"empty", ""},
		{"shorter than its fixed part", "00000000 00"},
		{"name longer than the data", "00000002 61 0000"},
		{"name reaches into the count", "00000003 61 0000"},
		{"name of 4 GiB", "ffffffff 61 0000"},
		{"name of 4 GiB less what would wrap", "fffffffa 61 0000"},
		{"fewer requests than announced", "00000001 61 0002 0000"},
		{"more requests than announced", "00000001 61 0000 0000"},
		{"half a request", "00000001 61 0001 00"},
		{"65535 requests announced", "00000001 61 ffff"},
		{"NUL in the name", "00000003 610062 0000"},
		{"name not UTF-8", "00000001 ff 0000"},
		{"name too long", "00001001" + strings.Repeat("61", 4097) + "0000"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := startNegotiation(t, twoExports(), Limits{})
			h.Hello()
			for _, id := range []uint32{optInfo, optGo} {
				h.SendOption(id, wire(t, tc.data))
				h.ExpectOptionReply(id, repErrInvalid)
			}
			h.Go("a")
			h.expectTransmission("a")
		})
	}
}

func TestRow07UnknownExport(t *testing.T) {
	h := startNegotiation(t, twoExports(), Limits{})
	h.Hello()
	for _, name := range []string{"c", "A", "a ", "aa", "b", strings.Repeat("x", maxString)} {
		for _, id := range []uint32{optInfo, optGo} {
			h.SendOption(id, nbdtest.InfoData(name, infoName, infoBlockSize))
			if message := h.ExpectOptionReply(id, repErrUnknown); len(message) > 256 {
				t.Errorf("%d bytes of message", len(message))
			}
		}
	}
	h.Go("a")
	h.expectTransmission("a")
}

func TestRow07InfoLeavesNoState(t *testing.T) {
	t.Run("GO of another", func(t *testing.T) {
		h := startNegotiation(t, twoExports(), Limits{})
		h.Hello()
		h.Info("a", infoBlockSize)
		if e := h.Go("bé"); e.Size != 1<<20 {
			t.Errorf("size %d", e.Size)
		}
		if n := h.expectTransmission("bé"); n.blockSizesAsked {
			t.Error("GO did not ask for block sizes; INFO did, of another export")
		}
	})
	t.Run("GO of an unknown one", func(t *testing.T) {
		h := startNegotiation(t, twoExports(), Limits{})
		h.Hello()
		h.Info("a")
		if _, typ := h.TryInfo(optGo, "unknown"); typ != repErrUnknown {
			t.Errorf("reply %#x", typ)
		}
		h.Info("bé")
		h.Go("")
		h.expectTransmission("a")
	})
}

// What an export can't say about itself is not told to its clients.
func TestRow07UnavailableExport(t *testing.T) {
	secret := errors.New("open /srv/secret: permission denied")
	broken, lies := exportA(), exportB()
	broken.broken, lies.MinBlock = secret, 3
	h := startNegotiation(t, &tableOf{exports: []*fakeExport{broken, lies}}, Limits{})
	h.Hello()
	for _, name := range []string{"a", "bé"} {
		for _, id := range []uint32{optInfo, optGo} {
			h.SendOption(id, nbdtest.InfoData(name))
			if message := h.ExpectOptionReply(id, repErrUnknown); bytes.Contains(message, []byte("secret")) {
				t.Errorf("message %q", message)
			}
		}
	}
	h.Abort()
}

// An export without a description sends none, rather than an empty one.
func TestRow07NoDescription(t *testing.T) {
	h := startNegotiation(t, twoExports(), Limits{})
	h.Hello()
	if e := h.Info("bé", infoDescription, infoName); e.Description != nil || *e.Name != "bé" {
		t.Errorf("%+v", e)
	}
}

// Transmission flags: HAS_FLAGS always, SEND_DF not before structured replies;
// option_meta_test.go has what comes with those.
func TestTransmissionFlags(t *testing.T) {
	e := exportA()
	e.Flags = flagSendDF | flagSendTrim
	tbl := &tableOf{exports: []*fakeExport{e}}
	h := startNegotiation(t, tbl, Limits{})
	h.Hello()
	if got := h.Info("a").Flags; got != flagHasFlags|flagSendTrim {
		t.Errorf("INFO: flags %#x", got)
	}
	if got := h.ExportName("a").Flags; got != flagHasFlags|flagSendTrim {
		t.Errorf("EXPORT_NAME: flags %#x", got)
	}
	if n := h.expectTransmission("a"); n.info.Flags != flagHasFlags|flagSendTrim {
		t.Errorf("outcome: flags %#x", n.info.Flags)
	}
}

// Row 28: a grown backing is visible to the next answer.
func TestRow28GrownExport(t *testing.T) {
	e := exportA()
	h := startNegotiation(t, &tableOf{exports: []*fakeExport{e}}, Limits{})
	h.Hello()
	h.Info("a")
	e.Size = 1 << 40
	if got := h.Go("a").Size; got != 1<<40 {
		t.Errorf("size %#x", got)
	}
	h.expectTransmission("a")
}
