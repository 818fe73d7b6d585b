package faulttest

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"scstuser/internal/vm"
	"scstuser/nbd/nbdtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	port     = 10809
	diskSize = 64 << 20
	sectors  = diskSize / 512

	// there is where ranges fail, elsewhere where they don't.
	there     = 8 << 20
	elsewhere = 2 << 20
	length    = 64 << 10
)

// Tables of the device, in sectors.
var (
	healthy = fmt.Sprintf("0 %d linear /dev/vda 0", sectors)
	// noWrites fails all writes and flushes.
	noWrites = fmt.Sprintf("0 %d flakey /dev/vda 0 0 3600 1 error_writes", sectors)
	// slow takes half a second for each request.
	slow = fmt.Sprintf("0 %d delay /dev/vda 0 500", sectors)
	// hole fails everything in a range, behind the first 4 KiB of what is asked
	// for there.
	hole = strings.Join([]string{
		fmt.Sprintf("0 %d linear /dev/vda 0", holeStart),
		fmt.Sprintf("%d 8 error", holeStart),
		fmt.Sprintf("%d %d linear /dev/vda %d", holeStart+8, sectors-holeStart-8, holeStart+8),
	}, "\n")
)

const holeStart = (there + 4096) / 512

const device = "/dev/mapper/disk"

// lostLine and readLine are of the server's log.
const (
	lostLine = `level=error msg="writes may be lost: the disk did not make them durable; flushes and durable writes fail until the program is started again"`
	readLine = `level=error msg="the disk fails to read; clients get EIO"`
)

// guest is the machine, and the server in it.
type guest struct {
	*vm.Machine
	server *vm.Process
	conn   *nbdtest.Conn
}

// log is what the server has printed.
func (g *guest) log() string { return g.server.Stdout() + g.server.Stderr() }

// table gives the device another table, without waiting for what it has to write
// back.
func (g *guest) table(t *testing.T, table string) {
	t.Helper()
	g.Shell(t, fmt.Sprintf(`dmsetup suspend --noflush --nolockfs disk
printf '%%s\n' '%s' | dmsetup load disk
dmsetup resume --noudevsync disk`, table))
}

// serve starts the server and connects to it.
func (g *guest) serve(t *testing.T, path string, options ...string) {
	t.Helper()
	args := append([]string{"fileio_tgt", "--control=none", "--listen", "tcp:0.0.0.0:" + strconv.Itoa(port), "-f", path}, options...)
	var err error
	if g.server, err = g.Start(vm.Command{Args: args}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); !greets(g.Addr(port)); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the server does not greet:\n%s", g.log())
		}
	}
	g.conn = nbdtest.Dial(t, "tcp", g.Addr(port))
	g.conn.Hello()
	g.conn.Negotiate(nbdtest.Structured)
	g.conn.Go(filepath.Base(path))
}

// greets says whether an NBD server is there: QEMU takes the connection in any
// case.
func greets(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, err = io.ReadFull(c, make([]byte, 18))
	return err == nil
}

