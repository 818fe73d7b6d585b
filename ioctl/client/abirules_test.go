package client

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"scstuser/internal/nodehost"
	"scstuser/ioctl/abi"
	"scstuser/scsi"
	"scstuser/ucmd"
)

// The numbers of part 1 of the specification, as it has them.
const (
	ioctlRegister    = 0x40A07501
	ioctlUnregister  = 0x7502
	ioctlSetOptions  = 0x40147503
	ioctlGetOptions  = 0x80147504
	ioctlReplyAndGet = 0xC2207505
	ioctlReply       = 0x40387506
	ioctlFlush       = 0x7507
	ioctlCapacity    = 0x7508
	ioctlExtendedCDB = 0xC0107509
	ioctlPrealloc    = 0xC010750A
	ioctlMulti       = 0xC010750B
)

// The node knows these numbers and no others, and before REGISTER_DEVICE it has
// no device for them.
func TestR1R6NumbersAtANode(t *testing.T) {
	r := openRaw(t, nodehost.Start(t), false)
	for _, nr := range []uint32{
		ioctlUnregister, ioctlSetOptions, ioctlGetOptions, ioctlReplyAndGet, ioctlReply, ioctlFlush,
		ioctlCapacity, ioctlExtendedCDB, ioctlPrealloc, ioctlMulti,
	} {
		clear(r.mem)
		r.fails(fmt.Sprintf("%#x", nr), nr, syscall.ENODEV)
		r.fails(fmt.Sprintf("R6: %#x with another size", nr), nr^0x80000, syscall.EINVAL)
	}
	r.fails("R1: REGISTER_DEVICE of nothing", ioctlRegister, syscall.EFAULT) // its strings
	for _, nr := range []uint32{0x7500, 0x750C, 0x7520, 0x80A07501, 0x5401} {
		r.fails(fmt.Sprintf("R6: %#x", nr), nr, syscall.EINVAL)
	}
	fds := []unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}}
	if _, err := unix.Poll(fds, 10); err != nil {
		t.Errorf("R6: poll: %v", err)
	}
}

// Each kind of subcommand arrives under its subcode, at its place.
func TestR2SubcodesAtANode(t *testing.T) {
	r := rawSession(t, func(d *ucmd.Desc) { d.Opt.Parse, d.Opt.OnFree = uint8(ucmd.ParseCall), uint8(ucmd.OnFreeCall) })
	r.submit(1, scsi.OpWrite16)
	h := r.get(0xC0507301) // PARSE
	r.reply(ucmd.Reply{Handle: h, Code: ucmd.SubParse, QueueType: scsi.QueueSimple, Dir: scsi.DirWrite, DataLen: 4096, BufLen: 4096, OpFlags: 0x20}, 0)
	h = r.get(0xC0287302) // ALLOC_MEM
	r.reply(ucmd.Reply{Handle: h, Code: ucmd.SubAllocMem, PBuf: r.at(dataAt)}, 0)
	h = r.get(0xC0687303) // EXEC
	r.reply(good(h), 0)
	h = r.get(0x80107304) // ON_FREE_CMD
	r.reply(ucmd.Reply{Handle: h, Code: ucmd.SubOnFree}, 0)
	r.ends(1, "0 0 0 0 0 0")
	r.fails("FLUSH_CACHE", ioctlFlush, 0)
	h = r.get(0x80087305) // ON_CACHED_MEM_FREE
	r.reply(ucmd.Reply{Handle: h, Code: ucmd.SubOnCachedMemFree}, 0)
	r.host.Say("tm 2 4 0")
	h = r.get(0xC0187308) // TASK_MGMT_RECEIVED
	r.reply(ucmd.Reply{Handle: h, Code: ucmd.SubTMReceived}, 0)
	h = r.get(0xC0187309) // TASK_MGMT_DONE
	r.reply(ucmd.Reply{Handle: h, Code: ucmd.SubTMDone}, 0)
	r.host.Say("detach")
	h = r.get(0x82187321) // DETACH_SESS
	r.reply(ucmd.Reply{Handle: h, Code: ucmd.SubDetachSess}, 0)
	// ATTACH_SESS is in rawSession. EXT_COPY_REMAP has no producer.
	if abi.SubcodeAttachSess != 0x82187320 || abi.SubcodeExtCopyRemap != 0xC0307306 {
		t.Error("ATTACH_SESS or EXT_COPY_REMAP has another subcode")
	}
}

