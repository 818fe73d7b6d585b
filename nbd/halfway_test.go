package nbd

import (
	"net"
	"testing"
	"time"
)

// countingTransport counts what is sent, and in how many calls.
type countingTransport struct {
	plain
	sends, parts int
}

func (c *countingTransport) send(v *vector, _ bool) error {
	c.sends++
	c.parts += len(v.parts) - v.idx
	for !v.sent() {
		v.advance(len(v.parts[v.idx]))
	}
	return nil
}

// The replies to the first half of what a lone client has sent leave before the
// second half is begun; they do not if there are few, or many, or more to come,
// or if other connections have work.
func TestRepliesLeaveHalfway(t *testing.T) {
	for _, tt := range []struct {
		name     string
		requests int
		busy     int32
		full     bool
		want     int // replies that leave halfway
	}{
		{"sixteen", 16, 1, false, 8},
		{"an odd number", 17, 1, false, 9},
		{"few", 6, 1, false, 0},
		{"just enough", 8, 1, false, 4},
		{"as many as go", 32, 1, false, 16},
		{"many", 64, 1, false, 0},
		{"another connection has work", 16, 2, false, 0},
		{"there is more in the socket", 16, 1, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, client := net.Pipe()
			defer server.Close()
			defer client.Close()
			tr := &countingTransport{plain: plain{server}}
			s := NewServer(Options{})
			defer s.stop()
			s.busy.Store(tt.busy)
			c := &conn{srv: s, tr: tr, corked: true}
			c.changed.L = &c.mu
			size := c.mode.requestSize()
			c.in.room()
			c.in.filled(tt.requests * size)
			if tt.full {
				c.in.pos = inboxSize - tt.requests*size
				c.in.end = inboxSize
			}
			defer c.in.drop()
			c.planHalfway()
			early := 0
			for range tt.requests {
				c.in.next(size)
				r := requests.Get().(*request)
				r.c, r.hdrLen = c, simpleReplySize
				c.inflight++
				c.queue(r)
				before := tr.parts
				c.sendHalfway()
				if tr.parts > before && c.in.len() > 0 {
					early = tr.parts
				}
			}
			if early != tt.want {
				t.Errorf("%d replies left halfway, want %d", early, tt.want)
			}
			c.uncork()
			if tr.parts != tt.requests || tr.sends > 2 {
				t.Errorf("%d replies left in %d calls, want %d in at most 2", tr.parts, tr.sends, tt.requests)
			}
		})
	}
}

// Nobody is counted as busy who waits for its client.
func TestWaitingConnectionsAreNotBusy(t *testing.T) {
	rig := newRig(t, oneDisk())
	rig.open(t)
	rig.open(t)
	deadline := time.Now().Add(5 * time.Second)
	for rig.srv.busy.Load() != 0 {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are busy, and all wait", rig.srv.busy.Load())
		}
		time.Sleep(time.Millisecond)
	}
}
