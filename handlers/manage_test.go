package handlers_test

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"scstuser/handlers"
	"scstuser/handlers/arena"
	"scstuser/scsi"
	"scstuser/ucmd"
)

// Rule R26: every subcommand is answered once, also those without a result and
// those that nobody knows, whatever the handler can do.
func TestR26EverySubcommandIsAnswered(t *testing.T) {
	codes := []ucmd.Subcode{
		ucmd.SubParse, ucmd.SubAllocMem, ucmd.SubExec, ucmd.SubOnFree, ucmd.SubOnCachedMemFree, ucmd.SubExtCopyRemap,
		ucmd.SubTMReceived, ucmd.SubTMDone, ucmd.SubAttachSess, ucmd.SubDetachSess, 0x77,
	}
	var batch []ucmd.Subcommand
	for i, c := range codes {
		batch = append(batch, ucmd.Subcommand{Handle: uint32(100 + i), Code: c})
	}
	for name, h := range map[string]handlers.Handler{
		"a handler of commands only": handler{}, "one that knows it all": &manager{},
	} {
		for _, multi := range []int{len(codes), 1} {
			t.Run(fmt.Sprintf("%s, %d at a time", name, multi), func(t *testing.T) {
				p := newFakePort(t)
				for i := 0; i < len(batch); i += multi {
					p.steps <- subs(batch[i : i+multi]...)
				}
				serveFake(t, p, h, handlers.Options{Multi: multi})
				for _, s := range batch {
					if r := p.reply(); r.Handle != s.Handle || r.Code != s.Code {
						t.Errorf("got the reply to %v h=%d, want %v h=%d", r.Code, r.Handle, s.Code, s.Handle)
					}
				}
			})
		}
	}
}

// manager wants to know everything and keeps it.
type manager struct {
	handler
	calls  []string
	attach error
	result int32
}

func (m *manager) note(format string, args ...any) {
	m.calls = append(m.calls, fmt.Sprintf(format, args...))
}

func (m *manager) Attach(h uint64, info *ucmd.SessInfo) error {
	m.note("attach %d %s", h, info.Initiator)
	return m.attach
}

func (m *manager) Detach(h uint64) { m.note("detach %d", h) }

func (m *manager) TaskMgmt(sub *ucmd.Subcommand) int32 {
	m.note("%v %d", sub.Code, sub.TMFunc)
	return m.result
}

func (m *manager) Parse(sub *ucmd.Subcommand, reply *ucmd.Reply) {
	m.note("parse %x", sub.CDB[0])
	reply.OpFlags = 42
}

// The handler is told what it wants to know, in order, and its results count.
func TestManagement(t *testing.T) {
	m := &manager{result: -5}
	got := exchange(t, m, handlers.Options{},
		ucmd.Subcommand{Handle: 1, Code: ucmd.SubAttachSess, SessH: 8, Sess: &ucmd.SessInfo{Initiator: "me"}},
		ucmd.Subcommand{Handle: 2, Code: ucmd.SubTMReceived, TMFunc: 4},
		ucmd.Subcommand{Handle: 3, Code: ucmd.SubTMDone, TMFunc: 4},
		ucmd.Subcommand{Handle: 4, Code: ucmd.SubParse, CDB: [16]byte{0xc0}},
		ucmd.Subcommand{Handle: 5, Code: ucmd.SubDetachSess, SessH: 8},
	)
	want := "[attach 8 me TM_RECEIVED 4 TM_DONE 4 parse c0 detach 8]"
	if fmt.Sprint(m.calls) != want {
		t.Errorf("the handler saw %v, want %s", m.calls, want)
	}
	if got[1].Result != 0 || got[2].Result != -5 || got[3].Result != -5 || got[4].OpFlags != 42 {
		t.Errorf("replies: %+v", got)
	}
}

