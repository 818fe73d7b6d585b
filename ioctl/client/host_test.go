package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"scstuser/handlers"
	"scstuser/handlers/arena"
	"scstuser/handlers/disk"
	"scstuser/handlers/fileio"
	"scstuser/ioctl/abi"
	"scstuser/ioctl/node"
	"scstuser/nbd"
	"scstuser/nbd/nbdtest"
	"scstuser/ucmd"
)

// hostKernel carries ioctls to a node.Host in this process, as FUSE would.
type hostKernel struct {
	*linux
	host *node.Host
	file *node.File
}

func (k *hostKernel) open(_ string, nonBlocking bool) (int, error) {
	k.file = k.host.Open(nonBlocking, 1)
	return -1, nil
}

func (k *hostKernel) close(fd int) {
	k.file.Close(1)
	k.linux.close(fd)
}

// wait: poll says ready at once (F5).
func (k *hostKernel) wait(int) {}

func (k *hostKernel) ioctl(_ int, nr abi.Ioctl, arg abi.Addr) syscall.Errno {
	c := node.Call{Cmd: nr, Arg: arg, TID: 1, Mem: ownMemory{}}
	if nr.Dir()&abi.DirWrite != 0 {
		c.In = bytes.Clone(memory(arg, nr.Size()))
	}
	ret, errno, out := k.file.Ioctl(context.Background(), &c)
	if errno != 0 {
		return errno
	}
	if nr.Dir()&abi.DirRead != 0 && out != nil {
		copy(memory(arg, nr.Size()), out)
	}
	if ret < 0 {
		return syscall.Errno(-ret)
	}
	return 0
}

// ownMemory is this process's, as its own host sees it.
type ownMemory struct{}

func (ownMemory) Read(pieces []node.Piece) (n int) {
	for _, p := range pieces {
		n += copy(p.Buf, memory(p.Addr, len(p.Buf)))
	}
	return n
}

func (ownMemory) Write(pieces []node.Piece) (n int) {
	for _, p := range pieces {
		n += copy(memory(p.Addr, len(p.Buf)), p.Buf)
	}
	return n
}

func (ownMemory) Process() any { return "this one" }

// hostRig is a host that exports what registers, as the export "disk1" of an NBD
// server on a socket.
type hostRig struct {
	t        testing.TB
	host     *node.Host
	server   *nbd.Server
	socket   string
	exported chan struct{} // one for each device that is exported
}

func newHostRig(t testing.TB) *hostRig {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	r := &hostRig{t: t, socket: filepath.Join(t.TempDir(), "nbd.sock"), exported: make(chan struct{}, 10)}
	r.server = nbd.NewServer(nbd.Options{Log: log})
	r.host = node.New(node.Options{Log: log, Serve: r.export})
	l, err := net.Listen("unix", r.socket)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- r.server.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := errors.Join(r.host.Close(ctx), r.server.Shutdown(ctx), <-served); err != nil {
			t.Error(err)
		}
		if n := len(r.host.Devices()); n != 0 {
			t.Errorf("I4: %d devices are left", n)
		}
	})
	return r
}

// export offers a device while it lives.
func (r *hostRig) export(ctx context.Context, dev *ucmd.Device) {
	e, err := r.server.AddExport(ctx, nbd.ExportConfig{Name: dev.Desc().Name, Device: dev.Target()})
	if err != nil {
		if ctx.Err() == nil {
			r.t.Errorf("export: %v", err)
		}
		return
	}
	r.exported <- struct{}{}
	<-ctx.Done()
	if err := r.server.RemoveExport(context.Background(), e); err != nil {
		r.t.Errorf("take the export back: %v", err)
	}
}

func (r *hostRig) dial(t testing.TB) *nbdtest.Conn { return nbdtest.Dial(t, "unix", r.socket) }

// handlerRig is a handler program: a disk over a file, at a node.
type handlerRig struct {
	t      testing.TB
	arena  *arena.Arena
	port   *Device
	stop   context.CancelFunc
	served chan error
}

