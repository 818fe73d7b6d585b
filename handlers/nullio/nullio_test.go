package nullio

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"scstuser/handlers"
	"scstuser/handlers/backingtest"

	"golang.org/x/sys/unix"
)

func TestConformance(t *testing.T) {
	backingtest.Run(t, func(t *testing.T, size int64) handlers.Backing {
		return New(size, false)
	}, backingtest.Opts{Forgets: true, NoAllocs: true})
}

// I7: what an earlier command left in the buffer must not reach the reader.
func TestReadLeavesNothingOfTheBuffer(t *testing.T) {
	d := New(4096, false)
	p := bytes.Repeat([]byte("secret"), 100)
	if n, err := d.ReadAt(p, 8); n != len(p) || err != nil {
		t.Fatal(n, err)
	}
	if !bytes.Equal(p, make([]byte, len(p))) {
		t.Error("the buffer's old bytes were returned")
	}
}

func TestReadOnly(t *testing.T) {
	d := New(4096, true)
	if _, err := d.WriteAt(make([]byte, 1), 0); !errors.Is(err, ErrReadOnly) || !errors.Is(err, unix.EROFS) {
		t.Errorf("write: %v", err)
	}
	if _, err := d.ReadAt(make([]byte, 1), 0); err != nil {
		t.Errorf("read: %v", err)
	}
}

func TestLargestSize(t *testing.T) {
	d := New(math.MaxInt64, false)
	if _, err := d.WriteAt(make([]byte, 1), math.MaxInt64-1); err != nil {
		t.Errorf("last byte: %v", err)
	}
	if _, err := d.WriteAt(make([]byte, 2), math.MaxInt64-1); !errors.Is(err, ErrRange) {
		t.Errorf("beyond: %v", err)
	}
	if New(-1, false).Size() != 0 {
		t.Error("negative size")
	}
}

func BenchmarkTryReadAt4K(b *testing.B) {
	d, p := New(1<<30, false), make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if err := d.TryReadAt(p, 8192); err != nil {
			b.Fatal(err)
		}
	}
}
