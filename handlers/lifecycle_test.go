package handlers_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"scstuser/handlers"
	"scstuser/handlers/arena"
	"scstuser/scsi"
	"scstuser/target"
	"scstuser/ucmd"
)

// ram is a medium of 512-byte blocks with a few places that are odd.
type ram struct {
	mu   sync.Mutex
	data []byte
}

const (
	ramBlocks = 4096
	shortLBA  = ramBlocks + iota // a READ here answers one block, whatever was asked
	emptyLBA                     // and here none
	failLBA                      // MEDIUM ERROR
	busyLBA                      // BUSY
	tooLong                      // an answer that no reply can carry
)

func newRAM() *ram { return &ram{data: make([]byte, ramBlocks*512)} }

func (m *ram) exec(r *handlers.Request) {
	c, err := scsi.Decode(r.CDB)
	if err != nil {
		r.Fail(scsi.SenseOf(err))
		return
	}
	if c.Op != scsi.OpRead16 && c.Op != scsi.OpWrite16 {
		return
	}
	switch c.LBA {
	case shortLBA:
		r.RespLen = int32(min(512, len(r.Buf)))
		clear(r.Buf[:r.RespLen])
		return
	case emptyLBA:
		return
	case failLBA:
		r.Fail(scsi.SenseReadError.WithInfo(c.LBA))
		return
	case busyLBA:
		r.Status = scsi.Busy
		return
	case tooLong:
		r.RespLen = int32(len(r.Buf)) + 1
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.LBA+c.Count() > ramBlocks {
		r.Fail(scsi.SenseLBAOutOfRange)
		return
	}
	at := m.data[c.LBA*512:][:len(r.Buf)]
	if c.Op == scsi.OpWrite16 {
		copy(at, r.Buf)
		return
	}
	r.RespLen = int32(copy(r.Buf, at))
}

// everyOther is a Trier that declines every other command.
func everyOther(exec func(*handlers.Request)) trier {
	var mu sync.Mutex
	n := 0
	return trier{handler{exec}, func(r *handlers.Request) bool {
		mu.Lock()
		n++
		odd := n%2 == 1
		mu.Unlock()
		if odd {
			return false
		}
		exec(r)
		return true
	}}
}

// countedMemory checks what the device maps.
type countedMemory struct {
	handlers.Memory
	mu     sync.Mutex
	mapped map[uint64]int
}

func (m *countedMemory) Map(addr uint64, n int) ([]byte, error) {
	m.mu.Lock()
	m.mapped[addr]++
	m.mu.Unlock()
	return m.Memory.Map(addr, n)
}

func (m *countedMemory) Unmap(addr uint64, data []byte) {
	m.mu.Lock()
	m.mapped[addr]--
	m.mu.Unlock()
	m.Memory.Unmap(addr, data)
}

// Invariant I3: in every mode a buffer is allocated and freed exactly once,
// whatever the command's outcome; the data is right, and nothing is left.
func TestI3EveryMode(t *testing.T) {
	parses := map[string]ucmd.ParseType{"std": ucmd.ParseStandard, "call": ucmd.ParseCall, "excpt": ucmd.ParseException}
	servings := map[string]struct {
		h func(func(*handlers.Request)) handlers.Handler
		o handlers.Options
	}{
		"getters":             {func(f func(*handlers.Request)) handlers.Handler { return handler{f} }, handlers.Options{}},
		"getters, in batches": {func(f func(*handlers.Request)) handlers.Handler { return handler{f} }, handlers.Options{Multi: 8, Threads: 2}},
		"getters, tried":      {func(f func(*handlers.Request)) handlers.Handler { return everyOther(f) }, handlers.Options{}},
		"inline":              {func(f func(*handlers.Request)) handlers.Handler { return always(f) }, handlers.Options{Inline: true}},
		"inline, some wait":   {func(f func(*handlers.Request)) handlers.Handler { return everyOther(f) }, handlers.Options{Inline: true}},
		"inline, all wait":    {func(f func(*handlers.Request)) handlers.Handler { return never(f) }, handlers.Options{Inline: true, Threads: 2}},
	}
	for _, mode := range []struct {
		reuse  ucmd.ReuseType
		onFree ucmd.OnFreeType
	}{
		{ucmd.ReuseAll, ucmd.OnFreeIgnore},
		{ucmd.ReuseAll, ucmd.OnFreeCall},
		{ucmd.ReuseRead, ucmd.OnFreeCall},
		{ucmd.ReuseWrite, ucmd.OnFreeCall},
		{ucmd.ReuseNone, ucmd.OnFreeCall},
		// The other three are refused: TestR61BuffersThatNobodySpeaksOf.
	} {
		for parse, pt := range parses {
			for serving, sv := range servings {
				t.Run(fmt.Sprintf("reuse %d, on_free %d, parse %s, %s", mode.reuse, mode.onFree, parse, serving), func(t *testing.T) {
					t.Parallel()
					m := newRAM()
					mem := &countedMemory{mapped: map[uint64]int{}}
					r := newRig(t, sv.h(m.exec), rigConfig{
						opt: func(o *ucmd.Opt) {
							o.Reuse, o.OnFree, o.Parse = uint8(mode.reuse), uint8(mode.onFree), uint8(pt)
						},
						mem: func(a *arena.Arena) ucmd.Memory {
							mem.Memory = handlers.Memory{Arena: a}
							return mem
						},
						serve: sv.o,
					})
					everyOutcome(t, r)
					r.close()
					for addr, n := range mem.mapped {
						if n != 0 {
							t.Errorf("I3: %x is still mapped", addr)
						}
					}
				})
			}
		}
	}
}

// everyOutcome runs commands with every kind of outcome, from two initiators
// at once.
func everyOutcome(t *testing.T, r *rig) {
	other := r.attach()
	defer r.detach(other)
	var wg sync.WaitGroup
	for n, i := range []*initiator{r.init, other} {
		wg.Go(func() {
			base := uint64(n * 2048)
			for round := range uint64(3) {
				for _, blocks := range []uint32{1, 8, 9, 64} {
					data := bytes.Repeat([]byte{byte(round), byte(blocks), byte(n)}, int(blocks)*512)[:blocks*512]
					lba := base + round*100
					expect(t, i.do(write(lba, blocks), data), scsi.Good, scsi.SenseNone, nil)
					expect(t, i.do(read(lba, blocks), nil), scsi.Good, scsi.SenseNone, data)
				}
				for _, blocks := range []uint32{8, 64} {
					expect(t, i.do(read(shortLBA, blocks), nil), scsi.Good, scsi.SenseNone, make([]byte, 512))
					expect(t, i.do(read(emptyLBA, blocks), nil), scsi.Good, scsi.SenseNone, nil)
					expect(t, i.do(read(base, 0), nil), scsi.Good, scsi.SenseNone, nil)
					expect(t, i.do(write(base, 0), nil), scsi.Good, scsi.SenseNone, nil)
					expect(t, i.do(read(failLBA, blocks), nil), scsi.CheckCondition, scsi.SenseReadError.WithInfo(failLBA), nil)
					expect(t, i.do(write(failLBA, blocks), make([]byte, blocks*512)), scsi.CheckCondition, scsi.SenseReadError.WithInfo(failLBA), nil)
					expect(t, i.do(read(ramBlocks-1, blocks), nil), scsi.CheckCondition, scsi.SenseLBAOutOfRange, nil)
					expect(t, i.do(read(busyLBA, blocks), nil), scsi.Busy, scsi.SenseNone, nil)
					expect(t, i.do(read(tooLong, blocks), nil), scsi.CheckCondition, scsi.SenseAbortedInternalFailure, nil)
					expect(t, i.do(write(tooLong, blocks), make([]byte, blocks*512)), scsi.CheckCondition, scsi.SenseAbortedInternalFailure, nil)
				}
				expect(t, i.do([]byte{0xc0, 9: 0}, nil), scsi.CheckCondition, scsi.SenseInvalidOpcode, nil)
			}
		})
	}
	wg.Wait()
	// Above the largest class of the pool: one use (rule R50).
	const big = 4<<20 + 512
	expect(t, r.init.do(write(failLBA, big/512), make([]byte, big)), scsi.CheckCondition, scsi.SenseReadError.WithInfo(failLBA), nil)
	expect(t, r.init.do(read(shortLBA, big/512), nil), scsi.Good, scsi.SenseNone, make([]byte, 512))
}

// expect checks a command's outcome.
func expect(t testing.TB, x *command, status scsi.Status, sense scsi.Sense, data []byte) {
	t.Helper()
	got := scsi.SenseNone
	if x.Status == scsi.CheckCondition {
		var err error
		if got, err = scsi.ParseSense(x.Sense()); err != nil {
			t.Errorf("%v: %v in % x", x.Op(), err, x.Sense())
		}
	}
	if x.Status != status || got != sense {
		t.Errorf("%v of LBA %d ended with %v, %v, want %v, %v", x.Op(), x.LBA, x.Status, got, status, sense)
	}
	if !bytes.Equal(x.in, data) {
		t.Errorf("%v of LBA %d: %d bytes, want %d, or others", x.Op(), x.LBA, len(x.in), len(data))
	}
}

// Rule R52: without memory commands are BUSY, and come again when there is some.
func TestR52NoMemoryForAWhile(t *testing.T) {
	r := newRig(t, always(newRAM().exec), rigConfig{
		memory: arena.Options{MaxBytes: 8192}, serve: handlers.Options{Inline: true},
	})
	expect(t, r.init.do(read(0, 64), nil), scsi.Busy, scsi.SenseNone, nil)
	expect(t, r.init.do(write(0, 64), make([]byte, 64*512)), scsi.Busy, scsi.SenseNone, nil)
	expect(t, r.init.do(read(0, 16), nil), scsi.Good, scsi.SenseNone, make([]byte, 16*512))
}

// The pool's limit: a buffer that it does not take comes back all the same.
func TestI3PoolLimit(t *testing.T) {
	for name, inline := range map[string]bool{"getters": false, "inline": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, always(newRAM().exec), rigConfig{
				limits: ucmd.Limits{MaxPages: 4, MaxIdlePages: 2}, serve: handlers.Options{Inline: inline},
			})
			for range 3 {
				r.init.do(read(0, 64), nil)
				r.init.do(write(0, 64), make([]byte, 64*512))
				expect(t, r.init.do(read(0, 8), nil), scsi.Good, scsi.SenseNone, make([]byte, 8*512))
				expect(t, r.init.do(read(0, 32), nil), scsi.Good, scsi.SenseNone, make([]byte, 32*512))
			}
		})
	}
}

