package kernel

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"scstuser/nbd/nbdtest"
)

// scriptedDevice is a device that does what ioctls say.
type scriptedDevice struct {
	mu     sync.Mutex // guards what follows, but not over
	heard  [][2]int
	refuse map[uint]error
	closed bool
	// write is called by writeBack.
	write func() error

	over chan struct{} // NBD_DO_IT comes back
	once sync.Once
	end  error
}

func newScriptedDevice() *scriptedDevice { return &scriptedDevice{over: make(chan struct{})} }

func (s *scriptedDevice) ioctl(request uint, arg int) error {
	s.mu.Lock()
	s.heard = append(s.heard, [2]int{int(request), arg})
	err := s.refuse[request]
	s.mu.Unlock()
	switch request {
	case ioctlDoIt:
		<-s.over
		return s.end
	case ioctlClearSock:
		s.finish()
	}
	return err
}

// size is that of a disk once NBD_DO_IT has come.
func (s *scriptedDevice) size() (int64, error) {
	for _, r := range s.requests() {
		if r[0] == ioctlDoIt && s.end == nil {
			return 1 << 20, nil
		}
	}
	return 0, nil
}

// writtenBack stands for writeBack among the ioctls.
const writtenBack = -1

func (s *scriptedDevice) writeBack() error {
	s.mu.Lock()
	s.heard = append(s.heard, [2]int{writtenBack, 0})
	s.mu.Unlock()
	if s.write == nil {
		return nil
	}
	return s.write()
}

// finish lets NBD_DO_IT come back.
func (s *scriptedDevice) finish() { s.once.Do(func() { close(s.over) }) }

func (s *scriptedDevice) Close() error {
	s.closed = true
	return nil
}

func (s *scriptedDevice) requests() [][2]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.heard)
}

func attachScripted(t *testing.T, k *scriptedDevice) (*Attachment, error) {
	t.Helper()
	a := &Attachment{
		dev:    &ioctlDevice{index: 3, dev: k, done: make(chan struct{})},
		opt:    Options{Ioctl: true, Connections: 2, Timeout: 1500 * time.Millisecond, WriteBack: time.Minute, Log: quiet()},
		export: "disk", dial: dialTo(t, &server{size: 1<<20 + 100, flags: 1 | transMultiConn, block: 4096}),
	}
	return a, a.begin(t.Context(), 3)
}

func TestIoctlAttach(t *testing.T) {
	k := newScriptedDevice()
	a, err := attachScripted(t, k)
	if err != nil {
		t.Fatal(err)
	}
	if !a.Resident() || a.Size() != 1<<20 {
		t.Errorf("resident %v, size %d", a.Resident(), a.Size())
	}
	if err := a.Detach(); err != nil || !k.closed {
		t.Errorf("detach: %v; closed %v", err, k.closed)
	}
	got := k.requests()
	for i := range got[:2] {
		if got[i][0] != ioctlSetSock || got[i][1] <= 2 {
			t.Errorf("ioctl %d is %#x with %d, want a socket", i, got[i][0], got[i][1])
		}
	}
	want := [][2]int{
		{ioctlSetBlock, 4096}, {ioctlSetBlocks, 256}, {ioctlSetFlags, 1 | int(transMultiConn)}, {ioctlSetTimeout, 2},
		{ioctlDoIt, 0}, {writtenBack, 0}, {ioctlDisconnect, 0}, {ioctlClearSock, 0}, {ioctlClearSock, 0},
	}
	if !slices.Equal(got[2:], want) {
		t.Errorf("%x, want %x", got[2:], want)
	}
	if err := a.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
}

