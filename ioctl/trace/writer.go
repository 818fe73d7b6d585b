package trace

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// Writer writes a trace. Several threads may use one.
type Writer struct {
	mu    sync.Mutex // guards what follows, and so the order of lines
	seq   uint64     // of the last event
	buf   *bufio.Writer
	comp  compressor // what buf writes to, nil: not compressed
	file  io.Closer  // what Create made, else nil
	err   error      // the first that writing met; sticky
	ended bool
}

// Create makes the file (0600: it may hold users' data) and writes the header
// line; the name's end decides about compression: .gz, .zst, or none.
func Create(name string, h Header) (*Writer, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	w, err := newWriter(f, compressionOf(name), h)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	w.file = f
	return w, nil
}

// NewWriter writes the header line to out, uncompressed, and the events after
// it. Close leaves out open.
func NewWriter(out io.Writer, h Header) (*Writer, error) {
	return newWriter(out, plain, h)
}

func newWriter(out io.Writer, c compression, h Header) (*Writer, error) {
	w := &Writer{}
	comp, err := compress(out, c)
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	if comp != nil {
		w.comp, out = comp, comp
	}
	w.buf = bufio.NewWriterSize(out, 64<<10)
	h.Format, h.Version = Format, Version
	if err := w.line(h); err != nil {
		return nil, err
	}
	return w, nil
}

// ErrClosed is what a closed Writer answers.
var ErrClosed = errors.New("trace: the writer is closed")

// Write appends an event, whose Seq it fills in and returns. e is not kept.
// After an error every Write fails with that one, and the file is good up to
// where it happened.
func (w *Writer) Write(e *Event) (uint64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return 0, ErrClosed
	}
	if w.err != nil {
		return 0, w.err
	}
	e.Seq = w.seq + 1
	if err := w.line(e); err != nil {
		return 0, err
	}
	w.seq++
	return w.seq, nil
}

// line writes v and remembers an error of the stream. What can't be JSON is
// refused and leaves the stream as it was. Caller holds mu.
func (w *Writer) line(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("trace: %w", err)
	}
	if len(b) >= MaxLine {
		return fmt.Errorf("trace: an event of %d bytes, at most %d are allowed", len(b), MaxLine-1)
	}
	if _, err := w.buf.Write(append(b, '\n')); err != nil {
		w.err = fmt.Errorf("trace: %w", err)
	}
	return w.err
}

// Flush brings all events so far to the file (not to the disk): what a crash
// of this process then leaves behind can be read.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return ErrClosed
	}
	return w.flush()
}

// flush is Flush for a caller that holds mu.
func (w *Writer) flush() error {
	if w.err != nil {
		return w.err
	}
	err := w.buf.Flush()
	if err == nil && w.comp != nil {
		err = w.comp.Flush()
	}
	if err != nil {
		w.err = fmt.Errorf("trace: %w", err)
	}
	return w.err
}

// Close ends the trace, and closes the file if Create made it. It returns the
// first error that writing met. A second Close is ErrClosed.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return ErrClosed
	}
	w.ended = true
	err := w.flush()
	if w.comp != nil {
		err = errors.Join(err, w.comp.Close())
	}
	if w.file != nil {
		err = errors.Join(err, w.file.Close())
	}
	return err
}

// last is the number of the last event.
func (w *Writer) last() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seq
}

// good says whether the stream takes more events.
func (w *Writer) good() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err == nil && !w.ended
}
