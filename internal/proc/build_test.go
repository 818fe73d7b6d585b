package proc

import (
	"context"
	"errors"
	"testing"
)

func TestBuilderBuildsOnce(t *testing.T) {
	// A build that can't start fails fast and tells how often it was tried.
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	b := &Builder{Dir: t.TempDir()}
	if _, err := b.Binary(canceled, false); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want %v", err, context.Canceled)
	}
	b.builds[false] = build{path: "kept"}
	if got, err := b.Binary(canceled, false); got != "kept" || err != nil {
		t.Errorf("second call: got %q, %v, want the first one's result", got, err)
	}
	if _, err := b.Binary(canceled, true); !errors.Is(err, context.Canceled) {
		t.Errorf("other kind: got %v, want a build of its own", err)
	}
}
