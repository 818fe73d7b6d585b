package powercut

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"scstuser/internal/powercut/volatiledisk"
	"scstuser/internal/vm"
)

// imageSectors is the size of what is written to: small enough that a check
// through an emulated machine takes little time, large enough for a file system
// to have something to do.
const imageSectors = 4 << 20 / SectorSize

// place is where the image is. Each is on a disk of its own, all on one machine.
type place struct {
	name string
	disk int64  // the size of the disk, in bytes
	path string // of the image in the guest
	// format and mount are shell commands; none for the raw disk.
	format, mount, check string
	// whole is what the disk never tears, in bytes. A file system takes a torn
	// block of its own journal for damage (ext4: "journal transaction is
	// corrupt") and can't be mounted, which is not what is tried here.
	whole int64
}

// places are the same in every machine: the i-th is on the i-th disk.
var places = []place{
	{
		name: "file on ext4", disk: 64 << 20, path: "/ext4/image",
		format: "mkfs.ext4 -q /dev/vda",
		mount:  "mkdir -p /ext4; mount -t ext4 /dev/vda /ext4",
		check:  "umount /ext4; e2fsck -fn /dev/vda",
		whole:  4096,
	},
	{
		name: "file on xfs", disk: 320 << 20, path: "/xfs/image",
		format: "mkfs.xfs -q /dev/vdb",
		mount:  "mkdir -p /xfs; mount -t xfs /dev/vdb /xfs",
		check:  "umount /xfs; xfs_repair -n /dev/vdb",
		whole:  4096,
	},
	{name: "raw disk", disk: imageSectors * SectorSize, path: "/dev/vdc", whole: SectorSize},
}

// mode is how the server is started.
type mode struct {
	name                 string
	options              []string
	writeThrough, direct bool
}

var modes = []mode{
	{name: "write-back"},
	{name: "--write_through", options: []string{"--write_through"}, writeThrough: true},
	{name: "--direct", options: []string{"--direct"}, direct: true},
	{name: "--direct --write_through", options: []string{"--direct", "--write_through"}, writeThrough: true, direct: true},
}

// rig is a machine that loses its power again and again, and what stays.
type rig struct {
	rng *rand.Rand
	// The disks, which outlive the machine, and what they are with the power on.
	media   []*volatiledisk.Medium
	disks   []*volatiledisk.Disk
	served  []*volatiledisk.Server
	machine *vm.Machine
	// stable: the machine's file systems leave pages alone that are being written
	// back, so that no sector is torn.
	stable bool
	// By place: what is known of the image, the server, and its mode.
	journals  []*Journal
	processes []*vm.Process
	running   []mode

	figures map[[2]string]*figures // by mode and place
}

func newRig(t *testing.T, rng *rand.Rand) *rig {
	b := &rig{rng: rng, figures: map[[2]string]*figures{}}
	for _, p := range places {
		m, err := volatiledisk.NewMedium(p.disk)
		if err != nil {
			t.Fatal(err)
		}
		b.media = append(b.media, m)
		b.journals = append(b.journals, NewJournal(rng.Uint64(), imageSectors, Rules{}))
	}
	return b
}

// port is the one of the guest that place i is served at.
func port(i int) int { return 10809 + i }

