package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"scstuser/handlers"
	"scstuser/handlers/nullio"
)

// stuckMedium hangs when it is synced, until its channel is closed.
type stuckMedium struct {
	describedBacking
	release chan struct{}
	closed  *bool
}

var _ handlers.Syncer = stuckMedium{}

func (m stuckMedium) Sync() error { <-m.release; return nil }
func (m stuckMedium) Close() error {
	*m.closed = true
	return nil
}

// A disk that hangs is left behind, and takes no healthy one with it, also when
// the clients have used up the time.
func TestDiskThatHangsHoldsUpNobody(t *testing.T) {
	hangs, answers := make(chan struct{}), make(chan struct{})
	close(answers)
	defer close(hangs)
	var stuckClosed, healthyClosed bool
	stuck := &exportedDisk{name: "stuck", path: "/p", cut: make(chan struct{}),
		backing: stuckMedium{nullio.New(4096, false), hangs, &stuckClosed}}
	healthy := &exportedDisk{name: "healthy", path: "/h", cut: make(chan struct{}),
		backing: stuckMedium{nullio.New(4096, false), answers, &healthyClosed}}

	over, cancel := context.WithCancel(context.Background())
	cancel()
	begin := time.Now()
	err := releaseDisks(over, []*exportedDisk{stuck, healthy})
	if took := time.Since(begin); took < mediaLinger || took > 10*mediaLinger {
		t.Errorf("it took %v", took)
	}
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "device stuck: sync /p: the disk does not answer") {
		t.Errorf("the error is %v", err)
	}
	if strings.Contains(err.Error(), "healthy") || !healthyClosed {
		t.Errorf("the healthy disk was not closed: %v", err)
	}
}
