package trace

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"scstuser/ioctl/abi"
)

// Converted counts what Convert has done.
type Converted struct {
	Events    int  // written
	Truncated bool // the recording ended in the middle of a line, which was left out
}

// oldEvent is a line of the older format: structures as bytes with decoded
// copies beside them, of which only the bytes are used here.
type oldEvent struct {
	Ev    string `json:"ev"`
	Seq   uint64 `json:"seq"`
	Time  int64  `json:"t_ns"`
	TID   int    `json:"tid"`
	FD    int    `json:"fd"`
	Cmd   string `json:"cmd"`
	CmdNr string `json:"cmd_nr"`
	Call  uint64 `json:"call"`
	Ret   int64  `json:"ret"`
	Errno int32  `json:"errno"`
	Text  string `json:"text"`
	In    *struct {
		Hex     Hex        `json:"hex"`
		Version string     `json:"version_str"`
		License string     `json:"license_str"`
		Replies []oldReply `json:"replies"`
	} `json:"in"`
	Out *struct {
		Hex  Hex      `json:"hex"`
		CmdH *uint32  `json:"cmd_h"` // PREALLOC_BUFFER
		Cmds []oldCmd `json:"cmds"`
	} `json:"out"`
}

type oldReply struct {
	Hex       Hex `json:"hex"`
	Sense     Hex `json:"sense"`
	WriteSame Hex `json:"ws_desc"`
	Data      Hex `json:"resp_data"`
}

type oldCmd struct {
	Hex  Hex `json:"hex"`
	Data Hex `json:"pbuf_data16"`
}

// Convert reads a recording in the older format, compressed or not, and writes
// its events. Sequence numbers are new ones; marks get one too. Times, threads
// and descriptors stay. Errors name the line; events before it are written.
func Convert(in io.Reader, w *Writer) (c Converted, err error) {
	l, done, err := newLines(in)
	if err != nil {
		return c, err
	}
	defer done()
	calls := map[uint64]uint64{} // of calls that have not returned: new by old number
	for {
		line, err := l.next()
		if err == io.EOF {
			c.Truncated = l.truncated
			return c, nil
		}
		if err != nil {
			return c, err
		}
		var old oldEvent
		if err := json.Unmarshal(line, &old); err != nil {
			return c, fmt.Errorf("convert: line %d: %w: %w", l.n, ErrLine, err)
		}
		e, err := old.event(calls)
		if err != nil {
			return c, fmt.Errorf("convert: line %d: %w: %w", l.n, ErrLine, err)
		}
		if e == nil {
			continue
		}
		seq, err := w.Write(e)
		if err != nil {
			return c, err
		}
		if e.Kind == KindEnter {
			calls[old.Seq] = seq
		}
		c.Events++
	}
}

// event makes a new event of an old one, nil for the end of a close, which was
// recorded like a call.
func (o *oldEvent) event(calls map[uint64]uint64) (*Event, error) {
	e := &Event{Time: o.Time, TID: o.TID, File: o.FD}
	if o.Ev == "mark" {
		e.Kind, e.Text = KindMark, o.Text
		return e, nil
	}
	var op abi.Ioctl
	switch o.Cmd {
	case "poll":
		e.Op = OpPoll
	case "close":
		if o.Ev != "enter" {
			return nil, nil
		}
		e.Kind = KindClose
		return e, nil
	default:
		n, err := strconv.ParseUint(o.CmdNr, 0, 32)
		if err != nil {
			return nil, fmt.Errorf("cmd_nr %q is not a number", o.CmdNr)
		}
		op = abi.Ioctl(n)
		e.Op = op.String()
	}
	var err error
	switch o.Ev {
	case "enter":
		e.Kind = KindEnter
		e.In, err = o.in(op)
	case "exit":
		e.Kind, e.Ret, e.Errno = KindExit, o.Ret, Errno(max(o.Errno, 0))
		var ok bool
		if e.Call, ok = calls[o.Call]; !ok {
			return nil, fmt.Errorf("exit of call %d, which was not entered or has returned", o.Call)
		}
		delete(calls, o.Call)
		e.Out, err = o.out(op)
	default:
		return nil, fmt.Errorf("unknown kind %q", o.Ev)
	}
	return e, err
}

func (o *oldEvent) in(op abi.Ioctl) (*In, error) {
	if o.In == nil {
		return nil, nil
	}
	in, err := ArgIn(op, o.In.Hex)
	if in == nil || err != nil {
		return nil, err
	}
	in.Version, in.License = o.In.Version, o.In.License
	if op == abi.IoctlReplyCmd && len(o.In.Replies) == 1 {
		in.Replies = nil // the recorded one has more
	}
	for _, old := range o.In.Replies {
		r, err := NewReply(old.Hex)
		if err != nil {
			return nil, fmt.Errorf("reply: %w", err)
		}
		r.Sense, r.WriteSame, r.Data = clone(old.Sense), clone(old.WriteSame), clone(old.Data)
		in.Replies = append(in.Replies, r)
	}
	return in, nil
}

func (o *oldEvent) out(op abi.Ioctl) (*Out, error) {
	if o.Out == nil {
		return nil, nil
	}
	if o.Out.CmdH != nil { // recorded without bytes
		return &Out{Prealloc: &abi.PreallocOut{CmdH: *o.Out.CmdH}}, nil
	}
	out, err := ArgOut(op, o.Out.Hex)
	if out == nil || err != nil {
		return nil, err
	}
	for _, old := range o.Out.Cmds {
		c, err := NewCmd(old.Hex)
		if err != nil {
			return nil, fmt.Errorf("subcommand: %w", err)
		}
		c.Data = clone(old.Data)
		out.Cmds = append(out.Cmds, c)
	}
	return out, nil
}
