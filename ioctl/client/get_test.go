package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"scstuser/ioctl/abi"
	"scstuser/ucmd"
)

// fetch gets exactly the subcommands that are there.
func fetch(t testing.TB, d *Device, n int) []ucmd.Subcommand {
	t.Helper()
	subs := make([]ucmd.Subcommand, n)
	done, got, err := d.ReplyAndGet(t.Context(), nil, subs)
	if err != nil || done != 0 {
		t.Fatalf("fetch: done %d, %v", done, err)
	}
	return subs[:got]
}

// The ioctl is the one that suits the call (R23, R28, R29).
func TestR23OneIoctlForRepliesAndGet(t *testing.T) {
	for _, tc := range []struct {
		name          string
		replies, room int
		want          ioctlCall
	}{
		{"a get alone", 0, 1, ioctlCall{abi.IoctlReplyAndGetCmd, 0, 1}},
		{"a reply and a get", 1, 1, ioctlCall{abi.IoctlReplyAndGetCmd, 1, 1}},
		{"a reply alone", 1, 0, ioctlCall{abi.IoctlReplyCmd, 1, 0}},
		{"a get of several", 0, 3, ioctlCall{abi.IoctlReplyAndGetMulti, 0, 3}},
		{"replies and a get of several", 3, 4, ioctlCall{abi.IoctlReplyAndGetMulti, 3, 4}},
		{"replies and a get of one", 2, 1, ioctlCall{abi.IoctlReplyAndGetMulti, 2, 1}},
		{"replies alone", 3, 0, ioctlCall{abi.IoctlReplyAndGetMulti, 3, 0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := newFakeNode(t)
			d := n.register(ucmd.Desc{}, Options{})
			var replies []ucmd.Reply
			for h := range uint32(tc.replies) {
				n.add(exec(h))
				replies = append(replies, good(h))
			}
			if tc.replies > 0 {
				fetch(t, d, tc.replies)
			}
			n.add(exec(100), exec(101))
			subs := make([]ucmd.Subcommand, tc.room)
			done, got, err := d.ReplyAndGet(t.Context(), replies, subs)
			if err != nil || done != tc.replies || got != min(tc.room, 2) {
				t.Errorf("done %d, got %d, %v", done, got, err)
			}
			if len(n.got) != tc.replies {
				t.Errorf("the node has %d replies", len(n.got))
			}
			if last := n.calls[len(n.calls)-1]; last != tc.want {
				t.Errorf("the ioctl was %v, want %v", last, tc.want)
			}
			for i, s := range subs[:got] {
				if s != exec(uint32(100+i)) {
					t.Errorf("subcommand %d is %+v", i, s)
				}
			}
		})
	}
}

// A call may be larger than an ioctl, for any number of replies and room.
func TestR29AnyNumberTravels(t *testing.T) {
	for _, multi := range []int{1, 2, 7, 64} {
		for _, calls := range []int{1, 2, 7, 64} {
			t.Run(fmt.Sprintf("multi %d, calls of %d", multi, calls), func(t *testing.T) {
				const total = 150
				n := newFakeNode(t)
				for h := range uint32(total) {
					n.add(exec(h))
				}
				d := n.register(ucmd.Desc{}, Options{Multi: multi})
				subs := make([]ucmd.Subcommand, calls)
				var replies []ucmd.Reply
				for seen := 0; seen < total; {
					done, got, err := d.ReplyAndGet(t.Context(), replies, subs)
					if err != nil || done != len(replies) || got == 0 || got > min(multi, calls) {
						t.Fatalf("done %d of %d, got %d, %v", done, len(replies), got, err)
					}
					replies = replies[:0]
					for i, s := range subs[:got] {
						if s.Handle != uint32(seen+i) {
							t.Fatalf("subcommand %d has handle %d", seen+i, s.Handle)
						}
						replies = append(replies, good(s.Handle))
					}
					seen += got
				}
				if done, _, err := d.ReplyAndGet(t.Context(), replies, nil); err != nil || done != len(replies) {
					t.Fatal(done, err)
				}
				for i, r := range n.got {
					if r.Handle != uint32(i) {
						t.Fatalf("reply %d is to %d", i, r.Handle)
					}
				}
				if len(n.got) != total || len(n.due) != 0 {
					t.Errorf("%d replies, %d are due", len(n.got), len(n.due))
				}
			})
		}
	}
}

