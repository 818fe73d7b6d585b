package fusenode

import (
	"bytes"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"scstuser/ioctl/node"
)

// maxPieces is how many pieces one system call takes (UIO_MAXIOV).
const maxPieces = 1024

// caller is the memory of the thread that makes an ioctl (F1, F2).
type caller struct {
	tid    int
	copies uint64 // system calls since the last look
	local  []unix.Iovec
	remote []unix.RemoteIovec
}

var _ node.CallerMemory = (*caller)(nil)

// call is what one ioctl needs; used again.
type call struct {
	node.Call
	caller
}

var calls = sync.Pool{New: func() any { return new(call) }}

// Read implements node.CallerMemory.
func (c *caller) Read(p []node.Piece) int { return c.move(p, unix.ProcessVMReadv) }

// Write implements node.CallerMemory.
func (c *caller) Write(p []node.Piece) int { return c.move(p, unix.ProcessVMWritev) }

type processVM func(pid int, local []unix.Iovec, remote []unix.RemoteIovec, flags uint) (int, error)

// move moves pieces until one can't be, and returns the bytes of all.
func (c *caller) move(pieces []node.Piece, f processVM) (total int) {
	for len(pieces) > 0 {
		c.local, c.remote = c.local[:0], c.remote[:0]
		want, k := 0, 0
		for ; k < len(pieces) && len(c.local) < maxPieces; k++ {
			p := &pieces[k]
			n := len(p.Buf)
			if n == 0 {
				continue
			}
			v := unix.Iovec{Base: &p.Buf[0]}
			v.SetLen(n)
			c.local = append(c.local, v)
			c.remote = append(c.remote, unix.RemoteIovec{Base: uintptr(p.Addr), Len: n})
			want += n
		}
		if want > 0 {
			c.copies++
			n, err := f(c.tid, c.local, c.remote, 0)
			if err != nil {
				return total
			}
			total += n
			if n < want {
				return total
			}
		}
		pieces = pieces[k:]
	}
	return total
}

// process names a process: its id and when it started.
type process struct {
	tgid  string
	start string
}

// Process implements node.CallerMemory.
func (c *caller) Process() any {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.tid))
	if err != nil {
		return nil
	}
	_, rest, ok := bytes.Cut(status, []byte("\nTgid:\t"))
	tgid, _, ok2 := bytes.Cut(rest, []byte("\n"))
	if !ok || !ok2 {
		return nil
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%s/stat", tgid))
	if err != nil {
		return nil
	}
	// The command in parentheses may contain anything; starttime is the 20th
	// field behind it.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return nil
	}
	return process{string(tgid), string(fields[19])}
}
