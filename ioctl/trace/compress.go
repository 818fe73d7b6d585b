package trace

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// compression is how a file is packed.
type compression int

const (
	plain compression = iota
	gz
	zst
)

// compressionOf is what a file's name asks for.
func compressionOf(name string) compression {
	switch {
	case strings.HasSuffix(name, ".gz"):
		return gz
	case strings.HasSuffix(name, ".zst"):
		return zst
	}
	return plain
}

// compressor is a packing stream.
type compressor interface {
	io.WriteCloser
	Flush() error
}

// compress packs what is written into w; nil for plain.
func compress(w io.Writer, c compression) (compressor, error) {
	switch c {
	case gz:
		return gzip.NewWriter(w), nil
	case zst:
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1)) // no goroutines
	}
	return nil, nil
}

// maxWindow bounds the memory that a zstd file can ask for.
const maxWindow = 64 << 20

// decompress finds out by the first bytes how r is packed and unpacks it. The
// caller calls done when it has read enough.
func decompress(r io.Reader) (plainText io.Reader, done func(), err error) {
	buf := bufio.NewReaderSize(r, 64<<10)
	magic, _ := buf.Peek(4) // an error comes again when it is read
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(buf)
		return z, func() {}, err
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(buf, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return buf, func() {}, nil
}
