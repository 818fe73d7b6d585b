package nbd

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"scstuser/handlers"
	"scstuser/handlers/arena"
	"scstuser/handlers/disk"
	"scstuser/handlers/fileio"
	"scstuser/nbd/nbdtest"
	"scstuser/ucmd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a whole server: image files, disks, devices, exports, on a unix
// socket.
type rig struct {
	t      testing.TB
	srv    *Server
	reg    *ucmd.Registry
	arena  *arena.Arena
	socket string
	disks  []*rigDisk

	shut    sync.Once
	stopped chan struct{}
	err     error
}

// rigDisk is one export of a rig.
type rigDisk struct {
	path   string
	dev    *ucmd.Device
	export *Export
	stall  *stallable
	disk   *disk.Disk
	stop   context.CancelFunc
	served chan error
}

// stallable is a file whose next read can be made to wait.
type stallable struct {
	*fileio.File
	mu      sync.Mutex
	held    chan struct{} // closed by the read that stalls
	release chan struct{}
}

func (s *stallable) next() (held, release chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held, release = s.held, s.release
	s.held, s.release = nil, nil
	return held, release
}

func (s *stallable) ReadAt(p []byte, off int64) (int, error) {
	if held, release := s.next(); held != nil {
		close(held)
		<-release
	}
	return s.File.ReadAt(p, off)
}

func (s *stallable) TryReadAt(p []byte, off int64) error {
	s.mu.Lock()
	stall := s.held != nil
	s.mu.Unlock()
	if stall {
		return handlers.ErrWouldBlock
	}
	return s.File.TryReadAt(p, off)
}

// Stall makes the next read wait.
func (s *stallable) Stall() (<-chan struct{}, func()) {
	held, release := make(chan struct{}), make(chan struct{})
	s.mu.Lock()
	s.held, s.release = held, release
	s.mu.Unlock()
	return held, sync.OnceFunc(func() { close(release) })
}

type rigConfig struct {
	names     []string // one export each
	size      int64
	file      fileio.Options
	disk      disk.Options
	opt       ucmd.Opt
	inline    bool
	server    Options
	threads   int
	nonBlock  bool
	limits    ucmd.Limits
	noNowaits bool // every read and write goes to a worker
}

// oneDisk is the usual rig.
func oneDisk() rigConfig {
	return rigConfig{
		names: []string{"disk"}, size: 4 << 20, inline: true,
		opt: ucmd.Opt{OnFree: uint8(ucmd.OnFreeIgnore), Reuse: uint8(ucmd.ReuseAll), TST: 1, QueueAlg: 1},
	}
}

// newRig starts a server; it is stopped and checked when the test ends.
func newRig(t testing.TB, cfg rigConfig) *rig {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	cfg.server.Log = log
	r := &rig{
		t: t, srv: NewServer(cfg.server), reg: ucmd.NewRegistry(cfg.limits),
		arena: arena.New(arena.Options{}), stopped: make(chan struct{}),
	}
	for _, name := range cfg.names {
		r.addDisk(name, cfg)
	}
	dir, err := os.MkdirTemp("", "nbd") // t.TempDir's paths can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	r.socket = filepath.Join(dir, "s")
	l, err := Listen(ListenAddr{Network: "unix", Address: r.socket})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- r.srv.Serve(l) }()
	t.Cleanup(func() {
		r.stop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		os.RemoveAll(dir)
	})
	return r
}

func (r *rig) addDisk(name string, cfg rigConfig) {
	t := r.t
	t.Helper()
	d := &rigDisk{path: filepath.Join(t.TempDir(), name), served: make(chan error, 1)}
	if err := os.WriteFile(d.path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.path, cfg.size); err != nil {
		t.Fatal(err)
	}
	f, err := fileio.Open(d.path, cfg.file)
	if err != nil {
		t.Fatal(err)
	}
	d.stall = &stallable{File: f}
	cfg.disk.Name = name
	if cfg.disk.BlockSize == 0 {
		cfg.disk.BlockSize = 512
	}
	cfg.disk.ReadOnly = cfg.disk.ReadOnly || cfg.file.ReadOnly
	if cfg.noNowaits {
		cfg.disk.InlineRead, cfg.disk.InlineWrite = -1, -1
	}
	if d.disk, err = disk.New(d.stall, cfg.disk); err != nil {
		t.Fatal(err)
	}
	d.dev, err = r.reg.Register(ucmd.Desc{
		Name: name, BlockSize: uint32(cfg.disk.BlockSize), Opt: cfg.opt, NonBlocking: cfg.nonBlock,
	}, handlers.Memory{Arena: r.arena}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	d.stop = cancel
	go func() {
		d.served <- handlers.Serve(ctx, d.dev, d.disk, handlers.Options{
			Arena: r.arena, Inline: cfg.inline, Threads: cfg.threads, NonBlocking: cfg.nonBlock,
			BlockSize: uint32(cfg.disk.BlockSize),
		})
	}()
	if d.export, err = r.srv.AddExport(context.Background(), ExportConfig{Name: name, Device: d.dev.Target()}); err != nil {
		select {
		case why := <-d.served:
			t.Fatalf("%v, because the handler has ended: %v", err, why)
		default:
			t.Fatal(err)
		}
	}
	r.disks = append(r.disks, d)
}

// stop shuts everything down and checks I4.
func (r *rig) stop() {
	r.shut.Do(func() {
		r.err = r.srv.Shutdown(context.Background())
		for _, d := range r.disks {
			d.stop()
			if err := <-d.served; err != nil {
				r.t.Errorf("handler: %v", err)
			}
			if err := d.dev.Close(context.Background()); err != nil {
				r.t.Errorf("release: %v", err)
			}
			if l := d.dev.Commands(); len(l) > 0 {
				r.t.Errorf("I4: ucmds left: %v", l)
			}
			for _, p := range d.dev.PoolStats() {
				if p.TotalPages != 0 {
					r.t.Errorf("I4: the pool has pages left: %+v", p)
				}
			}
			if err := d.stall.Close(); err != nil {
				r.t.Error(err)
			}
		}
		close(r.stopped)
	})
	<-r.stopped
	if r.err != nil {
		r.t.Errorf("shutdown: %v", r.err)
	}
}

// dial connects a client.
func (r *rig) dial(t testing.TB) *nbdtest.Conn { return nbdtest.Dial(t, "unix", r.socket) }

// open connects a client and lets it choose the default export.
func (r *rig) open(t testing.TB) *nbdtest.Conn {
	c := r.dial(t)
	c.Greet()
	c.SendClientFlags(3)
	c.Go("")
	return c
}

func (r *rig) netDial() net.Conn {
	c, err := net.Dial("unix", r.socket)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}
