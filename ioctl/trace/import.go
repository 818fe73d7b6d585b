package trace

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// OpenAny is Open for people's tools: a recording in the older format is
// converted on the way, in memory. Its header then says so in Note.
func OpenAny(name string) (*Reader, error) {
	r, err := Open(name)
	if !errors.Is(err, ErrFormat) {
		return r, err
	}
	f, oldErr := os.Open(name)
	if oldErr != nil {
		return nil, fmt.Errorf("trace: %w", oldErr)
	}
	defer f.Close()
	var text bytes.Buffer
	w, oldErr := NewWriter(&text, Header{Source: "module", Note: "converted from the older format"})
	if oldErr != nil {
		return nil, oldErr
	}
	c, oldErr := Convert(f, w)
	if oldErr != nil || c.Events == 0 {
		return nil, err // neither format: what Open said is what to tell
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	r, err = NewReader(&text)
	if err != nil {
		return nil, err
	}
	r.cut = c.Truncated
	return r, nil
}

// Each calls f for every event that is left, in order, until f's first error,
// which it returns.
func (r *Reader) Each(f func(*Event) error) error {
	for {
		e, err := r.Next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		if err := f(e); err != nil {
			return err
		}
	}
}

// Recording is a whole trace in memory.
type Recording struct {
	Header    Header
	Events    []*Event // by Seq
	Truncated bool     // the file ended in the middle of a line
}

// Load reads a whole trace, of either format. It takes a few times the
// unpacked file's size of memory.
func Load(name string) (*Recording, error) {
	r, err := OpenAny(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	rec, err := ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return rec, nil
}

// ReadAll reads what is left of r.
func ReadAll(r *Reader) (*Recording, error) {
	rec := &Recording{Header: r.Header}
	err := r.Each(func(e *Event) error {
		rec.Events = append(rec.Events, e)
		return nil
	})
	rec.Truncated = r.Truncated()
	return rec, err
}
