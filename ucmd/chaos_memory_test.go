package ucmd

import "sync"

// chaosMemory is what handlers know of their buffers: the book that I3 is
// checked against. Devices that share a pool share it.
type chaosMemory struct {
	*testMemory
	fails *chaosFailures

	mu sync.Mutex
	// taken and givenBack count, by address, how often a buffer went to a
	// device and came back.
	taken, givenBack map[uint64]int
	// live says which command has a buffer.
	live map[uint64]chaosUser
	dead map[*Device]bool
	// told are the subcommands that gave a buffer back: a handler that lies
	// has them requeued behind its own back, and fetches them again.
	told map[chaosTold]bool
}

// chaosTold is a subcommand that was fetched.
type chaosTold struct {
	chaosUser
	code Subcode
}

// chaosUser is a command, as its handler knows it.
type chaosUser struct {
	dev *Device
	h   uint32
}

func newChaosMemory(fails *chaosFailures) *chaosMemory {
	return &chaosMemory{
		testMemory: newTestMemory(), fails: fails,
		taken: map[uint64]int{}, givenBack: map[uint64]int{}, live: map[uint64]chaosUser{}, dead: map[*Device]bool{},
		told: map[chaosTold]bool{},
	}
}

// Map implements Memory.
func (m *chaosMemory) Map(addr uint64, n int) ([]byte, error) {
	b, err := m.testMemory.Map(addr, n)
	if err == nil {
		m.mu.Lock()
		m.taken[addr]++
		m.mu.Unlock()
	}
	return b, err
}

// refused: a buffer was looked at, and is the handler's all the same.
func (m *chaosMemory) refused(addr uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.taken[addr]--
}

// fetched notes what a subcommand says about buffers. The book of who has
// what can't be kept for a handler that lies about it.
func (m *chaosMemory) fetched(dev *Device, s *Subcommand, liar bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead[dev] {
		return
	}
	who := chaosUser{dev, s.Handle}
	has, busy := m.live[s.PBuf]
	busy = busy && !liar
	switch {
	case s.Code == SubExec && s.PBuf != 0:
		if busy && has != who {
			m.fails.add("I3: buffer %#x serves h=%d and h=%d", s.PBuf, has.h, s.Handle)
		}
		m.live[s.PBuf] = who
	case s.Code == SubOnFree && s.PBuf != 0 && !s.BufferCached, s.Code == SubOnCachedMemFree:
		if liar && m.told[chaosTold{who, s.Code}] {
			return
		}
		m.told[chaosTold{who, s.Code}] = true
		m.givenBack[s.PBuf]++
		if m.givenBack[s.PBuf] > m.taken[s.PBuf] {
			m.fails.add("I3: buffer %#x was given back %d times, and taken %d times", s.PBuf, m.givenBack[s.PBuf], m.taken[s.PBuf])
		}
		if busy {
			m.fails.add("I3: buffer %#x is given back while h=%d has it", s.PBuf, has.h)
		}
	}
}

// over: the handler is done with what h has.
func (m *chaosMemory) over(dev *Device, h uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for addr, who := range m.live {
		if who == (chaosUser{dev, h}) {
			delete(m.live, addr)
		}
	}
}

// forget: the handler of dev is dead and has nothing any more.
func (m *chaosMemory) forget(dev *Device) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead[dev] = true
	for addr, who := range m.live {
		if who.dev == dev {
			delete(m.live, addr)
		}
	}
}

// allBack checks that every buffer that was taken came back.
func (m *chaosMemory) allBack() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for addr, n := range m.taken {
		if m.givenBack[addr] != n {
			m.fails.add("I3: buffer %#x was given back %d times, want %d", addr, m.givenBack[addr], n)
		}
	}
}
