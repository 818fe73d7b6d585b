package disk

import (
	"encoding/hex"
	"strings"
	"testing"

	"scstuser/handlers"
	"scstuser/scsi"
)

// fixture is a disk over a mem. Buffers are as the target makes them: as long as
// the standard parser says, with an earlier command's bytes in them.
type fixture struct {
	t testing.TB
	m *mem
	d *Disk
}

const testBlocks = 64

func newFixture(t testing.TB, backing func(*mem) handlers.Backing, edit ...func(*mem, *Options)) *fixture {
	t.Helper()
	m := newMem(testBlocks * 512)
	o := Options{Name: "disk1"}
	for _, e := range edit {
		e(m, &o)
	}
	d, err := New(backing(m), o)
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{t, m, d}
}

// cdb encodes a command.
func cdb(c scsi.Command) []byte {
	var b [16]byte
	n, err := c.Encode(&b)
	if err != nil {
		panic(err)
	}
	return b[:n]
}

// request makes the request that the target would make of a CDB; payload is the
// initiator's data.
func (f *fixture) request(cdb, payload []byte) *handlers.Request {
	r := new(handlers.Request)
	var buf []byte
	if tr, err := scsi.ParseSBC(cdb, uint32(f.d.BlockSize())); err == nil && tr.BufLen > 0 {
		buf = make([]byte, tr.BufLen)
		for i := range buf {
			buf[i] = 0xEE
		}
		if tr.Dir == scsi.DirWrite {
			clear(buf[copy(buf, payload):])
		}
	}
	r.Reset(nil, cdb, buf)
	return r
}

// exec runs a command and returns its answer.
func (f *fixture) exec(cdb, payload []byte) *handlers.Request {
	r := f.request(cdb, payload)
	f.d.Exec(r)
	f.sane(r)
	return r
}

// try is exec by TryExec, which has to be able to.
func (f *fixture) try(cdb, payload []byte) *handlers.Request {
	f.t.Helper()
	r := f.request(cdb, payload)
	if !f.d.TryExec(r) {
		f.t.Errorf("% x: not done by TryExec", cdb)
	}
	f.sane(r)
	return r
}

// run carries a command out as Serve does: by TryExec if possible.
func (f *fixture) run(c scsi.Command, payload []byte) *handlers.Request {
	f.t.Helper()
	r := f.request(cdb(c), payload)
	if !f.d.TryExec(r) {
		f.d.Exec(r)
	}
	f.sane(r)
	return r
}

func (f *fixture) sane(r *handlers.Request) {
	f.t.Helper()
	_, failed := r.Sense()
	if r.RespLen < 0 || int(r.RespLen) > len(r.Buf) || failed != (r.Status == scsi.CheckCondition) || (failed && r.RespLen != 0) {
		f.t.Fatalf("% x: status %v, sense %v, %d of %d bytes", r.CDB, r.Status, failed, r.RespLen, len(r.Buf))
	}
}

// good runs a command that has to succeed, and returns its data.
func (f *fixture) good(cdb, payload []byte) []byte {
	f.t.Helper()
	r := f.exec(cdb, payload)
	if r.Status != scsi.Good {
		s, _ := r.Sense()
		f.t.Fatalf("% x: %v, %v", cdb, r.Status, s)
	}
	return r.Buf[:r.RespLen]
}

// fails runs a command that has to fail with exactly this sense.
func (f *fixture) fails(want scsi.Sense, cdb, payload []byte) {
	f.t.Helper()
	wantSense(f.t, f.exec(cdb, payload), want)
}

func wantSense(t testing.TB, r *handlers.Request, want scsi.Sense) {
	t.Helper()
	if got, ok := r.Sense(); !ok || got != want {
		t.Errorf("% x: %v with %v, want %v", r.CDB, r.Status, got, want)
	}
}

func wantHex(t testing.TB, what string, got []byte, want ...string) {
	t.Helper()
	if g := hex.EncodeToString(got); g != strings.Join(want, "") {
		t.Errorf("%s:\n got %s\nwant %s", what, g, strings.Join(want, ""))
	}
}

// pattern is n blocks that differ from each other and from what newMem has.
func pattern(seed byte, n int) []byte {
	b := make([]byte, n*512)
	for i := range b {
		b[i] = seed + byte(i>>9)*7 + byte(i)*3
	}
	return b
}

func readOnly(_ *mem, o *Options)     { o.ReadOnly = true }
func writeThrough(_ *mem, o *Options) { o.WriteThrough = true }
func nvCache(_ *mem, o *Options)      { o.NVCache = true }
