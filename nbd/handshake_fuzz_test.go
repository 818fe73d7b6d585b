package nbd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"scstuser/nbd/nbdtest"
)

// cannedConn is a client that has said all it will say: the server reads that
// and EOF.
type cannedConn struct {
	in   *bytes.Reader
	out  bytes.Buffer
	read int // bytes the server has read
}

func newCannedConn(in []byte) *cannedConn { return &cannedConn{in: bytes.NewReader(in)} }

func (c *cannedConn) Read(b []byte) (int, error) {
	n, err := c.in.Read(b)
	c.read += n
	return n, err
}

func (c *cannedConn) Write(b []byte) (int, error)   { return c.out.Write(b) }
func (c *cannedConn) SetDeadline(_ time.Time) error { return nil }

// FuzzNegotiate feeds a client's flags and whatever comes after them to a
// negotiation: it ends, keeps its limits, and says how it ended.
func FuzzNegotiate(f *testing.F) {
	goA := nbdtest.OptionBytes(optGo, nbdtest.InfoData("a", infoName, infoBlockSize))
	f.Add(uint32(3), goA)
	f.Add(uint32(3), slices.Concat(nbdtest.OptionBytes(optList, nil), nbdtest.OptionBytes(77, []byte("x")), goA, []byte("rest")))
	f.Add(uint32(0), nbdtest.OptionBytes(optExportName, []byte("bé")))
	f.Add(uint32(3), nbdtest.OptionBytes(optInfo, []byte("\x00\x00\x00\xff")))
	f.Add(uint32(3), nbdtest.OptionBytes(optAbort, []byte("bye")))
	f.Add(uint32(3), []byte("IHAVEOPT\x00\x00\x00\x07\xff\xff\xff\xff"))
	f.Add(uint32(4), []byte{})
	f.Add(uint32(3), slices.Concat(nbdtest.OptionBytes(optStructuredReply, nil), nbdtest.OptionBytes(optListMetaContext, nbdtest.MetaData("a")),
		nbdtest.OptionBytes(optSetMetaContext, nbdtest.MetaData("a", "base:allocation")), nbdtest.OptionBytes(optExtendedHeaders, nil), goA))
	f.Fuzz(func(t *testing.T, flags uint32, stream []byte) {
		conn := newCannedConn(append(binary.BigEndian.AppendUint32(nil, flags), stream...))
		lim := Limits{MaxOptions: 10, MaxOptionBytes: 64, MaxNegotiationBytes: 1000}
		n := newNegotiator(conn, twoExports(), *lim.EnsureDefaults())
		err := n.run()

		if err == nil && n.out.export == nil {
			t.Error("success without an export")
		}
		var breach *protocolError
		if err = n.explain(err); err != nil && !errors.Is(err, errAborted) && !errors.Is(err, errRefused) && !errors.As(err, &breach) {
			t.Errorf("an error of no known kind: %v", err)
		}
		if cap(n.data) > 64 {
			t.Errorf("%d bytes held for an option", cap(n.data))
		}
		if conn.read > 4+1000 {
			t.Errorf("%d bytes read", conn.read)
		}
		if conn.out.Len() > 18+10*400 {
			t.Errorf("%d bytes of answers to %d bytes", conn.out.Len(), conn.read)
		}
	})
}

// FuzzParseInfoRequest: what parses can be built again, up to requests that
// don't count.
func FuzzParseInfoRequest(f *testing.F) {
	f.Add(nbdtest.InfoData("name", infoName, infoDescription, infoBlockSize, 99))
	f.Add(nbdtest.InfoData(""))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		req, err := parseInfoRequest(data)
		if err != nil {
			return
		}
		head := nbdtest.InfoData(req.name)
		head = head[:len(head)-2]
		if !bytes.HasPrefix(data, head) {
			t.Errorf("%x does not hold the name %q", data, req.name)
		}
		if rest := data[len(head):]; int(binary.BigEndian.Uint16(rest))*2 != len(rest)-2 {
			t.Errorf("%x: the requests don't add up", data)
		}
		if err := validateString(req.name); err != nil {
			t.Errorf("accepted a name that %v", err)
		}
	})
}

