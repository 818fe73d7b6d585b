package status

import (
	"flag"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"scstuser/handlers"
	"scstuser/handlers/arena"
	"scstuser/scsi"
	"scstuser/target"
	"scstuser/ucmd"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a Source with one device that a handler of the test serves.
type rig struct {
	t    *testing.T
	dev  *ucmd.Device
	sess *target.Session
	// hold: EXEC is not answered, and kept.
	hold bool
	kept []ucmd.Subcommand
	mem  *arena.Arena
}

// newRig registers a device of this name and attaches an initiator.
func newRig(t *testing.T, name string) *rig {
	t.Helper()
	r := &rig{t: t, mem: arena.New(arena.Options{MaxBytes: 64 << 20})}
	reg := ucmd.NewRegistry(ucmd.Limits{})
	dev, err := reg.Register(ucmd.Desc{
		Name: name, BlockSize: 512, SGVNoClustered: true,
		Opt: ucmd.Opt{OnFree: uint8(ucmd.OnFreeIgnore), Reuse: uint8(ucmd.ReuseAll), TST: 1, QueueAlg: 1},
	}, handlers.Memory{Arena: r.mem}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.dev = dev
	dev.SetInline(r.answer)
	r.sess, err = dev.Target().NewSession(t.Context(), front{}, target.SessionInfo{Initiator: "tcp:\x1b[2J", Target: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		dev.SetInline(nil)
		dev.Release()
		<-dev.Released()
	})
	return r
}

// answer is a handler that does nothing, well, and knows no TEST UNIT READY.
func (r *rig) answer(s *ucmd.Subcommand, reply *ucmd.Reply) bool {
	switch s.Code {
	case ucmd.SubAllocMem:
		reply.PBuf = r.alloc(int(s.AllocLen))
	case ucmd.SubExec:
		if r.hold {
			r.kept = append(r.kept, *s)
			return false
		}
		reply.Type = ucmd.ReplyCompleted
		if scsi.Opcode(s.CDB[0]) == scsi.OpTestUnitReady {
			reply.Status, reply.Sense = scsi.CheckCondition, scsi.SenseInvalidFieldInCDB.Append(nil, false)
			break
		}
		if s.Dir == scsi.DirRead {
			reply.RespDataLen = s.BufLen
			if s.PBuf == 0 {
				reply.PBuf = r.alloc(int(s.AllocLen))
			}
		}
	}
	return true
}

func (r *rig) alloc(n int) uint64 {
	addr, err := r.mem.Alloc(n)
	if err != nil {
		r.t.Error(err)
	}
	return addr
}

// do submits a command.
func (r *rig) do(cdb scsi.CDB) {
	c := &target.Cmd{}
	c.Init(cdb.Slice(), scsi.QueueSimple)
	r.sess.Submit(c)
}

// script runs a few commands.
func (r *rig) script() {
	for range 3 {
		r.do(scsi.EncodeWrite16(0, 8, false))
	}
	r.do(scsi.EncodeRead16(0, 8, false))
	r.do(scsi.EncodeSyncCache16(0, 0))
	r.do(scsi.EncodeTestUnitReady())
	r.sess.TaskMgmt(&target.MgmtCmd{Fn: target.LUNReset})
}

// Snapshot implements Source, with everything that changes from run to run at
// a fixed value.
func (r *rig) Snapshot(commands bool) *Snapshot {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	d := DeviceOf(r.dev, commands)
	d.File, d.Size = "/data/disk.img", 64<<20
	began := start.Add(time.Hour)
	last := began.Add(58 * time.Minute)
	d.Faults = []Fault{
		{Kind: "read", Failed: 3, Since: &start, Last: &last, Error: "input/output error"}, {Kind: "write"}, {Kind: "space"},
		{Kind: "lost", Present: true, Failed: 12, Since: &began, Last: &last, Error: "sync /data/\x1bdisk.img: input/output error"},
	}
	for i := range d.Sessions {
		d.Sessions[i].Since = start.Add(time.Minute)
	}
	for i := range d.Commands {
		d.Commands[i].Age = time.Duration(i+1) * time.Second
	}
	return &Snapshot{
		Format: Format, Program: "fileio_tgt", Version: "v1 (test)", PID: 4711,
		Time: start.Add(2 * time.Hour), Started: start, Uptime: 7200,
		Listeners:   []Listener{{"tcp", "127.0.0.1:10809"}, {"unix", "/run/disk.sock"}},
		Connections: Connections{Now: 2, Limit: 128}, Buffers: Buffers{Live: 1 << 20, Peak: 3 << 19, Limit: 1 << 30},
		Runtime:  Runtime{Goroutines: 12, HeapBytes: 1 << 20, TotalBytes: 12 << 20, GCCycles: 3},
		Releases: Releases{Ended: 3, Stuck: 1, Abandoned: 2},
		Options:  map[string]string{"block": "512"}, Devices: []Device{d},
	}
}

// Device implements Source.
func (r *rig) Device(name string) *ucmd.Device {
	if name == r.dev.Desc().Name {
		return r.dev
	}
	return nil
}

// front delivers every response at once.
type front struct{}

func (front) RdyToXfer(*target.Cmd) target.Verdict           { return target.Continue }
func (front) XmitResponse(c *target.Cmd)                     { c.Delivered(target.Delivered) }
func (front) Freed(*target.Cmd)                              {}
func (front) AEN(*target.Session, target.UnitAttention) bool { return true }
func (front) SessionGone(*target.Session)                    {}
func (front) TMDone(*target.MgmtCmd)                         {}

// golden compares got with a file, or writes the file under -rewrite.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("differs from %s (-rewrite writes it anew); got:\n%s", path, got)
	}
}

// scsiRead is a READ of 4 KiB.
var scsiRead = scsi.EncodeRead16(0, 8, false)

// opcodeName names an operation code as a Snapshot does.
func opcodeName(op int) string { return scsi.Opcode(op).String() }

// fixed is a Source that says always the same.
type fixed struct{ s *Snapshot }

func (f fixed) Snapshot(bool) *Snapshot    { return f.s }
func (f fixed) Device(string) *ucmd.Device { return nil }
