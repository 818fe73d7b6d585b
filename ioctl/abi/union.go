package abi

import "fmt"

// Command is get_cmd as a handler gets it, with one alternative set: for
// reading and showing. EncodeSubcommand and DecodeSubcommand are the fast way.
type Command struct {
	CmdH    uint32  `json:"cmd_h"`   // the handle
	Subcode Subcode `json:"subcode"` // says which alternative is set

	Sess            *Sess            `json:"sess,omitempty"`               // ATTACH_SESS, DETACH_SESS
	Parse           *Parse           `json:"parse_cmd,omitempty"`          // PARSE
	AllocMem        *AllocMem        `json:"alloc_cmd,omitempty"`          // ALLOC_MEM
	Exec            *Exec            `json:"exec_cmd,omitempty"`           // EXEC
	OnFree          *OnFree          `json:"on_free_cmd,omitempty"`        // ON_FREE_CMD
	OnCachedMemFree *OnCachedMemFree `json:"on_cached_mem_free,omitempty"` // ON_CACHED_MEM_FREE
	TM              *TM              `json:"tm_cmd,omitempty"`             // TASK_MGMT_RECEIVED, TASK_MGMT_DONE
	Remap           *ExtCopyRemap    `json:"remap_cmd,omitempty"`          // EXT_COPY_REMAP
}

// Answer is reply_cmd with one alternative set: for reading and showing.
// DecodeReply and EncodeReply are the fast way.
type Answer struct {
	CmdH    uint32  `json:"cmd_h"`   // the handle
	Subcode Subcode `json:"subcode"` // says which alternative is set

	Result *int32         `json:"result,omitempty"`      // sessions, TM, ON_FREE_CMD, ON_CACHED_MEM_FREE
	Parse  *ParseReply    `json:"parse_reply,omitempty"` // PARSE
	Alloc  *AllocMemReply `json:"alloc_reply,omitempty"` // ALLOC_MEM
	Exec   *ExecReply     `json:"exec_reply,omitempty"`  // EXEC
	Remap  *RemapReply    `json:"remap_reply,omitempty"` // EXT_COPY_REMAP
}

// codec is what every structure is.
type codec interface {
	Encode([]byte) error
	Decode([]byte) error
}

// payload makes the alternative that the subcode says, nil for an unknown one.
func (c *Command) payload() codec {
	switch c.Subcode {
	case SubcodeAttachSess, SubcodeDetachSess:
		return fresh(&c.Sess)
	case SubcodeParse:
		return fresh(&c.Parse)
	case SubcodeAllocMem:
		return fresh(&c.AllocMem)
	case SubcodeExec:
		return fresh(&c.Exec)
	case SubcodeOnFreeCmd:
		return fresh(&c.OnFree)
	case SubcodeOnCachedMemFree:
		return fresh(&c.OnCachedMemFree)
	case SubcodeTMReceived, SubcodeTMDone:
		return fresh(&c.TM)
	case SubcodeExtCopyRemap:
		return fresh(&c.Remap)
	}
	return nil
}

// fresh allocates what p points to, if it is not there, and returns it.
func fresh[T any](p **T) *T {
	if *p == nil {
		*p = new(T)
	}
	return *p
}

// Decode reads c from get_cmd bytes, the subcommand's payload at least.
// ErrShort, ErrSubcode: as DecodeSubcommand; the header is decoded then, if
// there is one.
func (c *Command) Decode(b []byte) (err error) {
	*c = Command{}
	if c.CmdH, c.Subcode, err = header(b); err != nil {
		return err
	}
	p := c.payload()
	if p == nil {
		return fmt.Errorf("subcode %v: %w", c.Subcode, ErrSubcode)
	}
	return p.Decode(b[headerLen:])
}

// Encode writes c as get_cmd bytes, as long as its payload is (rule R4), and
// returns how many. An alternative that is not set is written as zeros.
func (c *Command) Encode(b []byte) (int, error) {
	n := c.Subcode.GetLen()
	if n == 0 {
		return 0, fmt.Errorf("subcode %v: %w", c.Subcode, ErrSubcode)
	}
	if len(b) < n {
		return 0, ErrShort
	}
	x := *c
	putHeader(b, c.CmdH, c.Subcode)
	return n, x.payload().Encode(b[headerLen:n])
}

// payload makes the alternative that the subcode says, nil if it is the result.
func (a *Answer) payload() codec {
	switch a.Subcode {
	case SubcodeParse:
		return fresh(&a.Parse)
	case SubcodeAllocMem:
		return fresh(&a.Alloc)
	case SubcodeExec:
		return fresh(&a.Exec)
	case SubcodeExtCopyRemap:
		return fresh(&a.Remap)
	}
	return nil
}

// Decode reads a from reply_cmd bytes. The only error is ErrShort: the reply
// to an unknown subcode is shown with its Result.
func (a *Answer) Decode(b []byte) (err error) {
	*a = Answer{}
	if len(b) < SizeReplyCmd {
		return ErrShort
	}
	if a.CmdH, a.Subcode, err = header(b); err != nil {
		return err
	}
	if p := a.payload(); p != nil {
		return p.Decode(b[headerLen:SizeReplyCmd])
	}
	result := le32(b[headerLen:])
	a.Result = &result
	return nil
}

// Encode writes a to the first SizeReplyCmd bytes of b. An alternative that is
// not set is written as zeros. The only error is ErrShort.
func (a *Answer) Encode(b []byte) error {
	if len(b) < SizeReplyCmd {
		return ErrShort
	}
	b = b[:SizeReplyCmd]
	clear(b)
	putHeader(b, a.CmdH, a.Subcode)
	x := *a
	if p := x.payload(); p != nil {
		return p.Encode(b[headerLen:])
	}
	if a.Result != nil {
		putLE32(b[headerLen:], *a.Result)
	}
	return nil
}