// handlerConfig is what differs between the tests.
type handlerConfig struct {
	threads, multi int
	opt            func(*ucmd.Opt)
	nonBlocking    bool
}

const diskSize = 80 << 20

// serveDisk registers a disk over a file, with open, and serves it until the end
// of the test, or leave.
func serveDisk(t testing.TB, path string, c handlerConfig, open func(ucmd.Desc, Options) (*Device, error)) *handlerRig {
	t.Helper()
	f, err := fileio.Open(path, fileio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := disk.New(f, disk.Options{Name: "disk1"})
	if err != nil {
		t.Fatal(err)
	}
	desc := ucmd.Desc{
		Name: "disk1", BlockSize: 512, NonBlocking: c.nonBlocking,
		Opt: ucmd.Opt{OnFree: uint8(ucmd.OnFreeIgnore), Reuse: uint8(ucmd.ReuseAll), TST: 1, QueueAlg: 1},
	}
	if c.opt != nil {
		c.opt(&desc.Opt)
	}
	port, err := open(desc, Options{Multi: c.multi})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	h := &handlerRig{t: t, arena: arena.New(arena.Options{}), port: port, stop: stop, served: make(chan error, 1)}
	go func() {
		err := handlers.Serve(ctx, port, d, handlers.Options{Arena: h.arena, Threads: c.threads, Multi: c.multi})
		h.served <- errors.Join(err, f.Close())
	}()
	return h
}

// serveAt is serveDisk at the rig's host.
func (r *hostRig) serveAt(path string, c handlerConfig) *handlerRig {
	r.t.Helper()
	h := serveDisk(r.t, path, c, func(desc ucmd.Desc, o Options) (*Device, error) {
		return open(&hostKernel{linux: mustLinux(r.t), host: r.host}, "the host", desc, o)
	})
	select {
	case <-r.exported:
	case <-time.After(patience):
		r.t.Fatal("the device was not exported")
	}
	return h
}

// settle takes every idle buffer back (R35).
func (h *handlerRig) settle() {
	h.t.Helper()
	for end := time.Now().Add(patience); h.arena.Stats().Live != 0; time.Sleep(10 * time.Millisecond) {
		// What a client that has just gone still has in use stays (R35).
		if err := h.port.FlushCache(); err != nil {
			h.t.Error(err)
		}
		if time.Now().After(end) {
			h.t.Fatalf("I3: %d buffers did not come back", h.arena.Stats().Live)
		}
	}
}

// leave ends the handler in order.
func (h *handlerRig) leave() {
	h.t.Helper()
	h.stop()
	if err := <-h.served; err != nil {
		h.t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.port.Close(ctx); err != nil {
		h.t.Error(err)
	}
}

func image(t testing.TB) string {
	path := filepath.Join(t.TempDir(), "image")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(diskSize), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// The same handler behind a node passes what it passes in process.
func TestNBDConformance(t *testing.T) {
	r := newHostRig(t)
	h := r.serveAt(image(t), handlerConfig{threads: 4, multi: 32})
	c := r.dial(t)
	c.Hello()
	e := c.Go("disk1")
	c.Disc(0)
	want := nbdtest.Expect{
		Export: "disk1", Size: diskSize, Flags: e.Flags,
		Blocks: nbdtest.Blocks{Min: 512, Preferred: 4096, Max: 32 << 20}, Exports: []string{"disk1"},
	}
	nbdtest.Conformance(t, r.dial, want)
	h.settle()
	h.leave()
}

// Data survives every number of threads, every MULTI, and every option that
// changes a buffer's life; all buffers come back (I3).
func TestThreadsMultiAndOptions(t *testing.T) {
	type shape = handlerConfig
	none := func(o *ucmd.Opt) { o.OnFree, o.Reuse = uint8(ucmd.OnFreeCall), uint8(ucmd.ReuseNone) }
	read := func(o *ucmd.Opt) { o.OnFree, o.Reuse = uint8(ucmd.OnFreeCall), uint8(ucmd.ReuseRead) }
	write := func(o *ucmd.Opt) { o.OnFree, o.Reuse = uint8(ucmd.OnFreeCall), uint8(ucmd.ReuseWrite) }
	parse := func(o *ucmd.Opt) { o.Parse = uint8(ucmd.ParseCall) }
	for _, c := range []shape{
		{1, 1, nil, false}, {1, 64, nil, false}, {4, 1, nil, false}, {4, 8, nil, false}, {16, 64, nil, false},
		{1, 1, nil, true}, {4, 32, nil, true},
		{1, 1, none, false}, {4, 8, none, true}, {4, 2, read, false}, {2, 64, write, false}, {4, 3, parse, false},
	} {
		name := fmt.Sprintf("threads %d, multi %d, non-blocking %v, options %v", c.threads, c.multi, c.nonBlocking, c.opt != nil)
		t.Run(name, func(t *testing.T) {
			r := newHostRig(t)
			h := r.serveAt(image(t), c)
			var wg sync.WaitGroup
			for i := range uint64(4) {
				wg.Go(func() { use(t, r.dial(t), i*(diskSize/4), rand.New(rand.NewPCG(i, 7))) })
			}
			wg.Wait()
			h.settle()
			h.leave()
		})
	}
}

// use writes and reads at random in a quarter of the disk, and knows what must
// be there.
func use(t *testing.T, c *nbdtest.Conn, base uint64, rnd *rand.Rand) {
	c.Hello()
	c.Go("disk1")
	model := make([]byte, 2<<20)
	for range 60 {
		n := 512 * (1 + rnd.IntN(64))
		off := 512 * rnd.IntN((len(model)-n)/512)
		if rnd.IntN(2) == 0 {
			for i := range model[off : off+n] {
				model[off+i] = byte(rnd.Uint32())
			}
			if errno := c.Write(base+uint64(off), model[off:off+n], 0); errno != 0 {
				t.Errorf("write: %v", errno)
			}
			continue
		}
		got, errno := c.Read(base+uint64(off), uint32(n), 0)
		if errno != 0 || !bytes.Equal(got, model[off:off+n]) {
			t.Errorf("read of %d at %d: %v, or other bytes", n, off, errno)
		}
	}
	if errno := c.Flush(0); errno != 0 {
		t.Errorf("flush: %v", errno)
	}
	c.Disc(0)
}

// A handler leaves and comes back under its name while clients wait; nothing
// that was flushed is lost.
func TestR70HandlerLeavesAndComesBack(t *testing.T) {
	r := newHostRig(t)
	path := image(t)
	for i := range byte(5) {
		h := r.serveAt(path, handlerConfig{threads: 2, multi: 8})
		c := r.dial(t)
		c.Hello()
		c.Go("disk1")
		if got, errno := c.Read(0, 512, 0); errno != 0 || got[0] != i {
			t.Errorf("round %d: read %v", i, errno)
		}
		if errno := c.Write(0, bytes.Repeat([]byte{i + 1}, 512), nbdtest.CmdFlagFUA); errno != 0 {
			t.Errorf("round %d: write %v", i, errno)
		}
		h.leave()
	}
}

// The host ends: the handlers learn it, blocking or not.
func TestHostCloses(t *testing.T) {
	for _, nonBlocking := range []bool{false, true} {
		r := newHostRig(t)
		h := r.serveAt(image(t), handlerConfig{threads: 3, multi: 4, nonBlocking: nonBlocking})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if err := r.host.Close(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		select {
		case err := <-h.served:
			if err != nil && !errors.Is(err, ErrGone) {
				t.Errorf("Serve: %v", err)
			}
			h.served <- nil
		case <-time.After(patience):
			t.Fatal("the handler did not notice")
		}
		h.leave()
	}
}