// boot switches everything on. The guest has these tools besides.
func (b *rig) boot(t *testing.T, tools ...string) {
	t.Helper()
	c := vm.Config{
		Memory:   512,
		Packages: []string{"scstuser/cli/fileio_tgt"}, Modules: []string{"ext4", "xfs"}, Tools: tools,
	}
	dir := t.TempDir()
	b.disks, b.served = nil, nil
	flush := []time.Duration{0, 2 * time.Millisecond, 15 * time.Millisecond}[b.rng.IntN(3)]
	for i, m := range b.media {
		d, err := m.PowerOn()
		if err != nil {
			t.Fatal(err)
		}
		d.SlowFlush(flush)
		d.KeepWhole(places[i].whole)
		b.disks = append(b.disks, d)
		socket := filepath.Join(dir, fmt.Sprint(i))
		s, err := volatiledisk.Serve(d, socket, volatiledisk.Config{Inline: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		b.served = append(b.served, s)
		c.Disks = append(c.Disks, vm.Disk{File: "nbd:unix:" + socket + ":exportname=" + volatiledisk.Export})
		c.Forward = append(c.Forward, port(i))
	}
	m, err := vm.Start(t.Context(), c)
	if err != nil {
		// It may be the emulator, which is not what is tried; a machine that its
		// disks keep from booting fails again.
		t.Logf("trying again: %v", err)
		if m, err = vm.Start(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	b.machine = m
	if b.stable = b.rng.IntN(2) == 0; b.stable {
		m.Shell(t, "for d in /sys/block/vd*; do echo 1 >$d/queue/stable_writes; done")
	}
	t.Cleanup(func() {
		m.Kill()
		if t.Failed() && m == b.machine {
			t.Logf("the console of the last machine:\n%s", m.Console())
		}
	})
}

// format makes the file systems and the images.
func (b *rig) format(t *testing.T) {
	for _, p := range places {
		if p.format != "" {
			b.machine.Shell(t, p.format)
		}
	}
	b.mount(t)
	for _, p := range places {
		if p.format != "" {
			b.machine.Shell(t, fmt.Sprintf("truncate -s %d %s; sync", imageSectors*SectorSize, p.path))
		}
	}
}

// mount mounts the file systems, which brings them in order after a power cut.
func (b *rig) mount(t *testing.T) {
	for _, p := range places {
		if p.mount != "" {
			b.machine.Shell(t, p.mount)
		}
	}
}

// writeBack sets the pace at which the guest's kernel writes by itself what nobody
// waits for, in hundredths of a second.
func (b *rig) writeBack(t *testing.T, pace int) {
	b.machine.Shell(t, fmt.Sprintf("echo %d >/proc/sys/vm/dirty_writeback_centisecs; echo %[1]d >/proc/sys/vm/dirty_expire_centisecs", pace))
}

// serve starts a server for each place, and returns when all of them answer.
func (b *rig) serve(t *testing.T, choose func(i int) mode, blockSize int) {
	t.Helper()
	b.running, b.processes = nil, nil
	for i, p := range places {
		m := choose(i)
		args := append([]string{"fileio_tgt", "--listen", fmt.Sprintf("tcp::%d", port(i)), "--control", "none",
			"--log-level", "warn", "--block", fmt.Sprint(blockSize)}, m.options...)
		proc, err := b.machine.Start(vm.Command{Args: append(args, "disk", p.path)})
		if err != nil {
			t.Fatal(err)
		}
		b.running = append(b.running, m)
		b.processes = append(b.processes, proc)
	}
	for i := range places {
		b.open(t, i).Close()
	}
}

// open connects to the server of a place, which may be about to start.
func (b *rig) open(t *testing.T, i int) *Export {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		e, err := Open(t.Context(), b.dial(i), "disk")
		if err == nil {
			return e
		}
		select {
		case <-b.processes[i].Done():
			t.Fatalf("the server of the %s has ended: %s", places[i].name, b.processes[i].Stderr())
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("the server of the %s does not answer: %v", places[i].name, err)
		}
	}
}

func (b *rig) dial(i int) Dialer { return Dial("tcp", b.machine.Addr(port(i))) }

// check compares all images, read through the servers, with what was promised, and
// begins anew. It returns how many sectors are wrong, which it tells all about.
func (b *rig) check(t *testing.T, before []mode) int {
	t.Helper()
	lost := 0
	for i, j := range b.journals {
		e := b.open(t, i)
		r, err := j.Check(e)
		if err != nil {
			t.Fatalf("%s: %v", places[i].name, err)
		}
		rules := e.Promises()
		e.Close()
		// That is the option, and what UNMAP is to initiators (LBPRZ).
		rules.WriteThrough, rules.TrimZeroes = b.running[i].writeThrough, true
		rules.Tears = b.tears(i)
		if before != nil {
			key := [2]string{before[i].name, places[i].name}
			f := b.figures[key]
			if f == nil {
				f = &figures{}
				b.figures[key] = f
			}
			f.cuts++
			f.lost += r.Lost
			f.counts.Add(j.Counts())
		}
		if r.Lost > 0 || r.Torn > 0 {
			t.Logf("%s, %s: %v", modeName(before, i), places[i].name, r)
		}
		lost += r.Lost
		j.Begin(rules)
	}
	return lost
}

// tears says whether a sector of place i that is overwritten while it is written
// back may be torn. The bare disk's own page cache knows nothing of stable pages.
func (b *rig) tears(i int) bool {
	return !b.running[i].direct && !(b.stable && places[i].mount != "")
}

func modeName(m []mode, i int) string {
	if m == nil {
		return "before anything was written"
	}
	return m[i].name
}

// loads makes a load for each place.
func (b *rig) loads(blockSize int) []Load {
	loads := make([]Load, len(places))
	for i := range loads {
		loads[i] = makeLoad(b.rng, "disk", imageSectors, blockSize)
	}
	return loads
}

// loadAndCut writes to all places at once until the power goes: at some moment, or
// at some command of one of the disks.
func (b *rig) loadAndCut(t *testing.T, loads []Load) {
	t.Helper()
	type end struct {
		place int
		err   error
	}
	ends := make(chan end, len(places))
	for i := range places {
		// Not the test's context: the power ends it.
		go func() { ends <- end{i, Run(context.Background(), b.dial(i), b.journals[i], loads[i])} }()
	}
	// First everybody has to be at work, which can take a while on a busy host.
	for i, end := 0, time.Now().Add(time.Minute); i < len(places) && len(ends) == 0 && time.Now().Before(end); {
		if b.journals[i].Counts().Acknowledged > 0 {
			i++
		} else {
			time.Sleep(time.Millisecond)
		}
	}
	wait := time.Duration(b.rng.IntN(2500)) * time.Millisecond
	chosen := b.disks[b.rng.IntN(len(b.disks))]
	if b.rng.IntN(2) == 0 {
		time.Sleep(wait / 2)
		chosen.CutAfter(b.rng.IntN(500))
		wait = 3 * time.Second
	}
	select {
	case <-time.After(wait):
	case <-chosen.HasCut():
	case e := <-ends:
		t.Errorf("%s, %s: ended before the cut: %v\n%s", b.running[e.place].name, places[e.place].name, e.err, b.processes[e.place].Stderr())
		ends <- e
	}
	for _, d := range b.disks {
		d.PullPlug()
	}
	b.machine.Kill()
	var lines []string
	for i, d := range b.disks {
		lines = append(lines, fmt.Sprintf("%s, %s: %v; the disk: %v; %+v", b.running[i].name, places[i].name, loads[i], d.Cut(b.rng), b.journals[i].Counts()))
		if err := b.served[i].Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Log(strings.Join(lines, "\n"))
	for range places {
		if e := <-ends; !errors.Is(e.err, ErrGone) {
			t.Errorf("%s, %s: %v", b.running[e.place].name, places[e.place].name, e.err)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

// fsck ends the servers and looks whether the file systems are in order.
func (b *rig) fsck(t *testing.T) {
	t.Helper()
	for _, p := range b.processes {
		if err := p.Signal(t.Context(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for _, p := range places {
		if p.check != "" {
			b.machine.Shell(t, p.check)
		}
	}
}
