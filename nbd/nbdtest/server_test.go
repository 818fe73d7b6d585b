package nbdtest

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// server is a plain NBD server in memory that can be told to do one thing
// wrong: what the checks are checked against. It is right by being simple, and
// shares nothing with the real one.
type server struct {
	want  Expect
	fault string // what it does wrong; "": nothing

	mu     sync.Mutex // guards data and stall
	data   []byte
	stall  chan struct{} // next READ closes held and waits for it
	held   chan struct{}
	socket string

	closing  atomic.Bool
	listener net.Listener
	conns    sync.WaitGroup // one for each connection
	inFlight atomic.Int64   // requests being served
	stopped  chan struct{}
	open     sync.Map // net.Conn of all connections
}

func startServer(t testing.TB, want Expect, fault string) *server {
	t.Helper()
	dir, err := os.MkdirTemp("", "nbdtest")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{
		want: want, fault: fault, data: make([]byte, want.Size), stopped: make(chan struct{}),
		socket: filepath.Join(dir, "s"),
	}
	if s.listener, err = net.Listen("unix", s.socket); err != nil {
		t.Fatal(err)
	}
	s.listener.(*net.UnixListener).SetUnlinkOnClose(!s.does("leaves its socket behind"))
	s.conns.Go(s.accept)
	t.Cleanup(func() {
		s.listener.Close()
		s.open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		s.conns.Wait()
		os.RemoveAll(dir)
	})
	return s
}

func (s *server) does(fault string) bool { return s.fault == fault }

func (s *server) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.open.Store(c, nil)
		s.conns.Go(func() {
			defer s.open.Delete(c)
			defer c.Close()
			if s.negotiate(c) == nil {
				s.transmit(c)
			}
		})
	}
}

// shutdown is Running.Shutdown.
func (s *server) shutdown() {
	s.closing.Store(true)
	if s.does("drops what is in flight at shutdown") {
		s.open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true }) // before the client goes on
	}
	go func() {
		grace := 2 * time.Second // for clients that keep requests from being done
		if s.does("waits for stuck clients for ever") {
			grace = time.Hour
		}
		for end := time.Now().Add(grace); s.inFlight.Load() > 0 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		s.listener.Close()
		s.open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		s.conns.Wait()
		close(s.stopped)
	}()
}

var errEnd = errors.New("end of the connection")

// negotiate returns nil when transmission begins.
func (s *server) negotiate(c net.Conn) error {
	c.Write([]byte("NBDMAGICIHAVEOPT\x00\x03"))
	var b [16]byte
	if _, err := io.ReadFull(c, b[:4]); err != nil {
		return err
	}
	flags := binary.BigEndian.Uint32(b[:])
	if flags > 3 && !s.does("accepts unknown client flags") {
		return errEnd
	}
	informed := false // an INFO succeeded
	for {
		if _, err := io.ReadFull(c, b[:]); err != nil {
			return err
		}
		id, length := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
		if length > 1<<20 {
			return errEnd
		}
		data := make([]byte, length)
		known := id == OptExportName || id == OptAbort || id == OptList || id == OptInfo || id == OptGo
		if known || !s.does("leaves the data of unknown options") {
			if _, err := io.ReadFull(c, data); err != nil {
				return err
			}
		}
		if s.closing.Load() && id != OptAbort && !s.does("haggles on during shutdown") {
			s.reply(c, id, RepErrShutdown, nil)
			return errEnd
		}
		switch id {
		case OptExportName:
			if s.canonical(string(data)) == "" {
				return errEnd
			}
			reply := binary.BigEndian.AppendUint64(nil, s.want.Size)
			reply = binary.BigEndian.AppendUint16(reply, s.flags())
			if flags&NoZeroes == 0 || s.does("pads after NO_ZEROES") {
				reply = append(reply, make([]byte, 124)...)
			}
			c.Write(reply)
			return nil
		case OptAbort:
			if !s.does("does not acknowledge ABORT") {
				s.reply(c, id, RepAck, nil)
			}
			return errEnd
		case OptList:
			if len(data) > 0 {
				s.reply(c, id, RepErrInvalid, nil)
				continue
			}
			s.list(c)
		case OptInfo, OptGo:
			if done := s.info(c, id, data, &informed); done && id == OptGo {
				if s.does("reads past GO") {
					c.Read(make([]byte, 4096))
				}
				return nil
			}
		default:
			s.reply(c, id, RepErrUnsup, nil)
		}
	}
}