// Rule R40: an error refuses the session, with its errno.
func TestR40AttachRefused(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want int32
	}{
		{nil, 0},
		{errors.New("not you"), -int32(syscall.EPERM)},
		{fmt.Errorf("no room: %w", syscall.ENOMEM), -int32(syscall.ENOMEM)},
		{fmt.Errorf("odd: %w", syscall.Errno(0)), -int32(syscall.EPERM)},
	} {
		m := &manager{attach: tc.err}
		r := exchange(t, m, handlers.Options{}, ucmd.Subcommand{Handle: 1, Code: ucmd.SubAttachSess, Sess: &ucmd.SessInfo{}})[1]
		if r.Result != tc.want {
			t.Errorf("%v: result %d, want %d", tc.err, r.Result, tc.want)
		}
	}
}

// Rules R61, R63: what was allocated is freed when the port says so, once, and
// what it keeps stays.
func TestR61R63Buffers(t *testing.T) {
	a := arena.New(arena.Options{})
	live := func(want int64) {
		t.Helper()
		if got := a.Stats().Live; got != want {
			t.Errorf("%d buffers are live, want %d", got, want)
		}
	}
	r := exchange(t, handler{}, handlers.Options{Arena: a},
		ucmd.Subcommand{Handle: 1, Code: ucmd.SubAllocMem, AllocLen: 4096},
		ucmd.Subcommand{Handle: 2, Code: ucmd.SubAllocMem, AllocLen: 12288})
	live(2)
	first, second := r[1].PBuf, r[2].PBuf
	if first == 0 || second == 0 || first == second || len(a.Bytes(second, 12288)) != 12288 {
		t.Fatalf("the buffers are %x and %x", first, second)
	}
	exchange(t, handler{}, handlers.Options{Arena: a},
		ucmd.Subcommand{Handle: 1, Code: ucmd.SubOnFree, PBuf: first, BufferCached: true},
		ucmd.Subcommand{Handle: 2, Code: ucmd.SubOnFree}) // had none
	live(2)
	exchange(t, handler{}, handlers.Options{Arena: a}, ucmd.Subcommand{Handle: 1, Code: ucmd.SubOnCachedMemFree, PBuf: first})
	live(1)
	exchange(t, handler{}, handlers.Options{Arena: a}, ucmd.Subcommand{Handle: 2, Code: ucmd.SubOnFree, PBuf: second})
	live(0)
	// A port that names a buffer twice, or one that never was, does no harm.
	exchange(t, handler{}, handlers.Options{Arena: a},
		ucmd.Subcommand{Handle: 1, Code: ucmd.SubOnCachedMemFree, PBuf: first},
		ucmd.Subcommand{Handle: 2, Code: ucmd.SubOnFree, PBuf: 12345})
	live(0)
}

// Rule R65: nothing is remapped; the target copies the whole segment.
func TestR65Remap(t *testing.T) {
	seg := &ucmd.RemapSegment{Descr: ucmd.DataDescr{SrcLBA: 1, DstLBA: 2, DataLen: 4096}}
	got := exchange(t, handler{}, handlers.Options{},
		ucmd.Subcommand{Handle: 1, Code: ucmd.SubExtCopyRemap, Remap: seg},
		ucmd.Subcommand{Handle: 2, Code: ucmd.SubExtCopyRemap})
	if r := got[1]; r.Status != scsi.Good || r.RemapLen != 24 || len(r.Remap) != 1 || r.Remap[0] != seg.Descr {
		t.Errorf("got %+v", r)
	}
	// RemapLen 0 and GOOD would claim that it was copied.
	if r := got[2]; r.Status != scsi.CheckCondition {
		t.Errorf("without a segment: %+v", r)
	}
}

