package trace

import (
	"fmt"
	"sync"
)

// Recorder is a Writer for the data path: it takes events as fast as they
// come and writes them on a goroutine of its own. Nothing is lost: while more
// than RecorderQueue events wait, Write waits, and so does who makes the calls
// that are recorded. Several threads may use one.
//
// What is written can be read, even if this process is killed, as soon as the
// queue was empty once, and after every KindRelease, that is, when a handler
// has died.
type Recorder struct {
	w    *Writer
	over chan struct{} // closed when the goroutine has ended

	mu    sync.Mutex // guards what follows, and the order of queue
	queue chan *Event
	seq   uint64
	ended bool

	errMu sync.Mutex // guards err; never held while anything waits
	err   error      // the first that writing met; sticky
}

// RecorderQueue is how many events can wait to be written.
const RecorderQueue = 4096

// NewRecorder makes a recorder that writes to w, which is its own from here
// on: Close closes it.
func NewRecorder(w *Writer) *Recorder {
	r := &Recorder{w: w, over: make(chan struct{}), queue: make(chan *Event, RecorderQueue), seq: w.last()}
	go r.run()
	return r
}

// Write takes an event, which must not be changed any more, and returns the
// Seq that it will have in the file. The error is that of an earlier event:
// the recording ends there, and what it has is good.
func (r *Recorder) Write(e *Event) (uint64, error) {
	if err := r.failed(); err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return 0, ErrClosed
	}
	r.seq++
	r.queue <- e // may wait: that is the bound
	return r.seq, nil
}

// Close writes what waits and ends the file. It returns the first error that
// writing met. A second Close is ErrClosed.
func (r *Recorder) Close() error {
	r.mu.Lock()
	if r.ended {
		r.mu.Unlock()
		return ErrClosed
	}
	r.ended = true
	close(r.queue)
	r.mu.Unlock()
	<-r.over
	err := r.w.Close()
	if failed := r.failed(); failed != nil {
		return failed
	}
	return err
}

// run writes until the queue is closed. After an error it only empties the
// queue, so that nobody waits.
func (r *Recorder) run() {
	defer close(r.over)
	for e := range r.queue {
		if r.failed() != nil {
			continue
		}
		if err := r.write(e); err != nil {
			r.errMu.Lock()
			r.err = err
			r.errMu.Unlock()
		}
	}
}

// write writes one event. One that can't be a line is replaced by a mark, so
// that the numbers of the others stay right.
func (r *Recorder) write(e *Event) error {
	before := r.w.last()
	_, err := r.w.Write(e)
	if err != nil && r.w.good() {
		_, err = r.w.Write(&Event{Kind: KindMark, Time: e.Time, Text: fmt.Sprintf("event %d is left out: %v", before+1, err)})
	}
	if err == nil && (len(r.queue) == 0 || e.Kind == KindRelease) {
		err = r.w.Flush()
	}
	return err
}

// failed is the error that ended the recording, if any.
func (r *Recorder) failed() error {
	r.errMu.Lock()
	defer r.errMu.Unlock()
	return r.err
}
