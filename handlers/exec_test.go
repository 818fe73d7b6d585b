package handlers_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"scstuser/handlers"
	"scstuser/handlers/arena"
	"scstuser/scsi"
	"scstuser/ucmd"
)

// An EXEC without a buffer that asks for one gets one, which goes to the port
// with the data (rule R56) and stays with the handler without.
func TestR56BufferOfARead(t *testing.T) {
	for _, tc := range []struct {
		name     string
		dir      scsi.Dir
		exec     func(*handlers.Request)
		wantLen  int32
		wantPBuf bool
	}{
		{"all of it", scsi.DirRead, func(r *handlers.Request) { r.RespLen = int32(copy(r.Buf, "full")) }, 4, true},
		{"an answer without data", scsi.DirRead, func(*handlers.Request) {}, 0, false},
		{"a failure", scsi.DirRead, func(r *handlers.Request) { r.Fail(scsi.SenseReadError) }, 0, false},
		{"a status without sense", scsi.DirRead, func(r *handlers.Request) { r.Status = scsi.ReservationConflict }, 0, false},
		{"data and a status", scsi.DirRead, func(r *handlers.Request) { r.RespLen, r.Status = 4, scsi.CheckCondition }, 4, true},
	} {
		for way, h := range ways(tc.exec) {
			t.Run(tc.name+"/"+way, func(t *testing.T) {
				a := arena.New(arena.Options{})
				r := exchange(t, h, handlers.Options{Arena: a}, execSub(7, func(s *ucmd.Subcommand) {
					s.Dir, s.BufLen, s.AllocLen = tc.dir, 4, 4096
				}))[7]
				if r.Type != ucmd.ReplyCompleted || r.RespDataLen != tc.wantLen {
					t.Errorf("type %v with %d bytes, want %v with %d", r.Type, r.RespDataLen, ucmd.ReplyCompleted, tc.wantLen)
				}
				if got := r.PBuf != 0; got != tc.wantPBuf {
					t.Errorf("the reply has a buffer: %v, want %v", got, tc.wantPBuf)
				}
				want := int64(0)
				if tc.wantPBuf {
					want = 1
					if err := a.Free(r.PBuf); err != nil {
						t.Error(err)
					}
					want--
				}
				if live := a.Stats().Live; live != want {
					t.Errorf("I3: %d buffers are not free, want %d", live, want)
				}
			})
		}
	}
}

// A buffer that came with the EXEC is used and not given again.
func TestR56BufferOfThePort(t *testing.T) {
	for way, h := range ways(func(r *handlers.Request) { r.RespLen = int32(copy(r.Buf, "data")) }) {
		t.Run(way, func(t *testing.T) {
			a := arena.New(arena.Options{})
			addr, err := a.Alloc(4096)
			if err != nil {
				t.Fatal(err)
			}
			r := exchange(t, h, handlers.Options{Arena: a}, execSub(1, func(s *ucmd.Subcommand) {
				s.Dir, s.BufLen, s.PBuf = scsi.DirRead, 512, addr
			}))[1]
			if r.PBuf != 0 || r.RespDataLen != 4 || !bytes.Equal(a.Bytes(addr, 4), []byte("data")) {
				t.Errorf("reply %+v, buffer %q", r, a.Bytes(addr, 4))
			}
			if live := a.Stats().Live; live != 1 {
				t.Errorf("%d buffers, want the port's one", live)
			}
		})
	}
}