func (s *server) reply(c net.Conn, id, typ uint32, data []byte) {
	b := binary.BigEndian.AppendUint64(nil, MagicOptionReply)
	b = binary.BigEndian.AppendUint32(b, id)
	b = binary.BigEndian.AppendUint32(b, typ)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	c.Write(append(b, data...))
}

func (s *server) list(c net.Conn) {
	var packed []byte
	for _, name := range s.want.Exports {
		entry := append(binary.BigEndian.AppendUint32(nil, uint32(len(name))), name...)
		if packed = append(packed, entry...); !s.does("packs all names into one reply") {
			s.reply(c, OptList, RepServer, entry)
		}
	}
	if s.does("packs all names into one reply") {
		s.reply(c, OptList, RepServer, packed)
	}
	s.reply(c, OptList, RepAck, nil)
}

func (s *server) info(c net.Conn, id uint32, data []byte, informed *bool) bool {
	n := 0
	if len(data) >= 6 {
		n = int(binary.BigEndian.Uint32(data))
	}
	if len(data) < 6 || n > len(data)-6 || len(data) != 6+n+2*int(binary.BigEndian.Uint16(data[4+n:])) {
		s.reply(c, id, RepErrInvalid, nil)
		return false
	}
	name := s.canonical(string(data[4 : 4+n]))
	if name == "" && !(s.does("keeps an INFO's export for GO") && *informed) {
		s.reply(c, id, RepErrUnknown, nil)
		return false
	}
	*informed = true
	export := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64([]byte{0, InfoExport}, s.want.Size), s.flags())
	s.reply(c, id, RepInfo, export)
	for requests := data[6+n:]; len(requests) > 0; requests = requests[2:] {
		switch binary.BigEndian.Uint16(requests) {
		case InfoName:
			s.reply(c, id, RepInfo, append([]byte{0, InfoName}, name...))
		case InfoBlockSize:
			b := binary.BigEndian.AppendUint32([]byte{0, InfoBlockSize}, s.want.Blocks.Min)
			b = binary.BigEndian.AppendUint32(b, s.want.Blocks.Preferred)
			s.reply(c, id, RepInfo, binary.BigEndian.AppendUint32(b, s.want.Blocks.Max))
		}
	}
	s.reply(c, id, RepAck, nil)
	return true
}

// canonical returns the name of the export that a client means, "" for none.
// There is only one behind all names.
func (s *server) canonical(name string) string {
	if name == "" {
		return s.want.Export
	}
	if slices.Contains(s.want.Exports, name) {
		return name
	}
	return ""
}

func (s *server) flags() uint16 {
	switch {
	case s.does("offers DF without structured replies"):
		return s.want.Flags | FlagSendDF
	case s.does("does not say that it is read-only"):
		return s.want.Flags &^ FlagReadOnly
	}
	return s.want.Flags
}

// transmit serves requests, each on its own goroutine, until the client is
// done.
func (s *server) transmit(c net.Conn) {
	var replies sync.Mutex
	var outstanding sync.WaitGroup
	overlay := map[uint64][]byte{} // writes that only this connection sees
	var header [RequestSize]byte
	for {
		if _, err := io.ReadFull(c, header[:]); err != nil {
			break
		}
		magic := binary.BigEndian.Uint32(header[:])
		r := Request{
			Flags: binary.BigEndian.Uint16(header[4:]), Type: binary.BigEndian.Uint16(header[6:]),
			Cookie: binary.BigEndian.Uint64(header[8:]), Offset: binary.BigEndian.Uint64(header[16:]), Length: binary.BigEndian.Uint32(header[24:]),
		}
		if magic != MagicRequest && !s.does("does not look at the magic number") {
			break
		}
		if r.Type == CmdDisc {
			if s.does("answers DISC") {
				s.answer(c, &replies, r, OK, nil)
			}
			if s.does("drops what is outstanding at DISC") {
				return
			}
			if !s.does("goes on after DISC") {
				break
			}
			continue
		}
		errno := s.judge(r)
		if r.Type == CmdWrite || r.Type == CmdTrim && s.does("reads a payload behind TRIM") {
			if r.Length > harmless || s.does("closes for long payloads") && r.Length > s.want.Blocks.Max {
				break
			}
			if errno == OK || !s.does("leaves the payload of a refused WRITE") {
				r.Payload = make([]byte, r.Length)
				if _, err := io.ReadFull(c, r.Payload); err != nil {
					break
				}
			}
		}
		if r.Length == 0 && r.Type != CmdFlush && s.does("closes for no bytes") {
			break
		}
		if s.does("keeps writes to their connection") && errno == OK {
			if r.Type == CmdWrite {
				overlay[r.Offset] = r.Payload
				s.answer(c, &replies, r, OK, nil)
				continue
			}
			if own := overlay[r.Offset]; r.Type == CmdRead && len(own) == int(r.Length) {
				s.answer(c, &replies, r, OK, own)
				continue
			}
		}
		outstanding.Add(1)
		s.inFlight.Add(1)
		go func() {
			defer outstanding.Done()
			defer s.inFlight.Add(-1)
			var data []byte
			if errno == OK {
				data = s.execute(r)
			}
			if r.Type == CmdRead && errno != OK && s.does("says success before a READ fails") {
				s.answer(c, &replies, r, OK, nil)
				c.Close()
				return
			}
			s.answer(c, &replies, r, errno, data)
		}()
	}
	outstanding.Wait()
}