// More replies than an ioctl carries are given before anything is fetched.
func TestR29ManyRepliesFirst(t *testing.T) {
	n := newFakeNode(t)
	d := n.register(ucmd.Desc{}, Options{Multi: 4})
	var replies []ucmd.Reply
	for h := range uint32(10) {
		n.add(exec(h))
		replies = append(replies, good(h))
	}
	for left := 10; left > 0; {
		left -= len(fetch(t, d, 10))
	}
	n.add(exec(50))
	n.calls = nil
	done, got, err := d.ReplyAndGet(t.Context(), replies, make([]ucmd.Subcommand, 10))
	if done != 10 || got != 1 || err != nil {
		t.Errorf("done %d, got %d, %v", done, got, err)
	}
	m := abi.IoctlReplyAndGetMulti
	if want := []ioctlCall{{m, 4, 0}, {m, 4, 0}, {m, 2, 4}}; !slices.Equal(n.calls, want) {
		t.Errorf("ioctls %v, want %v", n.calls, want)
	}
}

// A refused reply is reported with its place; those behind it were not given,
// and nothing was fetched. ESRCH and the others alike.
func TestR28PartialReplies(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ESRCH, syscall.EINVAL, syscall.EFAULT, syscall.EOVERFLOW} {
		for bad := range uint32(3) {
			t.Run(fmt.Sprintf("%d %v", bad, errno), func(t *testing.T) {
				n := newFakeNode(t, exec(0), exec(1), exec(2))
				d := n.register(ucmd.Desc{}, Options{})
				fetch(t, d, 3)
				n.add(exec(9))
				n.refuse[bad] = errno
				replies := []ucmd.Reply{good(0), good(1), good(2)}
				subs := make([]ucmd.Subcommand, 2)
				done, got, err := d.ReplyAndGet(t.Context(), replies, subs)
				if done != int(bad) || got != 0 || !errors.Is(err, errno) {
					t.Errorf("done %d, got %d, %v", done, got, err)
				}
				done, got, err = d.ReplyAndGet(t.Context(), replies[bad+1:], subs)
				if done != int(2-bad) || got != 1 || err != nil {
					t.Errorf("the rest: done %d, got %d, %v", done, got, err)
				}
				if len(n.got) != 2 || len(n.refused) != 1 {
					t.Errorf("%d replies taken, %d refused", len(n.got), len(n.refused))
				}
			})
		}
	}
}

// REPLY_AND_GET_CMD and REPLY_CMD tell by their errno whether the reply was
// taken (R23).
func TestR23RefusedSingleReply(t *testing.T) {
	for _, room := range []int{0, 1} {
		n := newFakeNode(t, exec(5))
		d := n.register(ucmd.Desc{}, Options{})
		fetch(t, d, 1)
		n.refuse[5] = syscall.EINVAL
		done, got, err := d.ReplyAndGet(t.Context(), []ucmd.Reply{good(5)}, make([]ucmd.Subcommand, room))
		if done != 0 || got != 0 || !errors.Is(err, syscall.EINVAL) {
			t.Errorf("room %d: done %d, got %d, %v", room, done, got, err)
		}
	}
}

// A reply with a code that is none never leaves: those before it do.
func TestUnknownReplyIsRefusedHere(t *testing.T) {
	n := newFakeNode(t, exec(0), exec(1))
	d := n.register(ucmd.Desc{}, Options{})
	fetch(t, d, 2)
	replies := []ucmd.Reply{good(0), {Handle: 1, Code: 0x77}, good(1)}
	done, got, err := d.ReplyAndGet(t.Context(), replies, make([]ucmd.Subcommand, 1))
	if done != 1 || got != 0 || !errors.Is(err, syscall.EINVAL) {
		t.Errorf("done %d, got %d, %v", done, got, err)
	}
	if done, _, err = d.ReplyAndGet(t.Context(), replies[2:], nil); done != 1 || err != nil {
		t.Errorf("done %d, %v", done, err)
	}
}

// EINTR of an ioctl is no news for the caller; replies are not given twice (R24).
func TestR24InterruptedGetGoesOn(t *testing.T) {
	for _, room := range []int{1, 2} {
		nr := abi.IoctlReplyAndGetCmd
		if room > 1 {
			nr = abi.IoctlReplyAndGetMulti
		}
		n := newFakeNode(t, exec(0))
		d := n.register(ucmd.Desc{}, Options{})
		fetch(t, d, 1)
		n.after[nr] = []syscall.Errno{syscall.EINTR, syscall.EINTR}
		n.add(exec(1))
		done, got, err := d.ReplyAndGet(t.Context(), []ucmd.Reply{good(0)}, make([]ucmd.Subcommand, room))
		if done != 1 || got != 1 || err != nil {
			t.Errorf("done %d, got %d, %v", done, got, err)
		}
		if len(n.got) != 1 || len(n.refused) != 0 {
			t.Errorf("%d replies taken, %d refused", len(n.got), len(n.refused))
		}
	}
}

