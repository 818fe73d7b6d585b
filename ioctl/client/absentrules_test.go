package client

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	program "os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"scstuser/internal/proc"
	"scstuser/scsi"
	"scstuser/target"
	"scstuser/ucmd"
)

// owes says whether a ucmd of this state is listed as sent to the handler.
func (r *sessionRig) owes(state uint8) bool {
	r.t.Helper()
	form := fmt.Sprintf(`\(state %x, ref \d+\), sent_to_user 1`, state)
	return regexp.MustCompile(form).MatchString(r.host.Commands("disk1"))
}

// Every subcommand is the handler's until it is answered, those as well whose
// answer says nothing.
func TestR26EverySubcommandIsOwedAtANode(t *testing.T) {
	r := newSession(t, func(d *ucmd.Desc) { d.Opt.OnFree = uint8(ucmd.OnFreeCall) })
	owed := func(code ucmd.Subcode) {
		t.Helper()
		s := r.get(code)
		time.Sleep(10 * time.Millisecond)
		if !r.owes(uint8(code)) {
			t.Errorf("%v is not listed before its answer:\n%s", code, r.host.Commands("disk1"))
		}
		r.answer(s)
		if r.owes(uint8(code)) {
			t.Errorf("%v is owed after its answer:\n%s", code, r.host.Commands("disk1"))
		}
	}
	w := r.write(8)
	owed(ucmd.SubAllocMem)
	owed(ucmd.SubExec)
	r.ends(w, scsi.Good, scsi.SenseNone)
	owed(ucmd.SubOnFree)
	if err := r.port.FlushCache(); err != nil {
		t.Fatal(err)
	}
	owed(ucmd.SubOnCachedMemFree)
	m := r.manage(target.ClearACA, nil)
	owed(ucmd.SubTMReceived)
	owed(ucmd.SubTMDone)
	r.managed(m, target.TMSuccess)
	r.say("detach")
	owed(ucmd.SubDetachSess)
}

// FLUSH_CACHE frees what is idle and leaves alone what is in use; each buffer is
// named once.
func TestR35R63FlushAtANode(t *testing.T) {
	r := newSession(t, nil)
	busy, w := r.write(8), r.write(8) // the latest is asked for first (R32)
	r.answer(r.get(ucmd.SubAllocMem))
	r.answer(r.get(ucmd.SubAllocMem))
	first, second := r.get(ucmd.SubExec), r.get(ucmd.SubExec)
	r.answer(first)
	r.ends(w, scsi.Good, scsi.SenseNone)
	flushed := make(chan error, 1)
	go func() { flushed <- r.port.FlushCache() }()
	time.Sleep(20 * time.Millisecond)
	r.nothing() // it waits for the command that is out
	r.answer(second)
	r.ends(busy, scsi.Good, scsi.SenseNone)
	// The second buffer may have become idle too late: once more.
	if err := errors.Join(<-flushed, r.port.FlushCache()); err != nil {
		t.Fatal(err)
	}
	freed := map[uint64]int{}
	for range 2 {
		s := r.get(ucmd.SubOnCachedMemFree)
		freed[s.PBuf]++
		r.answer(s)
	}
	if freed[first.PBuf] != 1 || freed[second.PBuf] != 1 {
		t.Errorf("freed %v, want %#x and %#x", freed, first.PBuf, second.PBuf)
	}
	r.nothing()
}

// A buffer that is idle for long enough comes back by itself, once.
func TestR63PurgeAtANode(t *testing.T) {
	const interval = time.Second
	r := newSession(t, func(d *ucmd.Desc) { d.SGVPurgeInterval = int32(interval / time.Second) })
	w := r.write(8)
	r.answer(r.get(ucmd.SubAllocMem))
	e := r.get(ucmd.SubExec)
	r.answer(e)
	r.ends(w, scsi.Good, scsi.SenseNone)
	idle := time.Now()
	s := r.get(ucmd.SubOnCachedMemFree)
	if took := time.Since(idle); took < interval/2 {
		t.Errorf("it came after %v", took)
	}
	if s.PBuf != e.PBuf {
		t.Errorf("%#x was freed, want %#x", s.PBuf, e.PBuf)
	}
	r.answer(s)
	r.nothing()
	if list := r.host.Commands("disk1"); list != "" {
		t.Errorf("commands: %s", list)
	}
}

