package trace

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// MaxLine bounds a line, in bytes with its end. A line of the largest call
// that handlers make in practice is a tenth of it.
const MaxLine = 32 << 20

// Errors of reading; they come wrapped, with the line's number.
var (
	// ErrFormat: the first line is not a trace's header.
	ErrFormat = errors.New("not a scst_user trace (older recordings: convert them first)")
	// ErrVersion: a version that this reader does not know.
	ErrVersion = errors.New("unknown version of the trace format: use a newer program")
	// ErrLine: a line is too long or not an event.
	ErrLine = errors.New("bad line")
)

// Reader reads a trace, event by event. It has one user at a time.
type Reader struct {
	Header Header // the first line

	lines *lines
	done  func()    // ends decompression
	file  io.Closer // what Open opened, else nil
	last  uint64    // Seq of the last event
	err   error     // sticky
	cut   bool      // what this is a conversion of ended in the middle of a line
}

// Open opens a trace, compressed or not, and reads its header.
func Open(name string) (*Reader, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	r, err := NewReader(f)
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	r.file = f
	return r, nil
}

// NewReader reads the header of a trace, compressed or not. Close leaves in
// open. Errors: ErrFormat, ErrVersion, or what reading met.
func NewReader(in io.Reader) (*Reader, error) {
	l, done, err := newLines(in)
	if err != nil {
		return nil, err
	}
	r := &Reader{lines: l, done: done}
	if err := r.readHeader(); err != nil {
		done()
		return nil, err
	}
	return r, nil
}

func (r *Reader) readHeader() error {
	line, err := r.lines.next()
	switch {
	case err == io.EOF:
		return fmt.Errorf("trace: %w", ErrFormat)
	case err != nil:
		return err
	}
	switch err := json.Unmarshal(line, &r.Header); {
	case err != nil || r.Header.Format != Format:
		return fmt.Errorf("trace: %w", ErrFormat)
	case r.Header.Version != Version:
		return fmt.Errorf("trace: version %d, this program knows %d: %w", r.Header.Version, Version, ErrVersion)
	}
	return nil
}

// Next returns the next event, or io.EOF after the last one. Any other error
// stays: ErrLine with the line's number, or what reading met.
func (r *Reader) Next() (*Event, error) {
	if r.err != nil {
		return nil, r.err
	}
	e, err := r.event()
	r.err = err
	return e, err
}

func (r *Reader) event() (*Event, error) {
	line, err := r.lines.next()
	if err != nil {
		return nil, err
	}
	e := new(Event)
	if err := json.Unmarshal(line, e); err != nil {
		return nil, fmt.Errorf("trace: line %d: %w: %w", r.lines.n, ErrLine, err)
	}
	if err := e.check(r.last); err != nil {
		return nil, fmt.Errorf("trace: line %d: %w: %w", r.lines.n, ErrLine, err)
	}
	r.last = e.Seq
	return e, nil
}

// check says what is wrong with an event that follows the event last.
func (e *Event) check(last uint64) error {
	switch e.Kind {
	case KindOpen, KindEnter, KindClose, KindRelease, KindMark:
	case KindExit:
		if e.Call == 0 || e.Call >= e.Seq {
			return fmt.Errorf("exit %d says it belongs to call %d, want an earlier event", e.Seq, e.Call)
		}
	default:
		return fmt.Errorf("event %d has the unknown kind %q", e.Seq, e.Kind)
	}
	if e.Seq <= last {
		return fmt.Errorf("event %d comes after event %d", e.Seq, last)
	}
	return nil
}

// Truncated says, after io.EOF, that the file ended in the middle of a line or
// of a compressed block; that line was left out.
func (r *Reader) Truncated() bool { return r.lines.truncated || r.cut }

// Line is the number of the line that was read last, from 1.
func (r *Reader) Line() int { return r.lines.n }

// Close ends reading, and closes the file if Open opened it.
func (r *Reader) Close() error {
	r.done()
	if r.err == nil {
		r.err = os.ErrClosed
	}
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

// lines splits an unpacked stream into lines.
type lines struct {
	in        *bufio.Reader
	buf       []byte // the line, if it did not fit in in's buffer
	n         int    // number of the last line, from 1
	truncated bool
}

func newLines(in io.Reader) (*lines, func(), error) {
	text, done, err := decompress(in)
	if err != nil {
		return nil, nil, fmt.Errorf("trace: %w", err)
	}
	return &lines{in: bufio.NewReaderSize(text, 64<<10)}, done, nil
}

// next returns the next line without its end; it is valid until the next call.
// io.EOF: there is none, or only the beginning of one.
func (l *lines) next() ([]byte, error) {
	l.buf = l.buf[:0]
	for {
		part, err := l.in.ReadSlice('\n')
		if len(l.buf)+len(part) > MaxLine {
			return nil, fmt.Errorf("trace: line %d: %w: longer than %d bytes", l.n+1, ErrLine, MaxLine)
		}
		switch {
		case err == nil:
			l.n++
			if len(l.buf) == 0 {
				return bytes.TrimSuffix(part, []byte("\n")), nil
			}
			l.buf = append(l.buf, part...)
			return bytes.TrimSuffix(l.buf, []byte("\n")), nil
		case err == bufio.ErrBufferFull:
			l.buf = append(l.buf, part...)
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			l.truncated = len(l.buf)+len(part) > 0 || err == io.ErrUnexpectedEOF
			return nil, io.EOF
		default:
			return nil, fmt.Errorf("trace: line %d: %w", l.n+1, err)
		}
	}
}
