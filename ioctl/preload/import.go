package preload

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"scstuser/ioctl/abi"
	"scstuser/ioctl/trace"
)

// line is an event as the library writes it.
type line struct {
	Ev       string      `json:"ev"`
	Time     int64       `json:"t_ns"`
	PID      int         `json:"pid"`
	TID      int         `json:"tid"`
	Opener   int         `json:"opener"` // process that opened the file
	Number   int         `json:"number"` // of the file in that process
	FD       int         `json:"fd"`
	NonBlock bool        `json:"nonblock"`
	Op       string      `json:"op"`
	ID       uint64      `json:"id"` // of the call in its process
	Ret      int64       `json:"ret"`
	Errno    trace.Errno `json:"errno"`
	In       *struct {
		Raw     trace.Hex `json:"raw"`
		Version string    `json:"version_str"`
		License string    `json:"license_str"`
		Replies []struct {
			Raw       trace.Hex `json:"raw"`
			Sense     trace.Hex `json:"sense"`
			WriteSame trace.Hex `json:"ws_descriptors"`
			RemapList trace.Hex `json:"remap_descriptors"`
			Data      trace.Hex `json:"data"`
		} `json:"replies"`
	} `json:"in"`
	Out *struct {
		Raw  trace.Hex `json:"raw"`
		Cmds []struct {
			Raw  trace.Hex `json:"raw"`
			Data trace.Hex `json:"data"`
		} `json:"cmds"`
	} `json:"out"`
}

// importer makes one trace of the lines of a program and its children.
type importer struct {
	w     *trace.Writer
	files map[[2]int]*file
	calls map[callKey]uint64 // not returned: Seq of enter
	last  int64              // time of the last event
	n     int
}

type callKey struct {
	pid int
	id  uint64
}

// file is one open file description.
type file struct {
	id       int
	fds      map[[2]int]bool // process and descriptor
	shared   bool            // another process than the opener has used it
	released bool
}

// Import writes the events that the library's lines are, and returns how many.
// A last line that is not whole is left out: its process was killed. Errors
// name the line; what is before it is written.
func Import(in io.Reader, w *trace.Writer) (int, error) {
	x := &importer{w: w, files: map[[2]int]*file{}, calls: map[callKey]uint64{}}
	r := bufio.NewReaderSize(in, 64<<10)
	for n := 1; ; n++ {
		text, err := readLine(r)
		if err == io.EOF {
			return x.n, x.end()
		}
		if err == nil {
			var l line
			if err = json.Unmarshal(text, &l); err == nil {
				err = x.line(&l)
			}
		}
		if err != nil {
			return x.n, fmt.Errorf("line %d of the recording library: %w", n, err)
		}
	}
}

// readLine reads a whole line.
func readLine(r *bufio.Reader) ([]byte, error) {
	var whole []byte
	for {
		part, err := r.ReadSlice('\n')
		whole = append(whole, part...)
		switch {
		case err == nil:
			return whole, nil
		case err != bufio.ErrBufferFull:
			return nil, err
		case len(whole) > trace.MaxLine:
			return nil, errors.New("it is too long")
		}
	}
}

func (x *importer) line(l *line) error {
	f := x.file(l)
	x.last = l.Time
	e := &trace.Event{Time: l.Time, PID: l.PID, TID: l.TID, File: f.id}
	switch l.Ev {
	case "open":
		f.fds[[2]int{l.PID, l.FD}] = true
		e.Kind, e.NonBlock = trace.KindOpen, l.NonBlock
	case "dup":
		f.fds[[2]int{l.PID, l.FD}] = true
		return nil
	case "close":
		delete(f.fds, [2]int{l.PID, l.FD})
		e.Kind = trace.KindClose
		if err := x.write(e); err != nil || len(f.fds) > 0 || f.shared {
			return err
		}
		return x.release(f, l.PID, l.TID)
	case "enter":
		e.Kind = trace.KindEnter
		if err := l.in(e); err != nil {
			return err
		}
		if err := x.write(e); err != nil {
			return err
		}
		x.calls[callKey{l.PID, l.ID}] = e.Seq
		return nil
	case "exit":
		k := callKey{l.PID, l.ID}
		call, ok := x.calls[k]
		if !ok {
			return fmt.Errorf("exit of call %d, which was not entered", l.ID)
		}
		delete(x.calls, k)
		e.Kind, e.Call, e.Ret, e.Errno = trace.KindExit, call, l.Ret, l.Errno
		if err := l.out(e); err != nil {
			return err
		}
	default:
		return fmt.Errorf("unknown kind %q", l.Ev)
	}
	return x.write(e)
}