func TestR36CapacityAtANode(t *testing.T) {
	r := newSession(t, nil)
	if err := r.port.CapacityChanged(); err != nil {
		t.Fatal(err)
	}
	if got := r.say("events 1"); got != "6 42 9" { // POWER ON was the first
		t.Errorf("the session is told %s, want 6 42 9", got)
	}
	r.nothing()
}

func TestR37LongCDBAtANode(t *testing.T) {
	r := newSession(t, func(d *ucmd.Desc) { d.Opt.Parse = uint8(ucmd.ParseCall) })
	cdb := make([]byte, 32)
	for i := range cdb {
		cdb[i] = byte(i)
	}
	cdb[0] = 0xc1
	x := r.submit(cdb, "submit")
	s := r.get(ucmd.SubParse)
	if s.CDBLen != 32 || s.CDB[15] != 15 {
		t.Errorf("PARSE: %+v", s)
	}
	if rest, err := r.port.ExtendedCDB(s.Handle); err != nil || string(rest) != string(cdb[16:]) {
		t.Errorf("% x, %v", rest, err)
	}
	r.reply(ucmd.Reply{Handle: s.Handle, Code: s.Code, QueueType: scsi.QueueSimple, Dir: scsi.DirNone, OpFlags: 0x20}, nil)
	e := r.get(ucmd.SubExec)
	if rest, err := r.port.ExtendedCDB(e.Handle); err != nil || string(rest) != string(cdb[16:]) {
		t.Errorf("with EXEC: % x, %v", rest, err)
	}
	r.answer(e)
	r.ends(x, scsi.Good, scsi.SenseNone)
}

// A child does not get the buffers: commands go on while programs are run.
func TestR54ForkAtANode(t *testing.T) {
	r := newSession(t, nil)
	w := r.write(8)
	s := r.get(ucmd.SubAllocMem)
	r.answer(s)
	e := r.get(ucmd.SubExec)
	flags, err := proc.MappingFlags(e.PBuf)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip(err)
	}
	if err != nil || !strings.Contains(flags+" ", " dc ") {
		t.Errorf("the mapping of pbuf has the flags%s, without dc (don't copy): %v", flags, err)
	}
	b := r.arena.Bytes(e.PBuf, 4096)
	if b[0] != 'w' || b[4095] != 'w' {
		t.Errorf("the payload is not there: %q", b[0])
	}
	r.answer(e)
	r.ends(w, scsi.Good, scsi.SenseNone)
	for range 5 {
		rd := r.read()
		e := r.get(ucmd.SubExec)
		if err := program.Command("true").Run(); err != nil {
			t.Skip(err)
		}
		b := r.arena.Bytes(e.PBuf, 4096)
		b[0] = 'r'
		r.answer(e)
		if got := r.say("outcome %d", rd.id); got != "0 0 0 0 4096 114" {
			t.Errorf("outcome %s", got)
		}
	}
}

