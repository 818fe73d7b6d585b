package nbdload

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is a server that answers everything, in the other order than it was
// asked where it can.
type peer struct {
	size uint64
	// fail is the error of the request of this number, if not 0.
	fail uint32
	at   int
	// refuse makes it know no export.
	refuse bool

	mu       sync.Mutex
	requests []request
	deepest  int // the most requests that were there at once
	exports  []string
	ended    int // connections that were ended by DISC
	wg       sync.WaitGroup
}

type request struct {
	typ    uint16
	offset uint64
	length uint32
}

func (p *peer) dial(context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	p.wg.Go(func() {
		defer server.Close()
		p.serve(server)
	})
	return client, nil
}

func (p *peer) serve(c net.Conn) {
	// A pipe holds nothing back: who writes waits for the reader. Replies are
	// written beside the reading, as a socket's buffer would allow.
	b := binary.BigEndian.AppendUint64([]byte("NBDMAGIC"), magicOption)
	if _, err := c.Write(append(b, 0, 3)); err != nil {
		return
	}
	r := bufio.NewReaderSize(c, 64<<10)
	head := make([]byte, 4+16)
	if _, err := io.ReadFull(r, head); err != nil {
		return
	}
	option := make([]byte, binary.BigEndian.Uint32(head[16:]))
	if _, err := io.ReadFull(r, option); err != nil {
		return
	}
	p.mu.Lock()
	p.exports = append(p.exports, string(option[4:4+binary.BigEndian.Uint32(option)]))
	p.mu.Unlock()
	reply := func(typ uint32, data []byte) {
		b := binary.BigEndian.AppendUint64(nil, 0x3e889045565a9)
		b = binary.BigEndian.AppendUint32(b, optGo)
		b = binary.BigEndian.AppendUint32(b, typ)
		b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
		_, _ = c.Write(append(b, data...))
	}
	if p.refuse {
		reply(1<<31+6, []byte("no such export"))
		return
	}
	reply(repInfo, append(binary.BigEndian.AppendUint64([]byte{0, 0}, p.size), 0, 1))
	reply(repAck, nil)
	p.transmit(c, r)
}

func (p *peer) transmit(c net.Conn, r *bufio.Reader) {
	answers := make(chan []byte, 1024)
	var wg sync.WaitGroup
	wg.Go(func() {
		for a := range answers {
			if _, err := c.Write(a); err != nil {
				return
			}
		}
	})
	defer wg.Wait()
	defer close(answers)
	var batch [][]byte
	for {
		var h [requestSize]byte
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return
		}
		q := request{binary.BigEndian.Uint16(h[6:]), binary.BigEndian.Uint64(h[16:]), binary.BigEndian.Uint32(h[24:])}
		p.mu.Lock()
		if q.typ == cmdDisc {
			p.ended++
			p.mu.Unlock()
			return
		}
		p.requests = append(p.requests, q)
		n := len(p.requests)
		p.mu.Unlock()
		a := binary.BigEndian.AppendUint32(nil, magicReply)
		e := uint32(0)
		if n == p.at {
			e = p.fail
		}
		a = binary.BigEndian.AppendUint32(a, e)
		a = append(a, h[8:16]...)
		if q.typ == cmdWrite {
			if _, err := io.CopyN(io.Discard, r, int64(q.length)); err != nil {
				return
			}
		} else if e == 0 {
			a = append(a, make([]byte, q.length)...)
		}
		if batch = append(batch, a); r.Buffered() < requestSize {
			p.mu.Lock()
			p.deepest = max(p.deepest, len(batch))
			p.mu.Unlock()
			for i := len(batch) - 1; i >= 0; i-- {
				answers <- batch[i]
			}
			batch = batch[:0]
		}
	}
}

func TestRun(t *testing.T) {
	for _, tt := range []struct {
		name string
		load Load
		size uint64
	}{
		{"read one at a time", Load{Connections: 1, Depth: 1, BlockSize: 512, Random: true}, 1 << 20},
		{"read", Load{Connections: 1, Depth: 16, BlockSize: 4096, Random: true}, 1 << 20},
		{"write", Load{Connections: 2, Depth: 8, BlockSize: 4096, Random: true, Write: true}, 1 << 20},
		{"sequential, large", Load{Connections: 3, Depth: 2, BlockSize: 1 << 20}, 7 << 20},
		{"an export of one block", Load{Connections: 2, Depth: 2, BlockSize: 4096}, 4096},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &peer{size: tt.size}
			tt.load.Duration = 30 * time.Millisecond
			r, err := Run(t.Context(), p.dial, tt.load)
			p.wg.Wait()
			if err != nil {
				t.Fatal(err)
			}
			if r.Requests == 0 || r.Requests != int64(len(p.requests)) || r.Elapsed < tt.load.Duration {
				t.Errorf("%d requests in %v, the server saw %d", r.Requests, r.Elapsed, len(p.requests))
			}
			if r.Latency.Max() <= 0 || r.Latency.Percentile(99) > r.Latency.Max() {
				t.Errorf("latency %v, at most %v", r.Latency.Percentile(99), r.Latency.Max())
			}
			if p.ended != tt.load.Connections {
				t.Errorf("%d connections were ended in order, want %d", p.ended, tt.load.Connections)
			}
			if p.deepest != tt.load.Depth && !tt.load.Write {
				t.Errorf("%d requests came at once, want %d", p.deepest, tt.load.Depth)
			}
			for _, q := range p.requests {
				if (q.typ == cmdWrite) != tt.load.Write || q.length != uint32(tt.load.BlockSize) ||
					q.offset%uint64(q.length) != 0 || q.offset+uint64(q.length) > tt.size {
					t.Fatalf("request %+v", q)
				}
			}
		})
	}
}

func TestRunFails(t *testing.T) {
	good := Load{Connections: 2, Depth: 4, BlockSize: 4096, Duration: time.Minute}
	for _, tt := range []struct {
		name string
		peer *peer
		load func(*Load)
		want string
	}{
		{"a request fails", &peer{size: 1 << 20, fail: 5, at: 20}, func(*Load) {}, "error 5"},
		{"no such export", &peer{refuse: true}, func(*Load) {}, "no such export"},
		{"too small", &peer{size: 100}, func(*Load) {}, "less than a block"},
		{"no depth", &peer{}, func(l *Load) { l.Depth = 0 }, "at least one"},
		{"too large a block", &peer{}, func(l *Load) { l.BlockSize = 1 << 30 }, "has to be from"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := good
			tt.load(&l)
			_, err := Run(t.Context(), tt.peer.dial, l)
			tt.peer.wg.Wait()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestRunIsCancelled(t *testing.T) {
	p := &peer{size: 1 << 20}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := Run(ctx, p.dial, Load{Connections: 2, Depth: 4, BlockSize: 4096, Duration: time.Hour})
	p.wg.Wait()
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestRunTakesExportsInTurn(t *testing.T) {
	begun := 0
	p := &peer{size: 1 << 20}
	_, err := Run(t.Context(), p.dial, Load{Connections: 5, Depth: 1, BlockSize: 4096, Duration: time.Millisecond, Exports: []string{"a", "b"}, Begin: func() { begun++ }})
	p.wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "b", "a", "b", "a"}; !slices.Equal(p.exports, want) {
		t.Errorf("exports %q, want %q", p.exports, want)
	}
	if begun != 1 {
		t.Errorf("it began %d times", begun)
	}
}