// file finds or makes the file that an event is of.
func (x *importer) file(l *line) *file {
	k := [2]int{l.Opener, l.Number}
	f := x.files[k]
	if f == nil {
		f = &file{id: len(x.files) + 1, fds: map[[2]int]bool{}}
		x.files[k] = f
	}
	if l.PID != l.Opener {
		f.shared = true // by fork: who else has it is not known
	}
	return f
}

func (x *importer) write(e *trace.Event) error {
	_, err := x.w.Write(e)
	if err == nil {
		x.n++
	}
	return err
}

func (x *importer) release(f *file, pid, tid int) error {
	if f.released {
		return nil
	}
	f.released = true
	return x.write(&trace.Event{Kind: trace.KindRelease, Time: x.last, PID: pid, TID: tid, File: f.id})
}

// end releases what the end of the processes has closed.
func (x *importer) end() error {
	left := make([]*file, 0, len(x.files))
	for _, f := range x.files {
		left = append(left, f)
	}
	slices.SortFunc(left, func(a, b *file) int { return a.id - b.id })
	for _, f := range left {
		if err := x.release(f, 0, 0); err != nil {
			return err
		}
	}
	return nil
}

// op is the ioctl of a call and its name in a trace; poll has no number.
func (l *line) op() (abi.Ioctl, string, error) {
	var op abi.Ioctl
	if l.Op == trace.OpPoll {
		return 0, l.Op, nil
	}
	if err := op.UnmarshalText([]byte(l.Op)); err != nil {
		return 0, "", err
	}
	return op, op.String(), nil
}

// in decodes what went in.
func (l *line) in(e *trace.Event) error {
	op, name, err := l.op()
	if err != nil {
		return err
	}
	e.Op = name
	if l.In == nil {
		return nil
	}
	raw := l.In.Raw
	if op == abi.IoctlReplyAndGetCmd {
		raw = raw[:min(len(raw), 16)] // the rest is room for what comes out
	}
	in, err := trace.ArgIn(op, raw)
	if in == nil || err != nil {
		return err
	}
	in.Version, in.License = l.In.Version, l.In.License
	if len(l.In.Replies) > 0 {
		in.Replies = nil // what ArgIn made has less
	}
	for _, old := range l.In.Replies {
		r, err := trace.NewReply(old.Raw)
		if err != nil {
			return err
		}
		if op == abi.IoctlReplyCmd {
			r.Raw = nil // is the argument's
		}
		r.Sense, r.WriteSame, r.RemapList, r.Data = old.Sense, old.WriteSame, old.RemapList, old.Data
		in.Replies = append(in.Replies, r)
	}
	e.In = in
	return nil
}

// out decodes what came out.
func (l *line) out(e *trace.Event) error {
	op, name, err := l.op()
	if err != nil {
		return err
	}
	e.Op = name
	if l.Out == nil {
		return nil
	}
	out, err := trace.ArgOut(op, l.Out.Raw)
	if out == nil || err != nil {
		return err
	}
	for _, old := range l.Out.Cmds {
		c, err := trace.NewCmd(old.Raw)
		if err != nil && !errors.Is(err, abi.ErrSubcode) { // a newer module's
			return err
		}
		c.Data = old.Data
		out.Cmds = append(out.Cmds, c)
	}
	e.Out = out
	return nil
}
