package vm

import (
	"bytes"
	"io"
	"sync"
)

// maxKept is how much output of a command, and of the console, is kept, in
// bytes: its end.
const maxKept = 4 << 20

// safeBuffer collects bytes, and may be read meanwhile.
type safeBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

// add appends all of p.
func (b *safeBuffer) add(p []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf.Write(p)
}

// keep appends p and forgets what is more than maxKept bytes ago.
func (b *safeBuffer) keep(p []byte) {
	b.add(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	if extra := b.buf.Len() - maxKept; extra > 0 {
		b.buf.Next(extra)
	}
}

// bytes returns what is there. It is valid until the next addition.
func (b *safeBuffer) bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Bytes()
}

// String returns a copy of what is there.
func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// tee keeps what is written and passes it on.
type tee struct {
	kept *safeBuffer
	to   io.Writer // nil for nobody
}

// Write implements io.Writer. Whoever can't take it does not keep us from
// keeping it.
func (t tee) Write(p []byte) (int, error) {
	t.kept.keep(p)
	if t.to != nil {
		_, _ = t.to.Write(p)
	}
	return len(p), nil
}