// EAGAIN with replies done does not mean that replies were lost (fact 15).
func TestFact15EAGAINWithRepliesDone(t *testing.T) {
	for _, room := range []int{1, 3} {
		n := newFakeNode(t, exec(0), exec(1), exec(2))
		d := n.register(ucmd.Desc{NonBlocking: true}, Options{})
		fetch(t, d, 3)
		replies := []ucmd.Reply{good(0)}
		if room > 1 {
			replies = append(replies, good(1), good(2))
		}
		time.AfterFunc(20*time.Millisecond, func() { n.add(exec(7)) })
		done, got, err := d.ReplyAndGet(t.Context(), replies, make([]ucmd.Subcommand, room))
		if done != len(replies) || got != 1 || err != nil || len(n.got) != done {
			t.Errorf("done %d, got %d, %v; the node has %d", done, got, err, len(n.got))
		}
	}
}

// A get that fails behind good commands delivers them (R29, fact 14).
func TestR29ErrorBehindCommands(t *testing.T) {
	n := newFakeNode(t, exec(0))
	d := n.register(ucmd.Desc{}, Options{})
	// A host that writes nothing back leaves cmds_cnt as it was: no command came.
	n.fail[abi.IoctlReplyAndGetMulti] = []syscall.Errno{syscall.EFAULT}
	done, got, err := d.ReplyAndGet(t.Context(), nil, make([]ucmd.Subcommand, 4))
	if done != 0 || got != 0 || !errors.Is(err, syscall.EFAULT) {
		t.Errorf("done %d, got %d, %v", done, got, err)
	}
	if got := fetch(t, d, 4); len(got) != 1 || got[0].Handle != 0 {
		t.Errorf("then it fetched %v", got)
	}
}

// What replies point to arrives: sense (R46, R58), descriptors (R60, R65).
func TestReplyPointers(t *testing.T) {
	sense := bytes.Repeat([]byte{0x70, 1, 2, 3}, 100)
	many := make([]ucmd.WriteSameDescr, 200) // most of a page
	for i := range many {
		many[i] = ucmd.WriteSameDescr{LBA: uint64(i), Blocks: 1}
	}
	ws := func(h uint32, l []ucmd.WriteSameDescr) ucmd.Reply {
		return ucmd.Reply{Handle: h, Code: ucmd.SubExec, Type: ucmd.ReplyDoWriteSame, WriteSame: l, WSLen: int32(16 * len(l))}
	}
	remap := []ucmd.DataDescr{{SrcLBA: 1, DstLBA: 2, DataLen: 512}}
	fails := good(0)
	fails.Status, fails.Sense = 2, sense
	replies := []ucmd.Reply{
		fails, ws(1, many), ws(2, many), ws(3, many[:2]),
		{Handle: 4, Code: ucmd.SubExtCopyRemap, Remap: remap, RemapLen: 24},
	}
	n := newFakeNode(t, exec(0), exec(1), exec(2), exec(3),
		ucmd.Subcommand{Handle: 4, Code: ucmd.SubExtCopyRemap, Remap: &ucmd.RemapSegment{}})
	d := n.register(ucmd.Desc{}, Options{})
	fetch(t, d, 5)
	done, _, err := d.ReplyAndGet(t.Context(), replies, nil)
	if done != 5 || err != nil {
		t.Fatal(done, err)
	}
	if !bytes.Equal(n.got[0].Sense, sense[:abi.MaxSense]) {
		t.Errorf("sense % x", n.got[0].Sense)
	}
	for i, want := range [][]ucmd.WriteSameDescr{nil, many, many, many[:2]} {
		if !slices.Equal(n.got[i].WriteSame, want) {
			t.Errorf("reply %d has %d ranges, want %d", i, len(n.got[i].WriteSame), len(want))
		}
	}
	if !slices.Equal(n.got[4].Remap, remap) {
		t.Errorf("pieces %v", n.got[4].Remap)
	}
}

// A subcommand that a newer node has is answered, and not delivered (R26).
func TestR26UnknownSubcommandIsAnswered(t *testing.T) {
	for _, room := range []int{1, 3} {
		n := newFakeNode(t, ucmd.Subcommand{Handle: 8, Code: unknownCode}, exec(9))
		d := n.register(ucmd.Desc{}, Options{})
		subs := make([]ucmd.Subcommand, room)
		_, got, err := d.ReplyAndGet(t.Context(), nil, subs)
		if got != 1 || err != nil || subs[0].Handle != 9 {
			t.Errorf("got %d %v, %v", got, subs[:got], err)
		}
		if len(n.got) != 1 || n.got[0].Handle != 8 {
			t.Errorf("replies %v", n.got)
		}
	}
}

