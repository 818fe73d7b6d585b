package disk

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"testing"

	"scstuser/handlers"
	"scstuser/scsi"

	"pgregory.net/rapid"
)

// model is what the medium has to hold: random commands are carried out by the
// disk and on a slice of bytes, and have to agree.
type model struct {
	*fixture
	data []byte
	wce  bool
}

func TestModel(t *testing.T) {
	ops := []scsi.Opcode{
		scsi.OpRead6, scsi.OpRead10, scsi.OpRead12, scsi.OpRead16, scsi.OpWrite6, scsi.OpWrite10, scsi.OpWrite12, scsi.OpWrite16, scsi.OpWriteVerify10,
		scsi.OpWriteVerify12, scsi.OpWriteVerify16, scsi.OpVerify10, scsi.OpVerify16, scsi.OpWriteSame10, scsi.OpWriteSame16, scsi.OpUnmap, scsi.OpSyncCache16, scsi.OpModeSelect10,
	}
	for name, backing := range kinds {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				m := &model{fixture: newFixture(t, backing), wce: true}
				m.data = bytes.Clone(m.m.data)
				m.m.maxIO = rapid.SampledFrom([]int{0, 0, 700}).Draw(rt, "max io")
				m.m.block = rapid.Bool().Draw(rt, "block")
				for range rapid.IntRange(1, 40).Draw(rt, "commands") {
					m.step(rt, rapid.SampledFrom(ops).Draw(rt, "op"))
					if !bytes.Equal(m.data, m.m.data) {
						rt.Fatal("the medium differs from the model")
					}
				}
			})
		})
	}
}

func (m *model) step(t *rapid.T, op scsi.Opcode) {
	lba := rapid.Uint64Max(testBlocks+1).Draw(t, "lba")
	n := rapid.Uint64Max(12).Draw(t, "blocks")
	seed := rapid.Byte().Draw(t, "seed")
	c := scsi.Command{Op: op, LBA: lba, Blocks: n}
	count := c.Count()
	inRange := lba <= testBlocks && count <= testBlocks-lba
	var span []byte
	if inRange {
		span = m.data[lba*512 : (lba+count)*512]
	}
	expect := func(r *handlers.Request, ok bool, want scsi.Sense) {
		s, _ := r.Sense()
		if ok && r.Status != scsi.Good || !ok && s != want {
			t.Fatalf("%+v: %v, %v", c, r.Status, s)
		}
	}
	switch op {
	case scsi.OpRead6, scsi.OpRead10, scsi.OpRead12, scsi.OpRead16:
		r := m.run(c, nil)
		expect(r, inRange, scsi.SenseLBAOutOfRange)
		if inRange && !bytes.Equal(r.Buf[:r.RespLen], span) {
			t.Fatalf("%+v read other data", c)
		}
	case scsi.OpWrite6, scsi.OpWrite10, scsi.OpWrite12, scsi.OpWrite16, scsi.OpWriteVerify10, scsi.OpWriteVerify12, scsi.OpWriteVerify16:
		verify := op == scsi.OpWriteVerify10 || op == scsi.OpWriteVerify12 || op == scsi.OpWriteVerify16
		if op != scsi.OpWrite6 && !verify {
			c.FUA = rapid.Bool().Draw(t, "fua")
		}
		payload := pattern(seed, int(count))
		expect(m.run(c, payload), inRange, scsi.SenseLBAOutOfRange)
		copy(span, payload)
		if m.d.syncer != nil && inRange && count > 0 && (!m.wce || c.FUA || verify) && !bytes.Equal(m.m.stable[lba*512:(lba+count)*512], span) {
			t.Fatalf("%+v is not stable", c)
		}
	case scsi.OpVerify10, scsi.OpVerify16:
		c.BytChk = 1
		payload := bytes.Clone(span)
		if inRange && count > 0 && rapid.Bool().Draw(t, "differs") {
			at := rapid.IntRange(0, len(payload)-1).Draw(t, "at")
			payload[at] ^= 0x55
			expect(m.run(c, payload), false, scsi.SenseMiscompare.WithInfo(lba+uint64(at/512)))
			return
		}
		expect(m.run(c, payload), inRange, scsi.SenseLBAOutOfRange)
	case scsi.OpWriteSame10, scsi.OpWriteSame16:
		inRange = inRange && lba < testBlocks
		if inRange && n == 0 {
			span = m.data[lba*512:]
		}
		payload := pattern(seed, 1)
		if c.NDOB = op == scsi.OpWriteSame16 && seed%3 == 0; c.NDOB || seed%3 == 1 {
			payload = make([]byte, 512)
		}
		c.Unmap = m.d.puncher != nil && seed&16 != 0
		expect(m.run(c, payload), inRange, scsi.SenseLBAOutOfRange)
		for i := 0; inRange && i < len(span); i += 512 {
			copy(span[i:], payload)
		}
	case scsi.OpUnmap:
		list := unmapList(scsi.UnmapDescriptor{LBA: lba, Blocks: uint32(n)})
		c.ParamLen = uint32(len(list))
		if m.d.puncher == nil {
			expect(m.run(c, list), false, scsi.SenseInvalidOpcode)
			return
		}
		expect(m.run(c, list), inRange, scsi.SenseLBAOutOfRange)
		clear(span)
	case scsi.OpSyncCache16:
		c.LBA, c.Blocks = 0, 0
		expect(m.run(c, nil), true, scsi.Sense{})
		if m.d.syncer != nil && !m.m.isStable() {
			t.Fatal("not everything is stable after SYNCHRONIZE CACHE")
		}
	case scsi.OpModeSelect10:
		m.wce = seed&1 != 0
		list := m.modeSelect(caching(m.wce))
		c = scsi.Command{Op: op, PF: true, ParamLen: uint32(len(list))}
		expect(m.run(c, list), true, scsi.Sense{})
		if !m.wce && m.d.syncer != nil && !m.m.isStable() {
			t.Fatal("WCE=0 and something is not stable")
		}
	}
}

