package ucmd

import (
	"context"
	"testing"
	"time"

	"scstuser/scsi"
)

// F7: what a host that copies needs to know about a command, and when.
func TestF7Outstanding(t *testing.T) {
	b := newBench(t)
	defer b.dev.Close(context.Background())
	b.dev.Unregister() // non-blocking from here on

	b.write(8)
	if _, ok := b.dev.Outstanding(1); ok {
		t.Error("a command that is not fetched is outstanding")
	}
	s := b.get(SubAllocMem)
	o, ok := b.dev.Outstanding(s.Handle)
	if !ok || o.Code != SubAllocMem || o.AllocLen != 4096 || o.PBuf != 0 || o.Buf != nil {
		t.Errorf("ALLOC_MEM: %+v, %v", o, ok)
	}
	addr := b.mem.alloc(4096)
	b.reply(Reply{Handle: s.Handle, Code: SubAllocMem, PBuf: addr})
	s = b.get(SubExec)
	o, ok = b.dev.Outstanding(s.Handle)
	if !ok || o.Code != SubExec || o.Dir != scsi.DirWrite || o.PBuf != addr || len(o.Buf) != 4096 {
		t.Errorf("EXEC: %+v, %v", o, ok)
	}
	b.reply(Reply{Handle: s.Handle, Code: SubExec, Type: ReplyCompleted})
	if _, ok := b.dev.Outstanding(s.Handle); ok {
		t.Error("an answered command is outstanding")
	}
}

// F5: a wait on a non-blocking device ends with a command, with the limit, or
// with the context.
func TestF5WaitReady(t *testing.T) {
	b := newBench(t)
	defer b.dev.Close(context.Background())
	b.dev.Unregister() // non-blocking from here on
	over := make(chan struct{})
	wait := func(ctx context.Context, limit time.Duration) {
		b.dev.WaitReady(ctx, limit)
		over <- struct{}{}
	}
	go wait(context.Background(), time.Millisecond)
	<-over
	ctx, cancel := context.WithCancel(context.Background())
	go wait(ctx, time.Hour)
	cancel()
	<-over
	go wait(context.Background(), time.Hour)
	c := b.submit(syncCDB)
	<-over
	s := b.get(SubExec)
	b.reply(Reply{Handle: s.Handle, Code: SubExec, Type: ReplyCompleted})
	_ = c
	if n := len(b.dev.waiters); n != 0 {
		t.Errorf("%d waiters are left", n)
	}
}