// The target writes what the reply says of a WRITE SAME, and refuses lists that
// are none.
func TestR60WriteSameAtANode(t *testing.T) {
	ws := scsi.EncodeWriteSame16(16, 8, false, false)
	for _, x := range []struct {
		name  string
		list  []ucmd.WriteSameDescr
		len   int32
		errno error
		want  string // what WRITEs come, LBA+blocks
	}{
		{"the whole range", nil, 0, nil, "16+8"},
		{"two ranges", []ucmd.WriteSameDescr{{LBA: 16, Blocks: 2}, {LBA: 20, Blocks: 1}, {}}, 48, nil, "16+2 20+1"},
		{"no end", []ucmd.WriteSameDescr{{LBA: 16, Blocks: 2}}, 16, syscall.EINVAL, ""},
		{"half a range", []ucmd.WriteSameDescr{{LBA: 16, Blocks: 2}, {}}, 24, syscall.EINVAL, ""},
		{"more than a page", make([]ucmd.WriteSameDescr, 257), 4112, syscall.EOVERFLOW, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newSession(t, nil)
			s := r.submit(ws.Slice(), "submit")
			r.answer(r.get(ucmd.SubAllocMem))
			e := r.get(ucmd.SubExec)
			p := ucmd.Reply{Handle: e.Handle, Code: e.Code, Type: ucmd.ReplyDoWriteSame, WriteSame: x.list, WSLen: x.len}
			r.reply(p, x.errno)
			if x.errno != nil {
				r.ends(s, scsi.CheckCondition, scsi.SenseHardwareInternalFailure)
				return
			}
			var writes []string
			for r.say("over %d", s.id) != "1" {
				subs := make([]ucmd.Subcommand, 1)
				if _, n, err := r.port.ReplyAndGet(t.Context(), nil, subs); err != nil || n != 1 {
					t.Fatal(n, err)
				}
				if w := subs[0]; w.Code == ucmd.SubExec {
					writes = append(writes, fmt.Sprintf("%d+%d", w.LBA, w.BufLen/512))
				}
				r.answer(subs[0])
			}
			r.ends(s, scsi.Good, scsi.SenseNone)
			if got := strings.Join(writes, " "); got != x.want {
				t.Errorf("WRITEs %s, want %s", got, x.want)
			}
		})
	}
}

// What the handler never saw it is not told the end of.
func TestR62NeverSeenAtANode(t *testing.T) {
	r := newSession(t, func(d *ucmd.Desc) { d.Opt.OnFree = uint8(ucmd.OnFreeCall) })
	r.read()
	m := r.manage(target.AbortTaskSet, nil)
	r.answer(r.get(ucmd.SubTMReceived))
	r.answer(r.get(ucmd.SubTMDone))
	r.managed(m, target.TMSuccess)
	r.nothing()
	if list := r.host.Commands("disk1"); list != "" {
		t.Errorf("commands: %s", list)
	}
	rd := r.read() // one that it does see
	r.answer(r.get(ucmd.SubExec))
	r.answer(r.get(ucmd.SubOnFree))
	r.ends(rd, scsi.Good, scsi.SenseNone)
}

// A release ends, whatever is idle in the pools and whatever the handler has,
// and leaves nothing; the name and its pools are new.
func TestR71NothingIsLeftAtANode(t *testing.T) {
	for _, opt := range []ucmd.Opt{
		{OnFree: uint8(ucmd.OnFreeIgnore), Reuse: uint8(ucmd.ReuseAll)}, {OnFree: uint8(ucmd.OnFreeCall), Reuse: uint8(ucmd.ReuseAll)},
		{OnFree: uint8(ucmd.OnFreeIgnore)}, {OnFree: uint8(ucmd.OnFreeCall)},
	} {
		t.Run(fmt.Sprintf("on_free %d, reuse %d", opt.OnFree, opt.Reuse), func(t *testing.T) {
			r := newSession(t, func(d *ucmd.Desc) { d.Opt.OnFree, d.Opt.Reuse = opt.OnFree, opt.Reuse })
			w := r.write(8)
			r.answer(r.get(ucmd.SubAllocMem))
			r.answer(r.get(ucmd.SubExec))
			if opt.OnFree == uint8(ucmd.OnFreeCall) {
				r.answer(r.get(ucmd.SubOnFree))
			}
			r.ends(w, scsi.Good, scsi.SenseNone) // its buffer is idle, with reuse
			var out []*sent
			for range 3 { // these end in the release, and their buffers become idle then
				out = append(out, r.write(16))
				r.answer(r.get(ucmd.SubAllocMem))
				r.get(ucmd.SubExec)
			}
			begin := time.Now()
			shut(t, r.port)
			for _, s := range out {
				r.ends(s, scsi.CheckCondition, scsi.SenseLUNotSupported)
			}
			if left := r.say("released"); left != "0" {
				t.Errorf("%s ucmds are left (-1: it got stuck)", left)
			}
			r.host.WaitGone("disk1")
			if took := time.Since(begin); took > patience/2 {
				t.Errorf("it took %v", took)
			}
			if _, err := os.Stat(filepath.Join(r.host.Mount, "sgv/disk1")); !os.IsNotExist(err) {
				t.Errorf("its pool is still there: %v", err)
			}
		})
	}
}