// Rules R43, R45: without a Parser the standard one answers.
func TestR45StandardParse(t *testing.T) {
	fixed := func(s scsi.Sense) string {
		return failure(ucmd.Reply{Status: scsi.CheckCondition, Sense: s.AppendFixed(nil)})
	}
	for _, tc := range []struct {
		name string
		cdb  scsi.CDB
		want ucmd.Reply
		fail string
	}{
		{"READ", scsi.EncodeRead16(5, 2, false), ucmd.Reply{Dir: scsi.DirRead, LBA: 5, DataLen: 8192, BufLen: 8192, QueueType: scsi.QueueSimple}, ""},
		{"WRITE", scsi.EncodeWrite16(5, 2, false), ucmd.Reply{Dir: scsi.DirWrite, LBA: 5, DataLen: 8192, BufLen: 8192, QueueType: scsi.QueueSimple}, ""},
		{"READ of nothing (R47)", scsi.EncodeRead16(5, 0, false), ucmd.Reply{Dir: scsi.DirNone, LBA: 5, QueueType: scsi.QueueSimple}, ""},
		{"INQUIRY goes to the head (fact 22)", scsi.EncodeInquiry(false, 0, 36), ucmd.Reply{Dir: scsi.DirRead, DataLen: 36, BufLen: 36, QueueType: scsi.QueueHeadOfQueue}, ""},
		{"the last block that a reply can name", scsi.EncodeRead16(1<<63-1, 1, false), ucmd.Reply{Dir: scsi.DirRead, LBA: 1<<63 - 1, DataLen: 4096, BufLen: 4096, QueueType: scsi.QueueSimple}, ""},
		{"one more", scsi.EncodeRead16(1<<63, 1, false), ucmd.Reply{}, fixed(scsi.SenseLBAOutOfRange)},
		{"too long", scsi.EncodeRead16(0, 1<<31, false), ucmd.Reply{}, fixed(scsi.SenseInvalidFieldInCDB)},
		{"unknown", scsi.CDB{Bytes: [16]byte{0xc0}, Len: 10}, ucmd.Reply{}, fixed(scsi.SenseInvalidOpcode)},
		{"empty", scsi.CDB{}, ucmd.Reply{}, fixed(scsi.SenseInvalidFieldInCDB)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := exchange(t, handler{}, handlers.Options{BlockSize: 4096}, ucmd.Subcommand{
				Handle: 1, Code: ucmd.SubParse, QueueType: scsi.QueueSimple, CDB: tc.cdb.Bytes, CDBLen: uint16(tc.cdb.Len),
			})[1]
			if tc.fail != "" {
				if failure(got) != tc.fail {
					t.Errorf("got %s, want %s", failure(got), tc.fail)
				}
				return
			}
			if got.OpFlags&0x20 == 0 { // INFO_VALID
				t.Errorf("the flags are %#x", got.OpFlags)
			}
			tc.want.Handle, tc.want.Code, tc.want.OpFlags = 1, ucmd.SubParse, got.OpFlags
			if fmt.Sprint(got) != fmt.Sprint(tc.want) {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
		})
	}
	t.Run("longer than 16 bytes, from a port that can't tell the rest", func(t *testing.T) {
		got := exchange(t, handler{}, handlers.Options{}, ucmd.Subcommand{Handle: 1, Code: ucmd.SubParse, CDB: [16]byte{0x7f}, CDBLen: 32})[1]
		if want := fixed(scsi.SenseInvalidFieldInCDB); failure(got) != want {
			t.Errorf("got %s, want %s", failure(got), want)
		}
	})
	t.Run("refused in the handler's sense format", func(t *testing.T) {
		got := exchange(t, descriptors{handler{}, true}, handlers.Options{}, ucmd.Subcommand{Handle: 1, Code: ucmd.SubParse, CDB: [16]byte{0xc0}, CDBLen: 10})[1]
		if want := failure(ucmd.Reply{Status: scsi.CheckCondition, Sense: scsi.SenseInvalidOpcode.AppendDescriptor(nil)}); failure(got) != want {
			t.Errorf("got %s, want %s", failure(got), want)
		}
	})
}
