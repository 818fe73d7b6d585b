package nbd

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// handshakeConn is what negotiation needs of a connection.
type handshakeConn interface {
	io.Reader
	io.Writer
	SetDeadline(t time.Time) error
}

// exportTable is what negotiation needs to know of the server. Its methods are
// called by many connections at once.
type exportTable interface {
	// lookup finds an export by the name a client gave; "" is the default.
	lookup(name string) (ref exportRef, ok bool)
	// list returns the exports in the order to show them, each once: the
	// default export under its own name only.
	list() []ExportInfo
	// shuttingDown reports whether the server takes no more clients.
	shuttingDown() bool
}

// exportRef is a handle on one export. It pins nothing: the backing is not
// opened for a client before negotiation is done (row 11).
type exportRef interface {
	// info is asked anew for each answer, so that a grown backing is seen by
	// every new client at once (row 28). Clients are not told its error, which
	// may name files of ours: reporting it is the implementation's part.
	info() (ExportInfo, error)
}

// negotiated is the outcome of a negotiation that led to transmission.
type negotiated struct {
	export exportRef
	// info is what the client was told, flags included. The transmission
	// half must serve exactly this.
	info ExportInfo
	// noZeroes is set if client and server agreed on NO_ZEROES.
	noZeroes bool
	// viaGo tells GO from EXPORT_NAME.
	viaGo bool
	// blockSizesAsked is set if the client's GO requested BLOCK_SIZE: such a
	// client has promised to keep to the size constraints.
	blockSizesAsked bool
	// name is the export's name as the client wrote it, mode what it will send
	// and is sent, and meta the metadata contexts that it has selected. STARTTLS
	// has to forget mode and meta.
	name string
	mode replyMode
	meta metaContexts
}

// How a negotiation ends that does not lead to transmission. The connection is
// to be closed in each case; they differ in what is worth a log line.
var (
	// errAborted: the client sent ABORT or hung up.
	errAborted = errors.New("client left during negotiation")
	// errRefused: the client used EXPORT_NAME, which has no error reply, for
	// something that is not to be had.
	errRefused = errors.New("export refused")
	// errShuttingDown: the server is shutting down.
	errShuttingDown = errors.New("server is shutting down")
	// errHandshakeTimeout: the client took longer than it may.
	errHandshakeTimeout = errors.New("negotiation took too long")
)

// protocolError is a client's breach of the protocol, or of our limits, that
// can't be answered by an error reply.
type protocolError struct{ breach string }

func (e *protocolError) Error() string { return "protocol error: " + e.breach }

func protocolErrorf(format string, args ...any) error {
	return &protocolError{breach: fmt.Sprintf(format, args...)}
}

// negotiate runs the handshake on a fresh connection, to the choice of an
// export or to an error that ends the connection; the caller closes it then.
// The error is one of the err variables above, wrapped, or a *protocolError,
// or what the connection said.
//
// It takes over the connection's deadlines and clears them when it succeeds.
// To interrupt it for a shutdown, first let tbl.shuttingDown report true and
// then set a deadline: until it strikes options are answered with
// ERR_SHUTDOWN, and then negotiate returns errShuttingDown. A client that was
// let through in the same moment is the transmission half's to notice.
func negotiate(conn handshakeConn, tbl exportTable, lim Limits) (negotiated, error) {
	lim.EnsureDefaults()
	if err := conn.SetDeadline(time.Now().Add(lim.HandshakeTimeout)); err != nil {
		return negotiated{}, fmt.Errorf("set the handshake timeout: %w", err)
	}
	n := newNegotiator(conn, tbl, lim)
	if err := n.run(); err != nil {
		return negotiated{}, n.explain(err)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return negotiated{}, fmt.Errorf("clear the handshake timeout: %w", err)
	}
	return n.out, nil
}

// negotiator is the state of one negotiation. Only the connection's goroutine
// touches it.
type negotiator struct {
	conn handshakeConn // read without a buffer: see the package comment
	w    *bufio.Writer // to conn; flushed after each option's replies
	tbl  exportTable
	lim  Limits

	fixed     bool   // the client set FIXED_NEWSTYLE: it may use all options
	options   int    // options read so far
	bytesLeft uint64 // bytes of options the client may still send

	// scratch holds headers and skipped data; data holds the data of one
	// option and grows to the longest one kept, lim.MaxOptionBytes at most.
	scratch [512]byte
	data    []byte

	out negotiated
}

// newNegotiator begins a negotiation. lim has its defaults.
func newNegotiator(conn handshakeConn, tbl exportTable, lim Limits) *negotiator {
	return &negotiator{
		conn:      conn,
		w:         bufio.NewWriter(conn),
		tbl:       tbl,
		lim:       lim,
		bytesLeft: lim.MaxNegotiationBytes,
	}
}

// run greets the client and answers options until one of them ends the
// negotiation. It returns nil if n.out is to be served.
func (n *negotiator) run() error {
	// A shutdown that began before our deadline was set has had no other way
	// of reaching us.
	if n.tbl.shuttingDown() {
		return errShuttingDown
	}
	if err := n.greet(); err != nil {
		return err
	}
	for {
		opt, err := n.readOption()
		if err != nil {
			return err
		}
		done, err := n.answer(opt)
		if flushErr := n.w.Flush(); err == nil {
			err = flushErr
		}
		if done || err != nil {
			return err
		}
	}
}

// greet sends the newstyle greeting and takes the client's flags (row 1).
func (n *negotiator) greet() error {
	b := n.scratch[:0]
	b = binary.BigEndian.AppendUint64(b, magicInit)
	b = binary.BigEndian.AppendUint64(b, magicOption)
	b = binary.BigEndian.AppendUint16(b, handshakeFixedNewstyle|handshakeNoZeroes)
	if _, err := n.conn.Write(b); err != nil {
		return err
	}

	b = n.scratch[:4]
	if _, err := io.ReadFull(n.conn, b); err != nil {
		return err
	}
	flags := binary.BigEndian.Uint32(b)
	if unknown := flags &^ (clientFixedNewstyle | clientNoZeroes); unknown != 0 {
		return protocolErrorf("unknown client flags %#x", unknown)
	}
	n.fixed = flags&clientFixedNewstyle != 0
	n.out.noZeroes = flags&clientNoZeroes != 0
	return nil
}

// explain turns an error of the connection into what it means here.
func (n *negotiator) explain(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		if n.tbl.shuttingDown() {
			return errShuttingDown
		}
		return fmt.Errorf("%w (limit %v)", errHandshakeTimeout, n.lim.HandshakeTimeout)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe),
		errors.Is(err, net.ErrClosed), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("%w: %w", errAborted, err)
	}
	return err
}
