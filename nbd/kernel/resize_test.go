package kernel

import (
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestResize(t *testing.T) {
	k := newScripted(t)
	f := mustFamily(t, k)
	defer f.Close()
	size, err := resize(t.Context(), f, 3, "disk", Options{}, dialTo(t, &server{size: 3<<20 + 17, flags: 1, block: 4096}))
	if err != nil || size != 3<<20 {
		t.Errorf("%d, %v", size, err)
	}
	if !slices.Equal(k.heard, []uint8{cmdReconfigure}) || len(k.fds) != 0 {
		t.Errorf("the kernel heard %v and got %d sockets", k.heard, len(k.fds))
	}
	k.errno = unix.EINVAL
	_, err = resize(t.Context(), f, 3, "disk", Options{}, dialTo(t, &server{size: 1 << 20, flags: 1}))
	if err == nil || !strings.Contains(err.Error(), "not by netlink") {
		t.Errorf("%v", err)
	}
}

// A server that comes back with a larger disk is taken back, and the device
// grows; one with a smaller disk is not.
func TestReconnectToALargerDisk(t *testing.T) {
	k := newScripted(t)
	s := &server{size: 1 << 20, flags: 1}
	a, err := attach(t.Context(), mustFamily(t, k), 3, "disk", Options{Reconnect: time.Minute, Log: quiet()}, dialTo(t, s))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if a.disk.timeout != reconnectTimeout {
		t.Errorf("what is under way is repeated after %v", a.disk.timeout)
	}
	s.size = 2 << 20
	if err := a.replace(t.Context()); err != nil || a.Size() != 2<<20 {
		t.Errorf("%v, size %d", err, a.Size())
	}
	if want := []uint8{cmdConnect, cmdReconfigure, cmdReconfigure}; !slices.Equal(k.heard, want) {
		t.Errorf("the kernel heard %v, want %v", k.heard, want)
	}
	if err := a.replace(t.Context()); err != nil || len(k.heard) != 4 {
		t.Errorf("of the same size: %v, %v", err, k.heard)
	}
	s.size = 1 << 20
	if err := a.replace(t.Context()); err == nil || !strings.Contains(err.Error(), "has changed") {
		t.Errorf("smaller: %v", err)
	}
}