// Rule R43, R45: a handler's own parse makes a command of its own possible, here
// one whose CDB has more than 16 bytes (rule R37).
func TestR45ACommandOfTheHandlers(t *testing.T) {
	long := append([]byte{0xc1, 15: 0}, "the rest of it"...)
	for way, h := range ways(func(r *handlers.Request) { r.RespLen = int32(copy(r.Buf, r.CDB)) }) {
		for _, pt := range []ucmd.ParseType{ucmd.ParseCall, ucmd.ParseException} {
			t.Run(fmt.Sprintf("%s, parse %d", way, pt), func(t *testing.T) {
				r := newRig(t, parsing{h}, rigConfig{
					opt:   func(o *ucmd.Opt) { o.Parse = uint8(pt) },
					serve: handlers.Options{Inline: way != "getter"},
				})
				expect(t, r.init.do(long, nil), scsi.Good, scsi.SenseNone, long)
			})
		}
	}
}

// parsing is a handler that knows opcode C1h.
type parsing struct{ handlers.Handler }

func (p parsing) TryExec(r *handlers.Request) bool {
	t, ok := p.Handler.(handlers.Trier)
	return ok && t.TryExec(r)
}

func (p parsing) Parse(sub *ucmd.Subcommand, reply *ucmd.Reply) {
	if sub.CDB[0] != 0xc1 {
		reply.Status = scsi.CheckCondition
		reply.Sense = scsi.SenseInvalidOpcode.AppendFixed(nil)
		return
	}
	reply.Dir, reply.BufLen, reply.DataLen = scsi.DirRead, 64, 64
	reply.OpFlags, reply.QueueType = 0x20, sub.QueueType
}