// Commands of many goroutines, each on blocks of its own, with the mode pages and
// the size changing under them: nobody loses or gets another's data. (For -race.)
func TestConcurrentCommands(t *testing.T) {
	f := newFixture(t, full)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(g)))
			lba := uint64(g) * 8
			for i := range 200 {
				data := pattern(byte(rng.Int()), 8)
				switch i % 8 {
				case 3:
					list := f.modeSelect(caching(i%16 == 3))
					f.exec(select10(list), list)
				case 5:
					f.exec(cdb(scsi.Command{Op: scsi.OpWriteSame16, LBA: lba, Blocks: 8}), data)
					data = bytes.Repeat(data[:512], 8)
				case 7:
					if _, _, err := f.d.Resize(); err != nil {
						t.Error(err)
					}
				}
				if i%8 != 5 {
					r := f.request(cdb(scsi.Command{Op: scsi.OpWrite16, FUA: i%3 == 0, LBA: lba, Blocks: 8}), data)
					if !f.d.TryExec(r) {
						f.d.Exec(r)
					}
				}
				r := f.exec(cdb(scsi.Command{Op: scsi.OpRead16, LBA: lba, Blocks: 8}), nil)
				if r.Status != scsi.Good || !bytes.Equal(r.Buf[:r.RespLen], data) {
					t.Errorf("goroutine %d, command %d: %v, other data", g, i, r.Status)
					return
				}
				f.exec(cdb(scsi.Command{Op: scsi.OpVerify16, LBA: lba, Blocks: 8, BytChk: 1}), data)
			}
		})
	}
	wg.Wait()
}

// Whatever CDB and buffer come: no panic, no access out of range (mem panics on
// those), no answer longer than the buffer, no write to a buffer that is not
// there.
func FuzzExec(f *testing.F) {
	for _, c := range commands {
		f.Add(scsi.AppendCDBUsage(nil, c.id), uint16(4096), byte(0))
		f.Add(cdb(scsi.Command{Op: c.id.Op, ServiceAction: uint8(c.id.SA), LBA: 1, Blocks: 2, AllocLen: 255, ParamLen: 24, PF: true}), uint16(1024), byte(c.id.Op))
	}
	list := unmapList(scsi.UnmapDescriptor{LBA: 1, Blocks: 2})
	f.Add(unmapCDB(list), uint16(len(list)), byte(0))
	f.Add([]byte{}, uint16(0), byte(1))
	fulls, plains := newFixture(f, full), newFixture(f, plain)
	f.Fuzz(func(t *testing.T, cdb []byte, size uint16, fill byte) {
		for _, fx := range []*fixture{fulls, plains} {
			fx.d.state.Store(fx.d.defaultState())
			var r handlers.Request
			buf := bytes.Repeat([]byte{fill}, int(size))
			if fill == 0 && len(buf) >= len(list) {
				copy(buf, list)
			}
			r.Reset(nil, cdb, buf)
			if !fx.d.TryExec(&r) {
				r.Reset(nil, cdb, buf)
				fx.d.Exec(&r)
			}
			(&fixture{t: t}).sane(&r)
			if fx.d.Size() != testBlocks*512 {
				t.Fatal("the size changed")
			}
		}
	})
}

func BenchmarkRead4K(b *testing.B) { benchmark(b, scsi.Command{Op: scsi.OpRead16, LBA: 8, Blocks: 8}) }
func BenchmarkWrite4K(b *testing.B) {
	benchmark(b, scsi.Command{Op: scsi.OpWrite16, LBA: 8, Blocks: 8})
}

func benchmark(b *testing.B, c scsi.Command) {
	for name, blocking := range map[string]bool{"TryExec": false, "Exec": true} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(c.Blocks * 512))
			f := newFixture(b, full)
			raw, buf := cdb(c), make([]byte, 4096)
			var r handlers.Request
			for b.Loop() {
				r.Reset(nil, raw, buf)
				if blocking || !f.d.TryExec(&r) {
					f.d.Exec(&r)
				}
			}
		})
	}
}