// step is one option of a client that keeps to the protocol, with what has to
// come of it: the types of the replies, and, if it ends the negotiation, how.
type step struct {
	bytes   []byte
	id      uint32
	replies []uint32
	exports string // name of the export that is served after this
	err     error
}

// TestNegotiationSequences: whatever valid options come in whatever order,
// each is answered as if it were alone, and the first that ends the
// negotiation is the last one read.
func TestNegotiationSequences(t *testing.T) {
	name := rapid.SampledFrom([]string{"", "a", "bé", "unknown", "A"})
	requests := rapid.SliceOfN(rapid.Uint16Range(0, 5), 0, 5)
	known := map[string]string{"": "a", "a": "a", "bé": "bé"}

	steps := rapid.Custom(func(t *rapid.T) step {
		switch id := rapid.Uint32Range(2, 12).Draw(t, "option"); id {
		case optAbort:
			return step{nbdtest.OptionBytes(id, []byte("bye")), id, []uint32{repAck}, "", errAborted}
		case optList:
			return step{nbdtest.OptionBytes(id, nil), id, []uint32{repServer, repServer, repAck}, "", nil}
		case optInfo, optGo:
			name, asked := name.Draw(t, "name"), requests.Draw(t, "requests")
			s := step{bytes: nbdtest.OptionBytes(id, nbdtest.InfoData(name, asked...)), id: id}
			canonical, ok := known[name]
			if !ok {
				s.replies = []uint32{repErrUnknown}
				return s
			}
			s.replies = []uint32{repInfo}
			for _, r := range []uint16{infoName, infoDescription, infoBlockSize} {
				if slices.Contains(asked, r) && (r != infoDescription || canonical == "a") {
					s.replies = append(s.replies, repInfo)
				}
			}
			s.replies = append(s.replies, repAck)
			if id == optGo {
				s.exports = canonical
			}
			return s
		case optStructuredReply, optExtendedHeaders, optListMetaContext, optSetMetaContext:
			// With other data the answer depends on what came before:
			// option_meta_test.go.
			return step{nbdtest.OptionBytes(id, []byte("x")), id, []uint32{repErrInvalid}, "", nil}
		default:
			return step{nbdtest.OptionBytes(id, nil), id, []uint32{repErrUnsup}, "", nil}
		}
	})

	rapid.Check(t, func(t *rapid.T) {
		sequence := rapid.SliceOfN(steps, 0, 20).Draw(t, "steps")
		conn := newCannedConn(clientBytes(sequence))
		got, err := negotiate(conn, twoExports(), Limits{})

		want := [][2]uint32(nil)
		read := 4
		end := step{err: errAborted} // EOF
		for _, s := range sequence {
			read += len(s.bytes)
			for _, typ := range s.replies {
				want = append(want, [2]uint32{s.id, typ})
			}
			if s.exports != "" || s.err != nil {
				end = s
				break
			}
		}
		if replies, bad := replyTypes(conn.out.Bytes()[18:]); bad != nil || !slices.Equal(replies, want) {
			t.Fatalf("replies %x (%v), want %x", replies, bad, want)
		}
		if conn.read != read {
			t.Errorf("%d bytes read, want %d", conn.read, read)
		}
		if !errors.Is(err, end.err) || got.info.Name != end.exports {
			t.Errorf("ended with export %q, error %v; want %q, %v", got.info.Name, err, end.exports, end.err)
		}
	})
}

// clientBytes is all that a client says which sends these steps.
func clientBytes(sequence []step) []byte {
	b := []byte{0, 0, 0, 3}
	for _, s := range sequence {
		b = append(b, s.bytes...)
	}
	return b
}

// replyTypes splits a stream of option replies into options and reply types.
func replyTypes(b []byte) (types [][2]uint32, err error) {
	for len(b) > 0 {
		if len(b) < 20 || binary.BigEndian.Uint64(b) != nbdtest.MagicOptionReply {
			return types, fmt.Errorf("%x is no reply", b)
		}
		types = append(types, [2]uint32{binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])})
		length := binary.BigEndian.Uint32(b[16:])
		if uint64(len(b)-20) < uint64(length) {
			return types, fmt.Errorf("%x ends too early", b)
		}
		b = b[20+length:]
	}
	return types, nil
}
