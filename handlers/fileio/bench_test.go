package fileio

import (
	"fmt"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

const benchSize = 16 << 20

func benchFile(b *testing.B, o Options) *File {
	f := mustOpen(b, image(b, b.TempDir(), benchSize), o)
	// In small pieces: one large write makes large folios, in which ext4
	// takes several times as long for each small write afterwards.
	p := fillBytes(64<<10, 'b')
	for off := int64(0); off < benchSize; off += int64(len(p)) {
		if _, err := f.WriteAt(p, off); err != nil {
			b.Fatal(err)
		}
	}
	return f
}

// run does op at varying places, n bytes each.
func run(b *testing.B, n int, op func(p []byte, off int64) error) {
	p := newBounceOf(n, 0)
	b.SetBytes(int64(n))
	b.ReportAllocs()
	off := int64(0)
	for b.Loop() {
		if err := op(p, off); err != nil {
			b.Fatal(err)
		}
		off = (off + 7*int64(n)) % (benchSize - int64(n) + 1) &^ 4095
	}
}

func BenchmarkTryReadAt(b *testing.B) {
	for _, n := range []int{4 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { run(b, n, benchFile(b, Options{}).TryReadAt) })
	}
}

// BenchmarkNowait compares a system call that the scheduler is told of with one
// that it isn't, the reason for rawReadMax.
func BenchmarkNowait(b *testing.B) {
	f := benchFile(b, Options{})
	told := func(fd int, p []byte, off int64) (int, error) {
		iov := unix.Iovec{Base: unsafe.SliceData(p)}
		iov.SetLen(len(p))
		n, _, errno := unix.Syscall6(unix.SYS_PREADV2, uintptr(fd),
			uintptr(unsafe.Pointer(&iov)), 1, uintptr(off), 0, unix.RWF_NOWAIT)
		if errno != 0 {
			return 0, errno
		}
		return int(n), nil
	}
	for _, n := range []int{4 << 10, 64 << 10} {
		f.sys.readNowait = readNowait
		b.Run(fmt.Sprintf("raw/%d", n), func(b *testing.B) { run(b, n, f.TryReadAt) })
		f.sys.readNowait = told
		b.Run(fmt.Sprintf("told/%d", n), func(b *testing.B) { run(b, n, f.TryReadAt) })
	}
}

func BenchmarkReadAt(b *testing.B) {
	f := benchFile(b, Options{})
	for _, n := range []int{4 << 10, 1 << 20} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			run(b, n, func(p []byte, off int64) error { _, err := f.ReadAt(p, off); return err })
		})
	}
}

func BenchmarkTryWriteAt(b *testing.B) {
	f := benchFile(b, Options{})
	for _, n := range []int{512, 4 << 10, 64 << 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { run(b, n, f.TryWriteAt) })
	}
}

func BenchmarkMemoryFile(b *testing.B) {
	f := mustOpen(b, image(b, memoryDir(b), benchSize), Options{})
	run(b, 4096, f.TryReadAt)
}

func BenchmarkDirect(b *testing.B) {
	f := mustOpen(b, image(b, memoryDir(b), benchSize), Options{Direct: true})
	f.align = 4096
	write := func(skip int) func(p []byte, off int64) error {
		return func(p []byte, off int64) error {
			_, err := f.WriteAt(p[skip:], off)
			return err
		}
	}
	b.Run("aligned", func(b *testing.B) { run(b, 4096, write(0)) })
	b.Run("bounced", func(b *testing.B) { run(b, 4096, write(512)) })
}

// BenchmarkSync is one FLUSH of a client of 64, on average.
func BenchmarkSync(b *testing.B) {
	f := benchFile(b, Options{})
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		p := make([]byte, 4096)
		for pb.Next() {
			if _, err := f.WriteAt(p, 0); err != nil {
				b.Error(err)
			}
			if err := f.Sync(); err != nil {
				b.Error(err)
			}
		}
	})
}