func (s *server) answer(c net.Conn, replies *sync.Mutex, r Request, errno Errno, data []byte) {
	if s.does("keeps 32 bits of a cookie") {
		r.Cookie &= 1<<32 - 1
	}
	b := binary.BigEndian.AppendUint32(nil, MagicSimpleReply)
	b = binary.BigEndian.AppendUint32(b, uint32(errno))
	b = binary.BigEndian.AppendUint64(b, r.Cookie)
	replies.Lock()
	defer replies.Unlock()
	c.Write(append(b, data...))
}

// judge decides what a request deserves.
func (s *server) judge(r Request) Errno {
	if s.closing.Load() && !s.does("serves new commands during shutdown") {
		return ESHUTDOWN
	}
	allowed := uint16(CmdFlagFUA)
	if r.Type == CmdWriteZeroes {
		allowed |= CmdFlagNoHole | CmdFlagFastZero
	}
	past := r.Offset > s.want.Size || uint64(r.Length) > s.want.Size-r.Offset
	if s.does("lets offset and length wrap") {
		past = r.Offset+uint64(r.Length) > s.want.Size
	}
	block := uint64(s.want.Blocks.Min)
	switch {
	case r.Type > CmdWriteZeroes:
		return EINVAL
	case r.Flags&^allowed != 0 && !s.does("ignores unknown flags"):
		return EINVAL
	case r.Flags&CmdFlagFUA != 0 && r.Type == CmdRead && s.does("refuses FUA where it means nothing"):
		return EINVAL
	case modifies(r.Type) && !writable(s.want) && !s.does("writes to a read-only export"):
		return EPERM
	case r.Type == CmdFlush:
		return OK
	case (r.Type == CmdRead || r.Type == CmdWrite) && r.Length > s.want.Blocks.Max,
		r.Length > s.want.Blocks.Max && s.does("limits lengths without payload"):
		return EINVAL
	case past && s.does("grows the export"):
		return OK
	case past && (r.Type == CmdWrite || r.Type == CmdWriteZeroes):
		return ENOSPC
	case past:
		return EINVAL
	case (r.Offset%block != 0 || uint64(r.Length)%block != 0) && !s.does("rounds what is unaligned"):
		return EINVAL
	}
	return OK
}

// execute does what was found right.
func (s *server) execute(r Request) []byte {
	if r.Type == CmdRead {
		s.mu.Lock()
		stall, held := s.stall, s.held
		s.stall = nil
		s.mu.Unlock()
		if stall != nil {
			close(held)
			<-stall
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	from, to := r.Offset, r.Offset+uint64(r.Length)
	if r.Type != CmdFlush && (from > to || to > s.want.Size) {
		return make([]byte, r.Length) // of a server that wraps or grows
	}
	switch {
	case r.Type == CmdRead:
		return append([]byte(nil), s.data[from:to]...)
	case r.Type == CmdWrite:
		copy(s.data[from:to], r.Payload)
	case r.Type == CmdTrim && s.does("trims whole pages around"):
		clear(s.data[from/4096*4096 : min((to+4095)/4096*4096, s.want.Size)])
	case r.Type == CmdTrim, r.Type == CmdWriteZeroes && r.Length <= 64<<20:
		if s.does("zeroes only whole pages") {
			from, to = (from+4095)/4096*4096, to/4096*4096
		}
		if from < to {
			clear(s.data[from:to])
		}
	case r.Type == CmdWriteZeroes && !s.does("zeroes 64 MiB at most"):
		clear(s.data[from:to])
	}
	return nil
}

// hold is Running.Stall.
func (s *server) hold() (<-chan struct{}, func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stall := make(chan struct{})
	s.stall, s.held = stall, make(chan struct{})
	return s.held, func() { close(stall) }
}
