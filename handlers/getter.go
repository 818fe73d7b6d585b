package handlers

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"scstuser/ucmd"
)

// getter fetches subcommands and carries them out, until ctx ends or the
// device does.
func (s *server) getter(ctx context.Context) error {
	subs := make([]ucmd.Subcommand, s.o.Multi)
	replies := make([]ucmd.Reply, 0, s.o.Multi)
	x := new(call)
	for ctx.Err() == nil {
		done, n, err := s.port.ReplyAndGet(ctx, replies, subs)
		if done < len(replies) {
			replies = s.refused(replies, done, err)
			continue
		}
		replies = replies[:0]
		if n == 0 && err != nil {
			if goOn, err := s.getFailed(ctx, err); !goOn {
				return err
			}
		}
		for i := range subs[:n] {
			sub := &subs[i]
			replies = append(replies, ucmd.Reply{Handle: sub.Handle, Code: sub.Code})
			if !s.carryOut(x, sub, &replies[len(replies)-1]) {
				replies = replies[:len(replies)-1] // a worker replies
			}
		}
	}
	s.reply(replies)
	return nil
}

// reply gives replies and fetches nothing.
func (s *server) reply(replies []ucmd.Reply) {
	for len(replies) > 0 {
		// The context does not matter: what is ours to give is given.
		done, _, err := s.port.ReplyAndGet(context.Background(), replies, nil)
		if done == len(replies) {
			return
		}
		replies = s.refused(replies, done, err)
	}
}

// refused deals with the reply that the port did not take, and returns those
// that it has not seen yet (rule R28). The command of the refused one has ended
// already (its initiator or its device has gone), or ends because of it.
func (s *server) refused(replies []ucmd.Reply, done int, err error) (left []ucmd.Reply) {
	if r := &replies[done]; r.PBuf != 0 && (errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.EINVAL)) {
		s.free(r.PBuf) // the port never had it
	}
	return append(replies[:0], replies[done+1:]...)
}

// getFailed decides what a fetch that brought nothing means.
func (s *server) getFailed(ctx context.Context, err error) (goOn bool, _ error) {
	switch {
	case ctx.Err() != nil:
		return false, nil
	case errors.Is(err, syscall.EINTR):
		return true, nil
	case !errors.Is(err, syscall.EAGAIN):
		return false, fmt.Errorf("fetch the next subcommand: %w", err)
	case !s.o.NonBlocking:
		return false, nil // the device is being released (rule R70)
	}
	t := time.NewTimer(s.o.PollInterval)
	defer t.Stop()
	select {
	case <-t.C:
		return true, nil
	case <-s.released:
	case <-ctx.Done():
	}
	return false, nil
}
