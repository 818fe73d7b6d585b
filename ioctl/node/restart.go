package node

import "scstuser/ioctl/abi"

// restart is what has to be known when an interrupted MULTI call comes again.
// What its caller sees is fact 19: replies consumed, no commands, cmds_cnt 0.
// The kernel may restart it with just that argument: it then has to wait for
// as many commands as it did, and to tell the replies that were consumed.
type restart struct {
	arg        abi.Addr
	left       [abi.SizeMulti]byte // the argument as it was left
	room, done int
}

// maxRestarts bounds the interrupted calls that are remembered; threads that
// died in one leave theirs behind.
const maxRestarts = 4096

// saveRestart remembers the call of a thread.
func (f *File) saveRestart(tid int, r restart) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.restarts == nil || len(f.restarts) >= maxRestarts {
		f.restarts = map[int]restart{}
	}
	f.restarts[tid] = r
}

// takeRestart returns what is remembered of a thread, and forgets it: each call
// of the thread either continues it or is another one.
func (f *File) takeRestart(tid int) (r restart, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.restarts) == 0 {
		return r, false
	}
	r, ok = f.restarts[tid]
	delete(f.restarts, tid)
	return r, ok
}