// What was written to the device gets to the server before it is detached, or is
// said to be lost.
func TestIoctlDetachWritesBack(t *testing.T) {
	clearSock := [2]int{ioctlClearSock, 0}
	polite := [][2]int{{writtenBack, 0}, {ioctlDisconnect, 0}, clearSock, clearSock}
	givenUp := [][2]int{{writtenBack, 0}, {ioctlSetTimeout, 1}, clearSock, clearSock}
	ended := [][2]int{{writtenBack, 0}, clearSock, clearSock}
	for _, tc := range []struct {
		name  string
		limit time.Duration
		write func(k *scriptedDevice, hurry chan struct{}) error
		want  string   // at the end of the error
		heard [][2]int // at the end of what the kernel heard
	}{
		{"the server fails", time.Minute, func(*scriptedDevice, chan struct{}) error { return unix.EIO },
			"/dev/nbd3 is detached, and what was written to it last may be lost: input/output error", polite},
		{"the server hangs, and somebody is in a hurry", time.Minute, func(k *scriptedDevice, hurry chan struct{}) error {
			close(hurry)
			<-k.over
			return unix.EIO
		}, "may be lost: the server has not taken it", givenUp},
		{"the server hangs", 10 * time.Millisecond, func(k *scriptedDevice, _ chan struct{}) error {
			<-k.over
			return unix.EIO
		}, "may be lost: the server has not taken it", givenUp},
		{"the connection ends", time.Minute, func(k *scriptedDevice, _ chan struct{}) error {
			k.finish()
			return unix.EIO
		}, "may be lost: input/output error", ended},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k, hurry := newScriptedDevice(), make(chan struct{})
			a, err := attachScripted(t, k)
			if err != nil {
				t.Fatal(err)
			}
			a.opt.Hurry, a.opt.WriteBack = hurry, tc.limit
			k.write = func() error {
				err := tc.write(k, hurry)
				select {
				case <-k.over: // our thread says so first
					<-a.dev.done
				default:
				}
				return err
			}
			if err := a.Detach(); err == nil || !strings.HasSuffix(err.Error(), tc.want) || !k.closed {
				t.Errorf("detach: %v, closed %v", err, k.closed)
			}
			if got := k.requests(); !slices.Equal(got[max(0, len(got)-len(tc.heard)):], tc.heard) {
				t.Errorf("%d, want %d at the end", got, tc.heard)
			}
		})
	}
}

// Without WriteBack nobody waits.
func TestIoctlDetachAtOnce(t *testing.T) {
	k := newScriptedDevice()
	k.write = func() error { t.Error("it was written back"); return nil }
	a, err := attachScripted(t, k)
	if err != nil {
		t.Fatal(err)
	}
	a.opt.WriteBack = 0
	if err := a.Detach(); err != nil || !k.closed {
		t.Errorf("detach: %v, closed %v", err, k.closed)
	}
}

// A device that is somebody else's is left as it is.
func TestIoctlDeviceInUse(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EINVAL, unix.EBUSY} { // by netlink, by ioctls
		k := newScriptedDevice()
		k.refuse = map[uint]error{ioctlSetSock: errno}
		a, err := attachScripted(t, k)
		if !errors.Is(err, unix.EBUSY) {
			t.Errorf("%v: %v", errno, err)
		}
		if err := a.Close(); err != nil || !k.closed || len(k.requests()) != 1 {
			t.Errorf("%v, closed %v, ioctls %x", err, k.closed, k.requests())
		}
	}
}

// One that can't be configured is given back.
func TestIoctlRefusal(t *testing.T) {
	k := newScriptedDevice()
	k.refuse = map[uint]error{ioctlSetFlags: unix.EPERM}
	a, err := attachScripted(t, k)
	if !errors.Is(err, unix.EPERM) {
		t.Error(err)
	}
	if got := k.requests(); got[len(got)-1][0] != ioctlClearSock {
		t.Errorf("%x", got)
	}
	if err := a.Close(); err != nil || !k.closed {
		t.Errorf("%v, closed %v", err, k.closed)
	}
}

// NBD_DO_IT may fail, after all else went well.
func TestIoctlDoItFails(t *testing.T) {
	k := newScriptedDevice()
	k.end = unix.EINVAL
	k.finish()
	a, err := attachScripted(t, k)
	if !errors.Is(err, unix.EINVAL) {
		t.Errorf("%v", err)
	}
	if err := a.Close(); err != nil || !k.closed {
		t.Errorf("%v, closed %v", err, k.closed)
	}
}

func TestIoctlWait(t *testing.T) {
	for _, end := range []error{nil, unix.ETIMEDOUT} {
		k := newScriptedDevice()
		a, err := attachScripted(t, k)
		if err != nil {
			t.Fatal(err)
		}
		k.end = end
		time.AfterFunc(10*time.Millisecond, k.finish)
		done := make(chan error, 1)
		go func() { done <- a.Wait(t.Context()) }()
		select {
		case err := <-done:
			if !errors.Is(err, end) {
				t.Errorf("%v, want %v", err, end)
			}
		case <-time.After(nbdtest.DefaultTimeout):
			t.Fatal("Wait does not end")
		}
		if !k.closed {
			t.Error("the device is still open")
		}
	}
}
