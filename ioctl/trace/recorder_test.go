package trace

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Threads record more than the queue holds: everything is there, in the order
// of the numbers that they were told.
func TestRecorderLosesNothing(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, Header{})
	if err != nil {
		t.Fatal(err)
	}
	r := NewRecorder(w)
	const threads, each = 4, RecorderQueue
	var wg sync.WaitGroup
	for tid := range threads {
		wg.Go(func() {
			for range each / 2 {
				seq, err := r.Write(&Event{Kind: KindEnter, TID: tid + 1})
				if err != nil {
					t.Error(err)
				}
				if _, err := r.Write(&Event{Kind: KindExit, TID: tid + 1, Call: seq}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Write(&Event{}); err != ErrClosed || r.Close() != ErrClosed {
		t.Error("a closed recorder works")
	}
	events, truncated := readAll(t, out.Bytes())
	if len(events) != threads*each || truncated {
		t.Fatalf("%d events, want %d", len(events), threads*each)
	}
	for _, e := range events {
		if e.Kind == KindExit && (events[e.Call-1].Kind != KindEnter || events[e.Call-1].TID != e.TID) {
			t.Fatalf("event %d returns from %d", e.Seq, e.Call)
		}
	}
}

// What a dead handler has left can be read before the recording ends.
func TestRecorderFlushes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.jsonl.zst")
	w, err := Create(path, Header{})
	if err != nil {
		t.Fatal(err)
	}
	r := NewRecorder(w)
	defer r.Close()
	for _, k := range []Kind{KindOpen, KindRelease} {
		if _, err := r.Write(&Event{Kind: k, File: 1}); err != nil {
			t.Fatal(err)
		}
	}
	for range 1000 {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if rd, err := NewReader(bytes.NewReader(b)); err == nil {
			rec, err := ReadAll(rd)
			rd.Close()
			if err == nil && len(rec.Events) == 2 {
				return
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("the events are not in the file")
}

// blocked is a file that takes nothing until it is opened.
type blocked struct{ open chan struct{} }

func (b blocked) Write(p []byte) (int, error) {
	<-b.open
	return len(p), nil
}

// A full queue makes the writer wait, and nothing else.
func TestRecorderIsBounded(t *testing.T) {
	b := blocked{make(chan struct{})}
	w, err := NewWriter(b, Header{})
	if err != nil {
		t.Fatal(err)
	}
	r := NewRecorder(w)
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		for range 3 * RecorderQueue {
			_, _ = r.Write(&Event{Kind: KindMark})
		}
	}()
	select {
	case <-wrote:
		t.Error("more events were taken than there is room for")
	case <-time.After(50 * time.Millisecond):
	}
	close(b.open)
	<-wrote
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// A full disk ends the recording, not those who are recorded.
func TestRecorderReportsFullDisk(t *testing.T) {
	w, err := NewWriter(&fullDisk{room: 1 << 10}, Header{})
	if err != nil {
		t.Fatal(err)
	}
	r := NewRecorder(w)
	for range 3 * RecorderQueue {
		_, err = r.Write(&Event{Kind: KindMark, Text: strings.Repeat("x", 100)})
	}
	if cerr := r.Close(); !errors.Is(err, syscall.ENOSPC) || !errors.Is(cerr, syscall.ENOSPC) {
		t.Errorf("%v, %v; want ENOSPC", err, cerr)
	}
}

// An event that can't be a line is replaced; the numbers of the others stay.
func TestRecorderLongEvent(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, Header{})
	if err != nil {
		t.Fatal(err)
	}
	r := NewRecorder(w)
	for _, text := range []string{"a", strings.Repeat("x", MaxLine), "b"} {
		if _, err := r.Write(&Event{Kind: KindMark, Text: text}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	events, _ := readAll(t, out.Bytes())
	if len(events) != 3 || !strings.Contains(events[1].Text, "left out") || events[2].Text != "b" {
		t.Errorf("%d events", len(events))
	}
}