// What the handler sees of a command.
func TestRequest(t *testing.T) {
	a := arena.New(arena.Options{})
	buf, _ := a.Alloc(8192)
	copy(a.Bytes(buf, 8192), "in")
	copy(a.Bytes(buf+4096, 4096), "out")
	for _, tc := range []struct {
		name        string
		change      func(*ucmd.Subcommand)
		cdb         string
		bufLen, out int // -1: nil
	}{
		{"no data", func(s *ucmd.Subcommand) { s.Dir = scsi.DirNone }, "abcdef", -1, -1},
		{"no data though there is a buffer", func(s *ucmd.Subcommand) { s.Dir, s.PBuf = scsi.DirNone, buf }, "abcdef", -1, -1},
		{"write", func(s *ucmd.Subcommand) { s.Dir, s.PBuf, s.BufLen = scsi.DirWrite, buf, 100 }, "abcdef", 100, -1},
		{"the garbage of fact 29", func(s *ucmd.Subcommand) {
			s.Dir, s.PBuf, s.BufLen, s.OutPBuf, s.OutBufLen = scsi.DirRead, buf, 100, 0x1000, 0
		}, "abcdef", 100, -1},
		{"both directions", func(s *ucmd.Subcommand) {
			s.Dir, s.PBuf, s.BufLen, s.OutPBuf, s.OutBufLen = scsi.DirBidi, buf, 100, buf+4096, 3
		}, "abcdef", 100, 3},
		{"16 bytes of CDB", func(s *ucmd.Subcommand) { s.CDBLen = 16 }, "abcdefghijklmnop", -1, -1},
		{"no CDB at all", func(s *ucmd.Subcommand) { s.CDBLen = 0 }, "", -1, -1},
	} {
		check := func(r *handlers.Request) {
			length := func(b []byte) int {
				if b == nil {
					return -1
				}
				return len(b)
			}
			if string(r.CDB) != tc.cdb || length(r.Buf) != tc.bufLen || length(r.OutBuf) != tc.out {
				t.Errorf("CDB %q, %d bytes, %d out, want %q, %d and %d", r.CDB, length(r.Buf), length(r.OutBuf), tc.cdb, tc.bufLen, tc.out)
			}
			if len(r.Buf) > 0 && string(r.Buf[:2]) != "in" || len(r.OutBuf) > 0 && string(r.OutBuf) != "out" {
				t.Error("these are not the command's bytes")
			}
			if r.Sub.Handle != 3 || r.Status != scsi.Good || r.RespLen != 0 {
				t.Errorf("not a fresh request: %+v", r)
			}
		}
		for way, h := range ways(check) {
			t.Run(tc.name+"/"+way, func(t *testing.T) {
				exchange(t, h, handlers.Options{Arena: a}, execSub(3, func(s *ucmd.Subcommand) {
					copy(s.CDB[:], "abcdefghijklmnop")
					tc.change(s)
				}))
			})
		}
	}
}

// A Trier that declined leaves nothing behind in the request that Exec gets.
func TestExecGetsAFreshRequest(t *testing.T) {
	r := exchange(t, trier{
		handler{func(r *handlers.Request) {
			if _, failed := r.Sense(); failed || r.Status != scsi.Good || r.RespLen != 0 {
				t.Errorf("Exec got %+v", r)
			}
		}},
		func(r *handlers.Request) bool { r.Fail(scsi.SenseReadError); return false },
	}, handlers.Options{}, execSub(1, nil))[1]
	if r.Status != scsi.Good || len(r.Sense) != 0 {
		t.Errorf("the outcome is %s", failure(r))
	}
}

// extendedPort has long CDBs.
type extendedPort struct {
	*fakePort
	ext func(handle uint32) ([]byte, error)
}

func (p extendedPort) ExtendedCDB(h uint32) ([]byte, error) { return p.ext(h) }

func TestR37ExtendedCDB(t *testing.T) {
	long := func(s *ucmd.Subcommand) {
		copy(s.CDB[:], "0123456789abcdef")
		s.CDBLen = 20
		s.Dir, s.BufLen, s.AllocLen = scsi.DirRead, 512, 4096
	}
	for way, h := range ways(func(r *handlers.Request) { r.RespLen = int32(copy(r.Buf, r.CDB)) }) {
		t.Run("known/"+way, func(t *testing.T) {
			p := extendedPort{newFakePort(t, subs(execSub(9, long))), func(h uint32) ([]byte, error) {
				if h != 9 {
					t.Errorf("asked for %d", h)
				}
				return []byte("ghij"), nil
			}}
			a := serveFake(t, p, h, handlers.Options{})
			r := p.reply()
			if r.RespDataLen != 20 || string(a.Bytes(r.PBuf, 20)) != "0123456789abcdefghij" {
				t.Errorf("%d bytes: %q", r.RespDataLen, a.Bytes(r.PBuf, 20))
			}
		})
	}
	refused := failure(ucmd.Reply{Status: scsi.CheckCondition, Sense: scsi.SenseInvalidFieldInCDB.AppendFixed(nil)})
	mustNot := handler{func(*handlers.Request) { t.Error("a cut command was carried out") }}
	t.Run("the port can't", func(t *testing.T) {
		a := arena.New(arena.Options{})
		if got := failure(exchange(t, mustNot, handlers.Options{Arena: a}, execSub(1, long))[1]); got != refused {
			t.Errorf("got %s", got)
		}
		if a.Stats().Live != 0 {
			t.Error("I3: a buffer is not free")
		}
	})
	t.Run("the command is gone", func(t *testing.T) {
		p := extendedPort{newFakePort(t, subs(execSub(1, long))), func(uint32) ([]byte, error) { return nil, errors.New("gone") }}
		serveFake(t, p, mustNot, handlers.Options{})
		if got := failure(p.reply()); got != refused {
			t.Errorf("got %s", got)
		}
	})
}