// Every thread blocks in an ioctl of its own, and the end of the context wakes
// all by UNREGISTER_DEVICE (R15). Replies that are due are given all the same.
func TestR15ContextWakesAllThreads(t *testing.T) {
	for _, threads := range []int{1, 4, 16} {
		t.Run(fmt.Sprint(threads), func(t *testing.T) {
			n := newFakeNode(t)
			d := n.register(ucmd.Desc{}, Options{})
			ctx, cancel := context.WithCancel(t.Context())
			errs := make(chan error, threads)
			for range threads {
				go func() {
					_, _, err := d.ReplyAndGet(ctx, nil, make([]ucmd.Subcommand, 2))
					errs <- err
				}()
			}
			n.until("all to wait", func() bool { return n.blocked == threads })
			cancel()
			for range threads {
				if err := <-errs; !errors.Is(err, syscall.EINTR) {
					t.Errorf("%v, want EINTR", err)
				}
			}
			if n := len(d.idle); n > threads+1 { // one for who woke them
				t.Errorf("%d frames for %d threads", n, threads)
			}
			// The device serves on, for those with another context.
			n.add(exec(1))
			if got := fetch(t, d, 1); len(got) != 1 {
				t.Errorf("then it fetched %v", got)
			}
			n.add(exec(2))
			done, got, err := d.ReplyAndGet(ctx, []ucmd.Reply{good(1)}, make([]ucmd.Subcommand, 1))
			if done != 1 || got != 0 || !errors.Is(err, syscall.EINTR) {
				t.Errorf("with a reply: done %d, got %d, %v", done, got, err)
			}
			if got := fetch(t, d, 1); len(got) != 1 || got[0].Handle != 2 {
				t.Errorf("what was not fetched is %v", got)
			}
		})
	}
}

// EAGAIN on a blocking device is the node's: it has released the device.
func TestR70ReleasedByTheNode(t *testing.T) {
	n := newFakeNode(t)
	d := n.register(ucmd.Desc{}, Options{})
	n.set(func() { n.nonBlk = true })
	if _, _, err := d.ReplyAndGet(t.Context(), nil, make([]ucmd.Subcommand, 1)); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("%v, want EAGAIN", err)
	}
}

// A host that dies ends every call with an error that says so.
func TestHostDies(t *testing.T) {
	for name, nonBlocking := range map[string]bool{"blocking": false, "non-blocking": true} {
		t.Run(name, func(t *testing.T) {
			n := newFakeNode(t, exec(1))
			d := n.register(ucmd.Desc{NonBlocking: nonBlocking}, Options{})
			fetch(t, d, 1)
			errs := make(chan error, 3)
			for range 3 {
				go func() {
					_, _, err := d.ReplyAndGet(t.Context(), nil, make([]ucmd.Subcommand, 1))
					errs <- err
				}()
			}
			time.Sleep(10 * time.Millisecond)
			n.set(func() { n.dead = syscall.ENOTCONN })
			for range 3 {
				if err := <-errs; !errors.Is(err, ErrGone) {
					t.Errorf("%v, want ErrGone", err)
				}
			}
			<-d.Released()
			done, _, err := d.ReplyAndGet(t.Context(), []ucmd.Reply{good(1)}, nil)
			if done != 0 || !errors.Is(err, ErrGone) || !errors.Is(err, syscall.ENOTCONN) {
				t.Errorf("a reply: done %d, %v", done, err)
			}
			if err := d.FlushCache(); !errors.Is(err, ErrGone) {
				t.Errorf("a flush: %v", err)
			}
		})
	}
}

