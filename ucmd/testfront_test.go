package ucmd

import (
	"sync"
	"syscall"
	"testing"

	"scstuser/target"
)

// testMemory is a handler's address space: whole allocations by address.
type testMemory struct {
	mu   sync.Mutex
	next uint64
	mem  map[uint64][]byte
	maps map[uint64]int // live mappings by address
}

func newTestMemory() *testMemory {
	return &testMemory{mem: map[uint64][]byte{}, maps: map[uint64]int{}, next: 0x7f0000000000}
}

func (m *testMemory) alloc(n int) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next += 1 << 24
	m.mem[m.next] = make([]byte, n)
	return m.next
}

func (m *testMemory) Map(addr uint64, n int) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	base := addr &^ (1<<24 - 1)
	b, off := m.mem[base], addr-base
	if off > uint64(len(b)) || uint64(n) > uint64(len(b))-off {
		return nil, syscall.EFAULT
	}
	m.maps[addr]++
	return b[off:][:n:n], nil
}

func (m *testMemory) Unmap(addr uint64, _ []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.maps[addr]--; m.maps[addr] == 0 {
		delete(m.maps, addr)
	}
}

// mapped returns how many addresses are mapped.
func (m *testMemory) mapped() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.maps)
}

// recorder keeps the events as lines.
type recorder struct {
	mu    sync.Mutex
	lines []string
}

func (r *recorder) Event(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, e.String())
}

// take returns the lines since the last call.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lines
	r.lines = nil
	return l
}

// testFront delivers responses at once, unless it holds them until deliver.
type testFront struct {
	mu      sync.Mutex
	payload func(c *target.Cmd)
	resp    []*target.Cmd
	freed   int
	gone    bool
	tms     []*target.MgmtCmd
	hold    bool // keep responses until deliver
	noAEN   bool // events become unit attentions
}

func (f *testFront) RdyToXfer(c *target.Cmd) target.Verdict {
	if f.payload != nil {
		f.payload(c)
	}
	return target.Continue
}

func (f *testFront) XmitResponse(c *target.Cmd) {
	f.mu.Lock()
	hold := f.hold
	if hold {
		f.resp = append(f.resp, c)
	}
	f.mu.Unlock()
	if !hold {
		c.Delivered(target.Delivered)
	}
}

func (f *testFront) setHold(hold bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hold = hold
}

// deliver lets go of the held responses.
func (f *testFront) deliver() {
	f.mu.Lock()
	l := f.resp
	f.resp = nil
	f.mu.Unlock()
	for _, c := range l {
		c.Delivered(target.Delivered)
	}
}

func (f *testFront) Freed(*target.Cmd) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.freed++
}

func (f *testFront) AEN(*target.Session, target.UnitAttention) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.noAEN
}

func (f *testFront) SessionGone(*target.Session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gone = true
}

func (f *testFront) TMDone(m *target.MgmtCmd) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tms = append(f.tms, m)
}

// tmResult returns the outcome of the only function that is done.
func (f *testFront) tmResult(t testing.TB) int32 {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.tms) != 1 {
		t.Fatalf("%d task management functions are done, want 1", len(f.tms))
	}
	m := f.tms[0]
	f.tms = nil
	return m.Result
}

func (f *testFront) freedCount() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.freed
}
