package nbd

import (
	"testing"
	"time"

	"scstuser/nbd/nbdtest"
)

// Clients count from their greeting until they have left.
func TestConnections(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{MaxConnections: 7})
	becomes := func(want int) {
		t.Helper()
		now, limit := f.srv.Connections()
		for end := time.Now().Add(nbdtest.DefaultTimeout); now != want && time.Now().Before(end); now, _ = f.srv.Connections() {
			time.Sleep(time.Millisecond)
		}
		if now != want || limit != 7 {
			t.Errorf("%d clients of at most %d, want %d of 7", now, limit, want)
		}
	}
	becomes(0)
	a, b := nbdtest.Dial(t, "unix", f.socket), nbdtest.Dial(t, "unix", f.socket)
	a.Hello()
	b.Hello()
	becomes(2)
	a.Abort()
	becomes(1)
	b.Abort()
	becomes(0)
}
