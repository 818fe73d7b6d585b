package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"scstuser/handlers"
	"scstuser/ioctl/abi"
	"scstuser/ucmd"
)

// Whatever a node answers, each subcommand is returned once and each reply given
// once, in order, and those that were refused are named (R23 to R30).
func TestRapidEveryReplyOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		total := rapid.IntRange(1, 60).Draw(rt, "subcommands")
		multi := rapid.IntRange(1, 9).Draw(rt, "multi")
		n := newFakeNode(t)
		n.nonBlk = true // the fake's own: gets return at the end of the queue
		refused := map[uint32]syscall.Errno{}
		for h := range uint32(total) {
			n.queue = append(n.queue, exec(h))
			if rapid.IntRange(0, 5).Draw(rt, "refuse") == 0 {
				refused[h] = rapid.SampledFrom([]syscall.Errno{syscall.ESRCH, syscall.EINVAL, syscall.EFAULT}).Draw(rt, "errno")
			}
		}
		n.refuse = refused
		for _, nr := range []abi.Ioctl{abi.IoctlReplyAndGetCmd, abi.IoctlReplyAndGetMulti} {
			n.after[nr] = rapid.SliceOfN(rapid.Just(syscall.EINTR), 0, 5).Draw(rt, "interrupts")
		}
		d, err := open(n, "/run/node", ucmd.Desc{Name: "disk1"}, Options{Multi: multi})
		if err != nil {
			rt.Fatal(err)
		}
		defer func() {
			if err := d.Close(context.Background()); err != nil {
				rt.Error(err)
			}
		}()
		n.nonBlk = true
		var due []ucmd.Reply
		seen := 0
		for seen < total || len(due) > 0 {
			give := rapid.IntRange(0, len(due)).Draw(rt, "give")
			room := rapid.IntRange(0, 12).Draw(rt, "room")
			if seen == total {
				give, room = len(due), 0
			}
			subs := make([]ucmd.Subcommand, room)
			done, got, err := d.ReplyAndGet(context.Background(), due[:give], subs)
			if done < give {
				h := due[done].Handle
				if want := refused[h]; got != 0 || want == 0 || !errors.Is(err, want) {
					rt.Fatalf("reply %d to %d of %d was refused with %v, got %d", done, h, give, err, got)
				}
				delete(refused, h)
				due = due[done+1:]
				continue
			}
			if err != nil {
				rt.Fatalf("done %d of %d, got %d: %v", done, give, got, err)
			}
			due = due[give:]
			for _, s := range subs[:got] {
				if s.Handle != uint32(seen) {
					rt.Fatalf("subcommand %d has handle %d", seen, s.Handle)
				}
				seen++
				due = append(due, good(s.Handle))
			}
		}
		if len(n.got)+len(n.refused) != total || len(n.due) != 0 || len(refused) != 0 {
			rt.Errorf("%d replies taken and %d refused of %d, %d are due", len(n.got), len(n.refused), total, len(n.due))
		}
	})
}

// counting is a handler that answers GOOD.
type counting struct {
	mu sync.Mutex
	n  map[uint32]int // by handle
}

func (c *counting) Exec(r *handlers.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n[r.Sub.Handle]++
}

// Threads that serve together, with refusals in between, carry out every command
// once and leave none without an answer.
func TestThreadsShareADevice(t *testing.T) {
	for _, threads := range []int{1, 4, 16} {
		const total = 3000
		n := newFakeNode(t)
		d := n.register(ucmd.Desc{}, Options{})
		for h := range uint32(total) {
			if rand.IntN(20) == 0 {
				n.refuse[h] = syscall.ESRCH
			}
		}
		c := &counting{n: map[uint32]int{}}
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() {
			served <- handlers.Serve(ctx, d, c, handlers.Options{Arena: d.frames, Threads: threads, Multi: 1 + threads})
		}()
		for h := range uint32(total) {
			n.add(exec(h))
		}
		n.until("all replies", func() bool { return len(n.got)+len(n.refused) == total })
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		for h := range uint32(total) {
			if c.n[h] != 1 {
				t.Errorf("command %d was carried out %d times", h, c.n[h])
			}
		}
	}
}

// lyingNode answers a MULTI with any bytes.
type lyingNode struct {
	*linux
	answer []byte
	errno  syscall.Errno
	calls  int
}

func (*lyingNode) open(string, bool) (int, error) { return -1, nil }

func (l *lyingNode) ioctl(_ int, nr abi.Ioctl, arg abi.Addr) syscall.Errno {
	switch nr {
	case abi.IoctlReplyAndGetMulti:
		copy(memory(arg, abi.SizeMulti+4*abi.SizeGetCmd), l.answer)
	case abi.IoctlReplyAndGetCmd:
		copy(memory(arg, abi.SizeGetCmd), l.answer)
	default:
		return 0
	}
	if l.calls++; l.calls > 3 {
		return syscall.ENODEV // that is enough
	}
	return l.errno
}

// No answer of a node leads out of the frame, or to more than was asked for (I7).
func FuzzAnswer(f *testing.F) {
	var head [abi.SizeMulti]byte
	x := abi.Multi{RepliesDone: 1, CmdsCnt: 4}
	if err := x.Encode(head[:]); err != nil {
		f.Fatal(err)
	}
	var cmd [abi.SizeGetCmd]byte
	s := exec(7)
	s.CDBLen = 300
	if _, err := abi.EncodeSubcommand(cmd[:], &s); err != nil {
		f.Fatal(err)
	}
	f.Add(head[:], uint8(0), uint8(1))
	f.Add(append(append(head[:], cmd[:]...), cmd[:]...), uint8(0), uint8(4))
	f.Add(append(head[:], 0xff, 0xff), uint8(syscall.EFAULT), uint8(4))
	f.Add(cmd[:], uint8(0), uint8(1))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 0xff, 0x7f}, uint8(syscall.EINTR), uint8(2))
	f.Fuzz(func(t *testing.T, answer []byte, errno, room uint8) {
		d, err := open(&lyingNode{linux: mustLinux(t), answer: answer, errno: syscall.Errno(errno)}, "/run/node", ucmd.Desc{Name: "x"}, Options{Multi: 4})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := d.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}()
		replies := []ucmd.Reply{good(1), good(2)}
		subs := make([]ucmd.Subcommand, room%6)
		done, n, err := d.ReplyAndGet(t.Context(), replies, subs)
		if done < 0 || done > len(replies) || n < 0 || n > len(subs) {
			t.Errorf("done %d, n %d", done, n)
		}
		if done < len(replies) && err == nil {
			t.Errorf("done %d without an error", done)
		}
	})
}