// A device registered, a command read and answered, byte by byte at the offsets
// of the specification.
func TestR3OffsetsAtANode(t *testing.T) {
	r := openRaw(t, nodehost.StartWith(t, nodehost.Config{NoExport: true}), true)
	copy(r.mem[stringsAt:], abi.Version)
	copy(r.mem[stringsAt+1024:], "GPL")
	r.put64(argAt, r.at(stringsAt))
	r.put64(argAt+8, r.at(stringsAt+1024))
	r.mem[argAt+28+1], r.mem[argAt+28+2], r.mem[argAt+28+8], r.mem[argAt+28+10] = 1, 3, 1, 1 // on_free, reuse, tst, queue_alg
	r.put32(argAt+48, 4096)                                                                  // block_size
	copy(r.mem[argAt+53:], "offsets")
	copy(r.mem[argAt+103:], "pool of its own")
	r.fails("register", ioctlRegister, 0)
	for path, want := range map[string]string{"devices/offsets/block_size": "4096", "sgv/pool of its own/stats": ""} {
		text, err := os.ReadFile(filepath.Join(r.host.Mount, path))
		if err != nil || !strings.HasPrefix(string(text), want) {
			t.Errorf("%s: %q, %v", path, text, err)
		}
	}
	clear(r.mem[argAt:][:64])
	r.fails("options", ioctlGetOptions, 0)
	if o := r.mem[argAt:][:20]; o[1] != 1 || o[2] != 3 || o[8] != 1 || o[10] != 1 {
		t.Errorf("options % x", o)
	}

	r.host.Say("attach offsets")
	h := r.get(0x82187320)
	name := func(at int) string { return abi.CString(r.mem[argAt+8+at:][:256]) }
	if r.u64(argAt+8) == 0 || r.u64(argAt+8+8) != 7 || name(24) != "test" || name(24+256) != "target" {
		t.Errorf("ATTACH_SESS: % x", r.mem[argAt:][:64])
	}
	clear(r.mem[argAt:][:56])
	r.put32(argAt, h)
	r.put32(argAt+4, 0x82187320)
	r.fails("reply", ioctlReply, 0)
	if r.host.Say("attached") != "1" {
		t.Fatal("refused")
	}

	r.host.Say("submit 1 1 0 88 0 0 0 0 0 0 0 0 5 0 0 0 2 0 0") // 2 blocks at 5
	h = r.get(0xC0687303)
	const exec = argAt + 8
	for _, f := range []struct {
		name      string
		got, want uint64
	}{
		{"cdb", uint64(r.mem[exec+8]), 0x88}, {"cdb's end", uint64(r.mem[exec+8+13]), 2}, {"cdb_len", uint64(r.u16(exec + 24)), 16},
		{"lba", r.u64(exec + 32), 5}, {"data_len", r.u64(exec + 40), 8192}, {"bufflen", uint64(r.u32(exec + 48)), 8192},
		{"alloc_len", uint64(r.u32(exec + 52)), 8192}, {"pbuf", r.u64(exec + 56), 0}, {"queue_type", uint64(r.mem[exec+64]), 1},
		{"data_direction", uint64(r.mem[exec+65]), 2}, {"partial", uint64(r.mem[exec+66]), 0},
	} {
		if f.got != f.want {
			t.Errorf("EXEC: %s is %#x, want %#x", f.name, f.got, f.want)
		}
	}
	copy(r.mem[dataAt:], scsi.SenseLBAOutOfRange.AppendFixed(nil))
	clear(r.mem[argAt:][:56])
	r.put32(argAt, h)
	r.put32(argAt+4, 0xC0687303)
	r.mem[exec+16], r.mem[exec+17], r.mem[exec+24] = 1, 2, 18 // COMPLETED, CHECK CONDITION, sense_len
	r.put64(exec+32, r.at(dataAt))
	r.fails("reply", ioctlReply, 0)
	r.ends(1, "2 5 33 0 0 0")

	r.host.Say("submit 2 1 0 88 0 0 0 0 0 0 0 0 0 0 0 0 2 0 0")
	h = r.get(0xC0687303)
	r.mem[dataAt] = 77
	clear(r.mem[argAt:][:56])
	r.put32(argAt, h)
	r.put32(argAt+4, 0xC0687303)
	r.put32(exec, 8000) // resp_data_len
	r.put64(exec+8, r.at(dataAt))
	r.mem[exec+16] = 1
	r.fails("reply", ioctlReply, 0)
	r.ends(2, "0 0 0 0 8000 77")
}

