package nbd

import (
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"scstuser/nbd/nbdtest"
	"scstuser/target"
)

var cycles = flag.Int("cycles", 5000, "how many times TestConnectDisconnectCycles connects")

// roomForFiles raises the limit of open files, if that is needed and allowed.
func roomForFiles(t *testing.T, n uint64) {
	t.Helper()
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	if l.Cur < n {
		l.Cur = min(n, l.Max)
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err != nil || l.Cur < n {
			t.Skipf("%d open files are allowed, %d are needed: %v", l.Cur, n, err)
		}
	}
}

// openFiles counts the process's descriptors.
func openFiles(t *testing.T) int {
	t.Helper()
	l, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(l)
}

// heap is what the process uses, garbage left out.
func heap() int64 {
	for range 3 { // pools are emptied in two steps
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// A thousand clients at once, each with traffic of its own, and each gets its
// own data.
func TestThousandConnections(t *testing.T) {
	const clients, rounds, length = 1000, 5, 4096
	roomForFiles(t, 2*clients+200)
	cfg := oneDisk()
	cfg.size = clients * 4 * length
	cfg.server.MaxConnections = clients
	r := newRig(t, cfg)
	// All are connected before anybody begins.
	var connected, over sync.WaitGroup
	connected.Add(clients)
	for i := range clients {
		over.Go(func() {
			c := r.open(t)
			connected.Done()
			connected.Wait()
			off := uint64(i) * 4 * length
			for round := range rounds {
				data := pattern(byte(i*7+round), length)
				for j := range uint64(4) {
					if e := c.Write(off+j*length, data, 0); e != nbdtest.OK {
						t.Errorf("client %d: write: %v", i, e)
						return
					}
				}
				if got, e := c.Read(off+uint64(round%4)*length, length, 0); e != nbdtest.OK || !slices.Equal(got, data) {
					t.Errorf("client %d: read: %v, or other data", i, e)
					return
				}
			}
		})
	}
	over.Wait()
	if now, _ := r.srv.Connections(); now != clients {
		t.Errorf("%d clients are connected", now)
	}
}

// Clients come and go, in order and not, and nothing stays behind. make soak
// does it a hundred thousand times.
func TestConnectDisconnectCycles(t *testing.T) {
	opt, secret := tlsOptions(t, TLSOn)
	cfg := oneDisk()
	cfg.server.TLS = opt
	r := newRig(t, cfg)
	cycle := func(i int) {
		c := r.netDial()
		defer c.Close()
		n := nbdtest.NewConn(discarding{t}, c)
		if i%50 == 0 {
			n.TLS = secret
		}
		if i%7 == 0 {
			return // not a word
		}
		n.Hello()
		switch i % 5 {
		case 0:
			n.Abort()
			return
		case 1:
			n.Send([]byte("IHAVE")) // half an option
			return
		}
		n.Go("")
		switch i % 3 {
		case 0:
			n.Read(0, 4096, 0)
			n.Disc(0)
		case 1:
			n.SendRequests(readOf(1, 0, 64<<10), readOf(2, 0, 64<<10)) // and nobody reads
		case 2:
			n.Send(writeOf(1, 0, make([]byte, 4096)).Bytes()[:100]) // half a payload
		}
	}
	settled := func() (int, int, int64) {
		eventually(t, "all clients have left", func() bool {
			now, _ := r.srv.Connections()
			return now == 0
		})
		return openFiles(t), runtime.NumGoroutine(), heap()
	}
	for i := range 200 {
		cycle(i)
	}
	files, routines, before := settled()
	for i := range *cycles {
		cycle(i)
	}
	nowFiles, nowRoutines, after := settled()
	if nowFiles > files+2 || nowRoutines > routines+5 {
		t.Errorf("%d open files and %d goroutines, before %d and %d", nowFiles, nowRoutines, files, routines)
	}
	t.Logf("%d cycles: heap %d KiB before, %d KiB after", *cycles, before>>10, after>>10)
	if grown := after - before; grown > 4<<20 && !raceEnabled {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
}

// discarding keeps the cleanups of short-lived clients from adding up.
type discarding struct{ testing.TB }

// Cleanup implements testing.TB: the caller closes the connection itself.
func (discarding) Cleanup(func()) {}

// Clients that take all that they may have and go no further: nobody reads
// replies, payloads stop in the middle, negotiations stop at every place. What
// they hold stays within the limits, and others are served meanwhile.
func TestGreedyClientsStayWithinLimits(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's memory is not the server's")
	}
	const each = 8
	const inflight = 4 << 20
	cfg := oneDisk()
	cfg.size = 64 << 20
	cfg.server.MaxInflightBytes = inflight
	cfg.server.Grace, cfg.server.Linger = 200*time.Millisecond, time.Millisecond
	r := newRig(t, cfg)
	fill(t, r)
	before := heap()
	held := func() int64 { return heap() - before + int64(r.arena.Stats().LiveBytes) }
	var open []net.Conn
	t.Cleanup(func() {
		for _, c := range open {
			c.Close()
		}
	})
	for i := range each {
		// Half-open: a different place each.
		c := r.netDial()
		open = append(open, c)
		whole := append([]byte{0, 0, 0, 3}, nbdtest.OptionBytes(optGo, make([]byte, 60<<10))...)
		if _, err := c.Write(whole[:i*len(whole)/each]); err != nil {
			t.Fatal(err)
		}
		// Slow readers: 64 large reads, and nobody takes a byte.
		c = r.negotiated(t)
		open = append(open, c)
		for j := range 64 {
			if _, err := c.Write(nbdtest.RequestBytes(readOf(uint64(j), uint64(j)<<20%(60<<20), 1<<20))); err != nil {
				t.Fatal(err)
			}
		}
		// Slow writers: the largest payload there is, in the middle of which
		// they stop.
		c = r.negotiated(t)
		open = append(open, c)
		header := writeOf(1, 0, make([]byte, 32<<20)).Bytes()[:requestSize+4096]
		if _, err := c.Write(header); err != nil {
			t.Fatal(err)
		}
	}
	var highest int64
	c := r.open(t)
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		highest = max(highest, held())
		if e := c.Write(0, pattern(1, 4096), 0); e != nbdtest.OK {
			t.Errorf("a well-behaved client: %v", e)
		}
	}
	// A lone request may be as large as any; the pool rounds up to powers of two.
	limit := int64(each) * (2*inflight + 32<<20 + 2<<20)
	t.Logf("%d MiB were held at most, of %d MiB", highest>>20, limit>>20)
	if highest > limit {
		t.Errorf("%d MiB are held, at most %d should be", highest>>20, limit>>20)
	}
}

// negotiated connects and chooses the default export.
func (r *rig) negotiated(t *testing.T) net.Conn {
	c := r.netDial()
	n := nbdtest.NewConn(t, c)
	n.Hello()
	n.Go("")
	return c
}

// A client with 64 large requests in flight does not starve one with a small
// request at a time.
func TestFairness(t *testing.T) {
	cfg := oneDisk()
	cfg.size = 64 << 20
	r := newRig(t, cfg)
	fill(t, r)
	small := r.open(t)
	latency := func() time.Duration {
		var all []time.Duration
		for end, i := time.Now().Add(300*time.Millisecond), uint64(0); time.Now().Before(end); i++ {
			start := time.Now()
			small.Exchange(readOf(i, i%64*4096, 4096))
			all = append(all, time.Since(start))
		}
		slices.Sort(all)
		return all[len(all)*95/100]
	}
	alone := latency()

	stop := make(chan struct{})
	var greedy sync.WaitGroup
	c := r.negotiated(t)
	greedy.Go(func() { // asks
		for i := uint64(0); ; i++ {
			if _, err := c.Write(nbdtest.RequestBytes(readOf(i, i%60<<20, 1<<20))); err != nil {
				return
			}
			if i < 64 {
				continue
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	var moved int64
	greedy.Go(func() { // and takes
		b := make([]byte, 1<<20)
		for {
			var head [simpleReplySize]byte
			if _, err := io.ReadFull(c, head[:]); err != nil {
				return
			}
			if binary.BigEndian.Uint32(head[4:]) != 0 {
				t.Error("a large read fails")
				return
			}
			if _, err := io.ReadFull(c, b); err != nil {
				return
			}
			moved++
		}
	})
	busy := latency()
	close(stop)
	c.Close()
	greedy.Wait()
	t.Logf("95th percentile: %v alone, %v beside a greedy client, which moved %d MiB", alone, busy, moved)
	if moved < 8 {
		t.Errorf("the greedy client moved %d MiB only", moved)
	}
	// A batch of replies is some megabytes: a few milliseconds on one processor.
	if bound := 20 * time.Millisecond; busy > bound && !raceEnabled {
		t.Errorf("a small request takes %v beside a greedy client, %v alone; at most %v is fair", busy, alone, bound)
	}
}

// The same for connections: many clients that ask for much leave the others
// their turns, each about as many.
func TestFairnessAmongEquals(t *testing.T) {
	cfg := oneDisk()
	cfg.size = 64 << 20
	r := newRig(t, cfg)
	fill(t, r)
	const clients = 8
	counts := make([]int, clients)
	end := time.Now().Add(500 * time.Millisecond)
	var all sync.WaitGroup
	for i := range clients {
		l := newLean(t, r, cmdRead, 16, 64<<10)
		all.Go(func() {
			for time.Now().Before(end) {
				l.round(t)
				counts[i]++
			}
		})
	}
	all.Wait()
	least, most := slices.Min(counts), slices.Max(counts)
	t.Log(fmt.Sprint("rounds: ", counts))
	if least == 0 || most > 5*least && !raceEnabled {
		t.Errorf("from %d to %d rounds", least, most)
	}
}

// Shutdown meets clients in every state of their beginning, and ends, whatever
// they do (CVE-2024-7409).
func TestShutdownUnderHalfOpenClients(t *testing.T) {
	opt, _ := tlsOptions(t, TLSOn)
	for round := range 20 {
		cfg := oneDisk()
		cfg.server.TLS = opt
		cfg.server.Linger, cfg.server.Grace = time.Millisecond, 50*time.Millisecond
		r := newRig(t, cfg)
		whole := slices.Concat([]byte{0, 0, 0, 3}, nbdtest.OptionBytes(optInfo, make([]byte, 6)))
		if round%2 == 0 {
			whole = append(whole, nbdtest.OptionBytes(optStartTLS, nil)...)
			whole = append(whole, 22, 3, 1, 0, 200, 1, 0)
		} else {
			whole = append(whole, nbdtest.OptionBytes(optGo, make([]byte, 6))...)
		}
		var clients sync.WaitGroup
		for i := range len(whole) + 1 {
			c := r.netDial()
			clients.Go(func() {
				defer c.Close()
				_, _ = c.Write(whole[:i]) // it may be cut off meanwhile
				_ = c.SetReadDeadline(time.Now().Add(nbdtest.DefaultTimeout))
				if _, err := io.Copy(io.Discard, c); err != nil && os.IsTimeout(err) {
					t.Errorf("a client that has sent %d bytes is not let go", i)
				}
			})
		}
		if round%4 > 1 {
			time.Sleep(time.Duration(round) * time.Millisecond)
		}
		within(t, "the shutdown", r.stop)
		clients.Wait()
	}
}

// However long clients negotiate, the device hears nothing of them (row 11;
// CVE-2019-14850).
func TestNothingIsAttachedBeforeGo(t *testing.T) {
	var sessions atomic.Int32
	f := newFakeRig(t, fakeTraits{attach: func(*target.Session) error {
		sessions.Add(1)
		return nil
	}}, Options{})
	ours := sessions.Load() // the server asks the device what it can do
	f.forget()
	c := f.dial(t)
	c.Hello()
	c.List()
	for range 10 {
		if _, typ := c.TryInfo(nbdtest.OptInfo, "fake"); typ != nbdtest.RepAck {
			t.Fatalf("INFO: %#x", typ)
		}
	}
	if n := sessions.Load() - ours; n != 0 || len(f.ops()) != 0 {
		t.Errorf("%d sessions and %v before GO", n, f.ops())
	}
	c.Go("fake")
	reads(t, c, 0, make([]byte, 512))
	if n := sessions.Load() - ours; n != 1 {
		t.Errorf("%d sessions after GO", n)
	}
}

// Nor do clients under TLS hold more that read nothing: what has been encrypted
// for them is bounded too.
func TestSlowReadersUnderTLSStayWithinLimits(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's memory is not the server's")
	}
	const clients, inflight = 16, 2 << 20
	opt, secret := tlsOptions(t, TLSRequire)
	cfg := oneDisk()
	cfg.size = 64 << 20
	cfg.server.TLS, cfg.server.MaxInflightBytes = opt, inflight
	cfg.server.Grace, cfg.server.Linger = 200*time.Millisecond, time.Millisecond
	r := newRig(t, cfg)
	var all []*lean
	for range clients {
		l := newLeanTLS(t, r, secret, cmdRead, 60, 1<<20)
		l.reply = nil // they read nothing
		all = append(all, l)
	}
	before := heap()
	for _, l := range all {
		if _, err := l.c.Write(l.reqs); err != nil {
			t.Fatal(err)
		}
	}
	var highest int64
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		highest = max(highest, heap()-before+r.arena.Stats().LiveBytes)
	}
	limit := int64(clients) * (2*inflight + 512<<10)
	t.Logf("%d KiB were held at most, of %d KiB", highest>>10, limit>>10)
	if highest > limit {
		t.Errorf("%d KiB are held, at most %d should be", highest>>10, limit>>10)
	}
	if highest < clients*inflight/2 {
		t.Errorf("only %d KiB are held: the clients are not slow", highest>>10)
	}
}
