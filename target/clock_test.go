package target

import "testing"

// A command knows when it was submitted, also when its memory is used again.
func TestCmdStarted(t *testing.T) {
	r := newRig(t, Options{})
	for tag := range uint64(2) {
		before := Now()
		c := r.submit(tag, cdbNone)
		if s := c.Started(); s < before || s > Now() {
			t.Errorf("started at %v, want between %v and %v", s, before, Now())
		}
	}
}