// Only the payload of a subcommand is written.
func TestR4PayloadAloneAtANode(t *testing.T) {
	r := rawSession(t, nil)
	r.submit(1, scsi.OpRead16)
	const payload = 8 + 104
	for end := 0; ; end++ {
		for i := range r.mem[:ucmd.PageSize] {
			r.mem[i] = 0xa5
		}
		r.put64(argAt+8, 0) // preply
		errno := r.do(ioctlReplyAndGet)
		if errno == 0 {
			break
		}
		if errno != syscall.EAGAIN || end > 10000 {
			t.Fatal(errno)
		}
	}
	for i := payload; i < ucmd.PageSize; i++ {
		if r.mem[i] != 0xa5 {
			t.Fatalf("byte %d was written", i)
		}
	}
	r.reply(good(r.u32(argAt)), 0)
	r.ends(1, "0 0 0 0 0 0")
}

// What can't be delivered is fetched again (R27), and the counts of an error are
// written all the same (R30).
func TestR27UndeliveredAtANode(t *testing.T) {
	r := rawSession(t, nil)
	r.submit(1, scsi.OpRead16)
	page := r.mem[argAt:][:ucmd.PageSize]
	clear(page)
	if err := unix.Mprotect(page, unix.PROT_READ); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for errno := syscall.EAGAIN; errno != syscall.EFAULT; {
			if errno = r.do(ioctlReplyAndGet); errno != syscall.EFAULT && errno != syscall.EAGAIN {
				t.Fatalf("%v, want EFAULT", errno)
			}
		}
	}
	if err := unix.Mprotect(page, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		t.Fatal(err)
	}
	r.reply(good(r.get(0xC0687303)), 0)
	r.ends(1, "0 0 0 0 0 0")
}

func TestR28R29R30CountsAtANode(t *testing.T) {
	r := rawSession(t, nil)
	// multi makes the call and returns the counts.
	multi := func(replies, done, cmds int16) (errno syscall.Errno, repliesDone, cmdsCnt int16) {
		r.put64(argAt, r.at(replyAt))
		r.put16(argAt+8, uint16(replies))
		r.put16(argAt+10, uint16(done))
		r.put16(argAt+12, uint16(cmds))
		errno = r.do(ioctlMulti)
		return errno, int16(r.u16(argAt + 10)), int16(r.u16(argAt + 12))
	}
	is := func(what string, want syscall.Errno, wantDone, wantCmds int16) func(syscall.Errno, int16, int16) {
		return func(errno syscall.Errno, done, cmds int16) {
			t.Helper()
			if errno != want || done != wantDone || cmds != wantCmds {
				t.Errorf("%s: %v, replies_done %d, cmds_cnt %d; want %v, %d, %d", what, errno, done, cmds, want, wantDone, wantCmds)
			}
		}
	}
	put := func(i int, h, subcode uint32) {
		at := replyAt + i*abi.SizeReplyCmd
		clear(r.mem[at:][:abi.SizeReplyCmd])
		r.put32(at, h)
		r.put32(at+4, subcode)
		r.mem[at+8+16] = 1 // COMPLETED
	}
	is("negative counts", 0, 0, 0)(multi(-3, 7, -3))
	is("nothing ready", syscall.EAGAIN, 0, 0)(multi(0, 7, 8))
	r.submit(1, scsi.OpRead16)
	r.submit(2, scsi.OpRead16)
	put(0, 4711, 0xC0687303)
	is("a bad reply", syscall.ESRCH, 0, 0)(multi(1, 7, 8))
	is("two commands", 0, 0, 2)(multi(0, 0, 8))
	first := r.u32(argAt + 16)
	second := r.u32(argAt + 16 + abi.SizeGetCmd)
	put(0, first, 0xC0687303)
	put(1, 4711, 0xC0687303)
	put(2, second, 0xC0687303)
	is("one good, one bad", syscall.ESRCH, 1, 0)(multi(3, 0, 8))
	r.ends(1, "0 0 0 0 0 0")
	if r.host.Say("over 2") != "0" {
		t.Error("the reply behind the bad one was given")
	}
	put(0, second, 0xC0687303)
	is("the rest, and no get", 0, 1, 0)(multi(1, 0, 0))
	r.ends(2, "0 0 0 0 0 0")
}
