package nbd

import (
	"encoding/hex"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"scstuser/nbd/nbdtest"
)

// tableOf is an exportTable for tests: exports by name, the first one being
// the default.
type tableOf struct {
	exports []*fakeExport
	closing atomic.Bool
}

func (tbl *tableOf) lookup(name string) (exportRef, bool) {
	for i, e := range tbl.exports {
		if e.Name == name || name == "" && i == 0 {
			return e, true
		}
	}
	return nil, false
}

func (tbl *tableOf) list() []ExportInfo {
	var list []ExportInfo
	for _, e := range tbl.exports {
		list = append(list, e.ExportInfo)
	}
	return list
}

func (tbl *tableOf) shuttingDown() bool { return tbl.closing.Load() }

// fakeExport is an exportRef for tests.
type fakeExport struct {
	ExportInfo
	broken error // what info returns, if set
}

func (e *fakeExport) info() (ExportInfo, error) { return e.ExportInfo, e.broken }

// exportA and exportB are two exports that differ in everything.
func exportA() *fakeExport {
	return &fakeExport{ExportInfo: ExportInfo{
		Name: "a", Description: "first", Size: 0x0102030405060000, Flags: flagHasFlags | flagSendFlush | flagSendFUA,
		MinBlock: 512, PreferredBlock: 4096, MaxBlock: 32 << 20,
	}}
}

func exportB() *fakeExport {
	return &fakeExport{ExportInfo: ExportInfo{
		Name: "bé", Size: 1 << 20, Flags: flagHasFlags | flagReadOnly,
		MinBlock: 1, PreferredBlock: 512, MaxBlock: 1 << 20,
	}}
}

func twoExports() *tableOf { return &tableOf{exports: []*fakeExport{exportA(), exportB()}} }

// outcome is what negotiate returned.
type outcome struct {
	negotiated
	err error
}

// haggle is a negotiation under way: a client, and the server's outcome to
// come.
type haggle struct {
	*nbdtest.Conn
	t    *testing.T
	done chan outcome
}

// startNegotiation runs negotiate on one end of a socket pair. As the server
// does, it closes the connection if negotiate fails.
func startNegotiation(t *testing.T, tbl exportTable, lim Limits) *haggle {
	t.Helper()
	client, server := nbdtest.Socketpair(t)
	h := &haggle{Conn: client, t: t, done: make(chan outcome, 1)}
	go func() {
		got, err := negotiate(server, tbl, lim)
		if err != nil {
			server.Close()
		}
		h.done <- outcome{got, err}
	}()
	return h
}

// outcome waits for the end of the negotiation.
func (h *haggle) outcome() outcome {
	h.t.Helper()
	select {
	case o := <-h.done:
		return o
	case <-time.After(20 * time.Second):
		h.t.Fatal("negotiation does not end")
		panic("unreachable")
	}
}

// expectTransmission requires that the negotiation ended with the export
// called name.
func (h *haggle) expectTransmission(name string) negotiated {
	h.t.Helper()
	o := h.outcome()
	if o.err != nil {
		h.t.Fatalf("negotiation failed: %v", o.err)
	}
	if got := o.export.(*fakeExport).Name; got != name || o.info.Name != name {
		h.t.Fatalf("negotiated export %q (info of %q), want %q", got, o.info.Name, name)
	}
	return o.negotiated
}

// expectError requires that the server closes the connection, with this error.
func (h *haggle) expectError(want error) {
	h.t.Helper()
	h.ExpectClosed()
	if o := h.outcome(); !errors.Is(o.err, want) {
		h.t.Fatalf("negotiation ended with %v, want %v", o.err, want)
	}
}

// expectBreach requires that the server closes the connection because of a
// protocol error.
func (h *haggle) expectBreach() {
	h.t.Helper()
	h.ExpectClosed()
	var breach *protocolError
	if o := h.outcome(); !errors.As(o.err, &breach) {
		h.t.Fatalf("negotiation ended with %v, want a protocol error", o.err)
	}
}

// expectAborted requires that the negotiation ended because the client left.
func (h *haggle) expectAborted() {
	h.t.Helper()
	if o := h.outcome(); !errors.Is(o.err, errAborted) {
		h.t.Fatalf("negotiation ended with %v, want %v", o.err, errAborted)
	}
}

// wire decodes bytes written in hex, with blanks where a reader wants them.
func wire(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The parts of golden exchanges that repeat.
const (
	greetingHex = "4e42444d41474943 49484156454f5054 0003"
	optionHex   = "49484156454f5054 "
	replyHex    = "0003e889045565a9 "
)