// Idle non-blocking threads cost one poller, also where poll lies (F5).
func TestR10NonBlockingIdlesCheaply(t *testing.T) {
	for name, lies := range map[string]bool{"kernel": false, "FUSE": true} {
		t.Run(name, func(t *testing.T) {
			n := newFakeNode(t)
			n.pollLies = lies
			d := n.register(ucmd.Desc{NonBlocking: true}, Options{})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					subs := make([]ucmd.Subcommand, 2)
					for ctx.Err() == nil {
						_, got, err := d.ReplyAndGet(ctx, nil, subs)
						if err != nil && !errors.Is(err, syscall.EINTR) {
							t.Error(err)
						}
						for _, s := range subs[:got] {
							_, _, err := d.ReplyAndGet(ctx, []ucmd.Reply{good(s.Handle)}, nil)
							if err != nil {
								t.Error(err)
							}
						}
					}
				})
			}
			time.Sleep(300 * time.Millisecond)
			n.mu.Lock()
			polls, calls := n.polls, len(n.calls)
			n.mu.Unlock()
			// 8 first gets; a get and a wait for each 16 ms then, after the first few.
			if polls > 100 || calls > 100 {
				t.Errorf("%d waits and %d ioctls in 300 ms", polls, calls)
			}
			n.add(exec(1), exec(2), exec(3), exec(4), exec(5))
			n.until("the replies", func() bool { return len(n.got) == 5 })
			cancel()
			wg.Wait()
			if n.mostPolls > 1 {
				t.Errorf("%d polled at once", n.mostPolls)
			}
		})
	}
}

// Many contexts come and go; each still wakes its own.
func TestContextsAreForgotten(t *testing.T) {
	n := newFakeNode(t)
	d := n.register(ucmd.Desc{NonBlocking: true}, Options{})
	for range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Microsecond)
		_, _, err := d.ReplyAndGet(ctx, nil, make([]ucmd.Subcommand, 1))
		if !errors.Is(err, syscall.EINTR) {
			t.Fatal(err)
		}
		cancel()
	}
	if len(d.watches) > 1 {
		t.Errorf("%d contexts are watched", len(d.watches))
	}
}

// Steady state allocates nothing.
func TestNoAllocations(t *testing.T) {
	for name, multi := range map[string]int{"single": 1, "multi": 8} {
		t.Run(name, func(t *testing.T) {
			subs := make([]ucmd.Subcommand, multi)
			replies := make([]ucmd.Reply, 0, multi)
			d := echo(t, multi)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			round := func() {
				done, n, err := d.ReplyAndGet(ctx, replies, subs)
				if done != len(replies) || n != multi || err != nil {
					t.Fatal(done, n, err)
				}
				replies = replies[:0]
				for i := range subs[:n] {
					r := good(subs[i].Handle)
					r.Status, r.Sense = 2, someSense[:]
					replies = append(replies, r)
				}
			}
			round()
			if n := testing.AllocsPerRun(100, round); n != 0 {
				t.Errorf("a round allocates %v times", n)
			}
		})
	}
}

var someSense [18]byte

// echo is a device whose node always has multi EXECs, and takes all.
func echo(t testing.TB, multi int) *Device {
	n := &echoNode{linux: mustLinux(t), multi: multi}
	d, err := open(n, "/run/node", ucmd.Desc{Name: "disk1"}, Options{Multi: multi})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return d
}

func mustLinux(t testing.TB) *linux {
	l, err := newLinux()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// echoNode is a node that costs nothing, but for the real handling of signals.
type echoNode struct {
	*linux
	multi int
	h     uint32
}

func (*echoNode) open(string, bool) (int, error) { return -1, nil }

func (n *echoNode) ioctl(fd int, nr abi.Ioctl, arg abi.Addr) syscall.Errno {
	_ = n.linux.ioctl(fd, nr, arg) // EBADF
	put := func(b []byte) {
		n.h++
		s := exec(n.h)
		if _, err := abi.EncodeSubcommand(b, &s); err != nil {
			panic(err)
		}
	}
	switch nr {
	case abi.IoctlReplyAndGetCmd:
		put(memory(arg, abi.SizeGetCmd))
	case abi.IoctlReplyAndGetMulti:
		head := memory(arg, abi.SizeMulti)
		var x abi.Multi
		if err := x.Decode(head); err != nil {
			panic(err)
		}
		for i := range x.Room() {
			put(memory(abi.MultiCmdAddr(arg, i), abi.SizeGetCmd))
		}
		x.RepliesDone = x.RepliesCnt
		if err := x.Encode(head); err != nil {
			panic(err)
		}
	}
	return 0
}

// BenchmarkExchange is what a command costs on this side.
func BenchmarkExchange(b *testing.B) {
	for _, multi := range []int{1, 8, 32} {
		b.Run(fmt.Sprint(multi), func(b *testing.B) {
			d := echo(b, multi)
			subs := make([]ucmd.Subcommand, multi)
			replies := make([]ucmd.Reply, multi)
			b.ReportAllocs()
			for i := 0; i < b.N; i += multi {
				_, n, err := d.ReplyAndGet(b.Context(), replies[:0], subs)
				if err != nil {
					b.Fatal(err)
				}
				for j := range subs[:n] {
					replies[j] = good(subs[j].Handle)
				}
			}
		})
	}
}