// stop ends the server, which has to have this exit status.
func (g *guest) stop(t *testing.T, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := g.server.Signal(ctx, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	r, _ := g.server.Wait(ctx) // the status says it
	if r.Status != status {
		t.Errorf("the server ended with status %d, want %d:\n%s", r.Status, status, g.log())
	}
}

// logs requires that a line is in the log once.
func (g *guest) logs(t *testing.T, line string) {
	t.Helper()
	if n := strings.Count(g.log(), line); n != 1 {
		t.Errorf("the log has %d times %s:\n%s", n, line, g.log())
	}
}

// The requests. Each has to end as want says.
func (g *guest) write(t *testing.T, at uint64, flags uint16, want nbdtest.Errno) {
	t.Helper()
	if got := g.conn.Write(at, make([]byte, length), flags); got != want {
		t.Errorf("WRITE at %d: %v, want %v", at, got, want)
	}
}

func (g *guest) read(t *testing.T, at uint64, want nbdtest.Errno) nbdtest.Reply {
	t.Helper()
	reply := g.conn.Ask(nbdtest.Request{Type: nbdtest.CmdRead, Offset: at, Length: length})
	if reply.Errno != want {
		t.Errorf("READ at %d: %v, want %v", at, reply.Errno, want)
	}
	return reply
}

func (g *guest) flush(t *testing.T, want nbdtest.Errno) {
	t.Helper()
	if got := g.conn.Flush(0); got != want {
		t.Errorf("FLUSH: %v, want %v", got, want)
	}
}

// TestDeviceMapper boots the guest and takes all steps in it.
func TestDeviceMapper(t *testing.T) {
	vm.Need(t)
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(disk, diskSize); err != nil {
		t.Fatal(err)
	}
	g := &guest{Machine: vm.Boot(t, vm.Config{
		Disks:    []vm.Disk{{File: disk}},
		Forward:  []int{port},
		Packages: []string{"scstuser/cli/fileio_tgt"},
		Modules:  []string{"dm_mod", "dm_flakey", "dm_delay", "ext4"},
		Tools:    []string{"dmsetup", "mkfs.ext4", "e2fsck"},
	})}
	g.Shell(t, fmt.Sprintf("dmsetup create --noudevrules --noudevsync disk --table '%s'; dmsetup mknodes; test -b %s", healthy, device))
	t.Run("lost write on a device", func(t *testing.T) { g.lostWrite(t, device) })
	t.Run("bad range", g.badRange)
	t.Run("slow", g.slow)
	t.Run("lost write on ext4", func(t *testing.T) {
		g.Shell(t, "mkfs.ext4 -q -F "+device+"; mount -t ext4 "+device+" /mnt; "+
			"dd if=/dev/zero of=/mnt/image bs=1M count=16 conv=fsync 2>/dev/null")
		g.lostWrite(t, "/mnt/image")
		// ext4 has given up; the image is intact as far as it was made durable.
		g.Shell(t, "umount /mnt; e2fsck -fp "+device+" || test $? -eq 1; mount -t ext4 "+device+" /mnt")
		g.serve(t, "/mnt/image")
		g.write(t, there, 0, nbdtest.OK)
		g.flush(t, nbdtest.OK)
		g.stop(t, 0)
		g.Shell(t, "umount /mnt")
	})
}

// lostWrite: the kernel can't write back what the server had written, and tells
// of it once.
func (g *guest) lostWrite(t *testing.T, path string) {
	g.serve(t, path)
	g.write(t, elsewhere, 0, nbdtest.OK)
	g.flush(t, nbdtest.OK)
	g.table(t, noWrites)
	g.write(t, there, 0, nbdtest.OK)
	g.flush(t, nbdtest.EIO)
	g.flush(t, nbdtest.EIO)
	g.read(t, elsewhere, nbdtest.OK)
	g.table(t, healthy)
	g.flush(t, nbdtest.EIO) // the kernel would say that all is well
	g.write(t, there, nbdtest.CmdFlagFUA, nbdtest.EIO)
	g.read(t, elsewhere, nbdtest.OK)
	g.logs(t, lostLine)
	g.stop(t, 1)
	if path != device {
		return
	}
	g.serve(t, path)
	g.write(t, there, nbdtest.CmdFlagFUA, nbdtest.OK)
	g.flush(t, nbdtest.OK)
	g.stop(t, 0)
}

// badRange: blocks that can be neither read nor written.
func (g *guest) badRange(t *testing.T) {
	for _, mode := range []string{"--inline=true", "--direct"} {
		g.serve(t, device, mode)
		g.write(t, there, nbdtest.CmdFlagFUA, nbdtest.OK)
		g.Shell(t, "echo 3 >/proc/sys/vm/drop_caches")
		g.table(t, hole)
		reply := g.read(t, there, nbdtest.EIO)
		if !strings.Contains(reply.Message, "UNRECOVERED READ ERROR") {
			t.Errorf("%s: the message is %q", mode, reply.Message)
		}
		// Around the page cache it is the request that fails; with it, the block.
		if e := reply.ErrorAt; e == nil || *e < there || *e > there+4096 || mode != "--direct" && *e != there+4096 {
			t.Errorf("%s: the error is at %v, want %d", mode, e, there+4096)
		}
		g.read(t, elsewhere, nbdtest.OK)
		g.write(t, elsewhere, 0, nbdtest.OK)
		g.flush(t, nbdtest.OK)
		g.table(t, healthy)
		g.read(t, there, nbdtest.OK)
		g.logs(t, readLine)
		g.stop(t, 0)
	}
}

// slow: a disk that takes its time.
func (g *guest) slow(t *testing.T) {
	g.serve(t, device)
	g.Shell(t, "echo 3 >/proc/sys/vm/drop_caches")
	g.table(t, slow)
	begin := time.Now()
	g.read(t, there, nbdtest.OK)
	if took := time.Since(begin); took < 400*time.Millisecond {
		t.Errorf("it took only %v", took)
	}
	g.write(t, there, nbdtest.CmdFlagFUA, nbdtest.OK)
	g.flush(t, nbdtest.OK)
	g.table(t, healthy)
	g.stop(t, 0)
}
