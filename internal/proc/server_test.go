package proc

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const stopTimeout = 10 * time.Second

// socketIn returns an endpoint in a new directory with a short name: a test's
// own directory may be too deep for a socket's path.
func socketIn(t *testing.T) Endpoint {
	t.Helper()
	dir, err := os.MkdirTemp("", "proc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return Unix(filepath.Join(dir, "s"))
}

func TestServerIsReadyOnAllEndpointsAndStops(t *testing.T) {
	s, err := Start(context.Background(), played{modeGood}, Config{
		Listen: []Endpoint{socketIn(t), TCP("127.0.0.1:0"), TCP("127.0.0.1:0")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := s.Endpoint(1), s.Endpoint(2); a == b || a.anyPort() || b.anyPort() {
		t.Errorf("endpoints %v and %v, want two ports", a, b)
	}
	for i := range 3 {
		conn, err := s.Endpoint(i).Dial(context.Background())
		if err != nil {
			t.Errorf("endpoint %d: %v", i, err)
			continue
		}
		conn.Close()
	}
	if s.WaitExit(0) {
		t.Fatalf("server ended by itself: %s", s.Output())
	}
	if u, err := s.Usage(); err != nil || u.RSS <= 0 || u.PeakRSS < u.RSS {
		t.Errorf("usage %+v, %v", u, err)
	}
	for range 2 { // the second Stop finds it gone and agrees
		if err := s.Stop(stopTimeout); err != nil {
			t.Errorf("stop: %v", err)
		}
	}
	if out := s.Output(); !strings.Contains(out, "playing good") || strings.Contains(out, "client flags") {
		t.Errorf("output %q", out)
	}
	if _, err := s.Usage(); err == nil {
		t.Error("usage of an ended process was reported")
	}
}

func TestStartFails(t *testing.T) {
	t.Run("server refuses", func(t *testing.T) {
		_, err := Start(context.Background(), played{modeRefuses}, Config{Listen: []Endpoint{socketIn(t)}})
		if err == nil || !strings.Contains(err.Error(), "no such file") || !strings.Contains(err.Error(), "exit status 3") {
			t.Errorf("error %v, want the status and what the server printed", err)
		}
	})
	t.Run("another protocol", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := Start(ctx, played{modeStranger}, Config{Listen: []Endpoint{socketIn(t)}})
		if err == nil || !strings.Contains(err.Error(), "not that of a newstyle NBD server") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("not installed", func(t *testing.T) {
		_, err := Start(context.Background(), FileioTgt{Bin: "no-such-program"}, Config{})
		if !errors.Is(err, exec.ErrNotFound) {
			t.Errorf("error %v, want not found", err)
		}
	})
	t.Run("not supported", func(t *testing.T) {
		_, err := Start(context.Background(), Nbdkit{}, Config{Block: 4096})
		if !errors.Is(err, ErrUnsupported) {
			t.Errorf("error %v, want ErrUnsupported", err)
		}
	})
}

func TestStopJudgesTheExit(t *testing.T) {
	t.Run("wrong status", func(t *testing.T) {
		s, err := Start(context.Background(), played{modeDirty}, Config{Listen: []Endpoint{socketIn(t)}})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Stop(stopTimeout); err == nil || !strings.Contains(err.Error(), "exit status 7") {
			t.Errorf("stop: %v, want exit status 7", err)
		}
	})
	t.Run("too slow", func(t *testing.T) {
		s, err := Start(context.Background(), played{modeDeaf}, Config{Listen: []Endpoint{socketIn(t)}})
		if err != nil {
			t.Fatal(err)
		}
		err = s.Stop(50 * time.Millisecond)
		if err == nil || !strings.Contains(err.Error(), "was killed") || !strings.Contains(err.Error(), "SIGQUIT") {
			t.Errorf("stop: %v, want a kill and a goroutine trace", err)
		}
	})
	t.Run("killed by a signal", func(t *testing.T) {
		s, err := Start(context.Background(), played{modeGood}, Config{Listen: []Endpoint{socketIn(t)}})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Signal(syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		if !s.WaitExit(stopTimeout) || s.ExitCode() != -1 {
			t.Error("server survived SIGKILL")
		}
		if err := s.Stop(stopTimeout); err == nil || !strings.Contains(err.Error(), "signal: killed") {
			t.Errorf("stop: %v, want the signal", err)
		}
	})
}

func TestPeersStartAndStop(t *testing.T) {
	for _, p := range []Program{Nbdkit{}, QemuNbd{AIO: "threads"}} {
		t.Run(p.Name(), func(t *testing.T) {
			tool, _, _ := strings.Cut(p.Name(), "/")
			if err := FindTool(tool); err != nil {
				t.Skip(err)
			}
			image := filepath.Join(t.TempDir(), "image")
			if err := os.WriteFile(image, make([]byte, 1<<20), 0o644); err != nil {
				t.Fatal(err)
			}
			s, err := Start(context.Background(), p, Config{
				Files: []string{image}, Listen: []Endpoint{socketIn(t)}, ReadOnly: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Stop(stopTimeout); err != nil {
				t.Error(err)
			}
		})
	}
}