// Rule R40: a handler may refuse a session.
func TestR40RefusedSession(t *testing.T) {
	r := newRig(t, &manager{attach: errors.New("no")}, rigConfig{noServe: true})
	r.serve(&manager{attach: errors.New("no")}, handlers.Options{})
	if _, err := r.dev.Target().NewSession(t.Context(), &initiator{t: t}, target.SessionInfo{}); err == nil {
		t.Error("the session was accepted")
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	r.release()
}

// Rule R38: buffers that are given before they are needed serve the first
// commands, and come back once.
func TestR38Preallocate(t *testing.T) {
	r := newRig(t, always(newRAM().exec), rigConfig{
		serve: handlers.Options{Inline: true},
		prepare: func(r *rig) {
			if err := handlers.Preallocate(r.dev, r.arena, 3, 16384, true); err != nil {
				r.t.Fatal(err)
			}
		},
	})
	if s := r.arena.Stats(); s.Live != 6 || s.LiveBytes != 6*16384 {
		t.Errorf("%d buffers of %d bytes", s.Live, s.LiveBytes)
	}
	expect(t, r.init.do(write(0, 32), make([]byte, 16384)), scsi.Good, scsi.SenseNone, nil)
	if got := r.arena.Stats().Live; got != 6 {
		t.Errorf("%d buffers after a command that could have used one of the 6", got)
	}
	for _, s := range r.dev.PoolStats() {
		if s.IdleObjects != 3 {
			t.Errorf("pool %s has %d buffers", s.Name, s.IdleObjects)
		}
	}
}

// A buffer that the port does not take is free again; the error says which.
func TestR38PreallocateFails(t *testing.T) {
	a := arena.New(arena.Options{MaxBytes: 3 * 4096})
	for _, tc := range []struct {
		name   string
		size   int
		refuse error
		want   error // nil: any
		which  string
	}{
		{"the size", 0, nil, nil, "preallocate buffer 1 of 4: "},
		{"the port", 4096, errRefused, errRefused, "preallocate buffer 2 of 4: "},
		{"the memory", 4096, nil, arena.ErrNoMemory, "preallocate clustered buffer 2 of 4: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := &preallocator{refuse: tc.refuse}
			err := handlers.Preallocate(p, a, 4, tc.size, true)
			if err == nil || !strings.HasPrefix(err.Error(), tc.which) || tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %s", err, tc.which)
			}
			for _, addr := range p.given {
				if err := a.Free(addr); err != nil {
					t.Error(err)
				}
			}
			if live := a.Stats().Live; live != 0 {
				t.Errorf("I3: %d buffers are lost", live)
			}
		})
	}
}

var errRefused = errors.New("refused")

// preallocator takes buffers until the third, if it refuses at all.
type preallocator struct {
	refuse error
	given  []uint64
}

func (p *preallocator) Prealloc(addr uint64, _ int, _ bool) (uint32, error) {
	if p.refuse != nil && len(p.given) == 2 {
		return 0, p.refuse
	}
	p.given = append(p.given, addr)
	return uint32(len(p.given)), nil
}