// Rule R52: no memory is BUSY, for a READ as for a WRITE.
func TestR52NoMemoryIsBusy(t *testing.T) {
	mustNot := handler{func(*handlers.Request) { t.Error("Exec without its buffer") }}
	got := exchange(t, mustNot, handlers.Options{Arena: arena.New(arena.Options{MaxBytes: 4096})},
		execSub(1, func(s *ucmd.Subcommand) { s.Dir, s.BufLen, s.AllocLen = scsi.DirRead, 8192, 8192 }),
		ucmd.Subcommand{Handle: 2, Code: ucmd.SubAllocMem, AllocLen: 8192},
	)
	if r := got[1]; r.Status != scsi.Busy || r.PBuf != 0 || r.RespDataLen != 0 {
		t.Errorf("READ: %+v", r)
	}
	if r := got[2]; r.PBuf != 0 {
		t.Errorf("ALLOC_MEM: %+v", r)
	}
}

// Rule R57: what no reply can say fails its command, and loses no buffer.
func TestR57ImpossibleAnswers(t *testing.T) {
	want := failure(ucmd.Reply{Status: scsi.CheckCondition, Sense: scsi.SenseAbortedInternalFailure.AppendFixed(nil)})
	for _, tc := range []struct {
		name   string
		dir    scsi.Dir
		length int32
	}{
		{"longer than the buffer", scsi.DirRead, 513},
		{"negative", scsi.DirRead, -1},
		{"for a write", scsi.DirWrite, 1},
		{"for a command without data", scsi.DirNone, 1},
		{"for both directions", scsi.DirBidi, 1},
	} {
		for way, h := range ways(func(r *handlers.Request) { r.RespLen = tc.length }) {
			t.Run(tc.name+"/"+way, func(t *testing.T) {
				a := arena.New(arena.Options{})
				r := exchange(t, h, handlers.Options{Arena: a}, execSub(1, func(s *ucmd.Subcommand) {
					s.Dir = tc.dir
					if tc.dir != scsi.DirNone {
						s.BufLen, s.AllocLen = 512, 4096
					}
				}))[1]
				if failure(r) != want || r.RespDataLen != 0 || r.PBuf != 0 {
					t.Errorf("got %s with %d bytes", failure(r), r.RespDataLen)
				}
				if a.Stats().Live != 0 {
					t.Error("I3: a buffer is not free")
				}
			})
		}
	}
}

// descriptors is a handler with D_SENSE set.
type descriptors struct {
	handler
	on bool
}

func (d descriptors) DSense() bool { return d.on }

func TestSenseFormats(t *testing.T) {
	sense := scsi.SenseReadError.WithInfo(1234)
	fail := handler{func(r *handlers.Request) { r.Fail(sense) }}
	for name, tc := range map[string]struct {
		h    handlers.Handler
		want []byte
	}{
		"fixed by default": {fail, sense.AppendFixed(nil)},
		"D_SENSE off":      {descriptors{fail, false}, sense.AppendFixed(nil)},
		"D_SENSE on":       {descriptors{fail, true}, sense.AppendDescriptor(nil)},
	} {
		t.Run(name, func(t *testing.T) {
			r := exchange(t, tc.h, handlers.Options{}, execSub(1, nil))[1]
			if r.Status != scsi.CheckCondition || !bytes.Equal(r.Sense, tc.want) {
				t.Errorf("got %s", failure(r))
			}
		})
	}
	t.Run("another status in the end", func(t *testing.T) {
		r := exchange(t, handler{func(r *handlers.Request) {
			r.Fail(sense)
			r.Status = scsi.TaskSetFull
		}}, handlers.Options{}, execSub(1, nil))[1]
		if r.Status != scsi.TaskSetFull || len(r.Sense) != 0 {
			t.Errorf("got %s", failure(r))
		}
	})
}

// The replies of a batch don't share their sense.
func TestSenseOfABatch(t *testing.T) {
	var batch []ucmd.Subcommand
	for h := range uint32(8) {
		batch = append(batch, execSub(h, nil))
	}
	for way, h := range ways(func(r *handlers.Request) { r.Fail(scsi.SenseReadError.WithInfo(uint64(r.Sub.Handle))) }) {
		t.Run(way, func(t *testing.T) {
			for handle, r := range exchange(t, h, handlers.Options{}, batch...) {
				if want := scsi.SenseReadError.WithInfo(uint64(handle)).AppendFixed(nil); !bytes.Equal(r.Sense, want) {
					t.Errorf("%d: % x, want % x", handle, r.Sense, want)
				}
			}
		})
	}
}

func TestRequestFail(t *testing.T) {
	var r handlers.Request
	r.Reset(&ucmd.Subcommand{Handle: 4}, []byte{1}, []byte{2})
	r.RespLen = 1
	r.Fail(scsi.SenseWriteError)
	if s, ok := r.Sense(); !ok || s != scsi.SenseWriteError || r.Status != scsi.CheckCondition || r.RespLen != 0 {
		t.Errorf("after Fail: %v", fmt.Sprint(r))
	}
	r.Reset(&ucmd.Subcommand{}, nil, nil)
	if _, ok := r.Sense(); ok || r.Status != scsi.Good {
		t.Error("Reset keeps the failure")
	}
}
