package nbd

import (
	"encoding/binary"
	"fmt"
	"io"
)

// option is one option as the client announced it. Its data is still unread.
type option struct {
	id     uint32
	length uint32 // of the data, in bytes
}

// dataUse is what an option's answer has to do with its data.
type dataUse uint8

const (
	dataForbidden dataUse = iota // any data makes the option invalid (row 4)
	dataIgnored                  // the answer is the same whatever it is
	dataUsed                     // the answer depends on it
)

// optionSpec says how an option is answered.
type optionSpec struct {
	name string // as in proto.md, for messages
	data dataUse
	// answer buffers the replies. It reports done when transmission begins,
	// and an error when the connection has to end. data is only given for
	// dataUsed, and valid only during the call.
	answer func(n *negotiator, id uint32, data []byte) (done bool, err error)
}

// specOf is the table of all options. It is a function only because answers
// name options in their messages, which a variable would make circular.
func specOf(id uint32) optionSpec {
	switch id {
	case optExportName:
		return optionSpec{"EXPORT_NAME", dataUsed, (*negotiator).answerExportName}
	case optAbort:
		return optionSpec{"ABORT", dataIgnored, (*negotiator).answerAbort}
	case optList:
		return optionSpec{"LIST", dataForbidden, (*negotiator).answerList}
	case optStartTLS:
		return optionSpec{"STARTTLS", dataForbidden, (*negotiator).answerStartTLS}
	case optInfo:
		return optionSpec{"INFO", dataUsed, (*negotiator).answerInfo}
	case optGo:
		return optionSpec{"GO", dataUsed, (*negotiator).answerInfo}
	case optStructuredReply:
		return optionSpec{"STRUCTURED_REPLY", dataForbidden, (*negotiator).answerStructuredReply}
	case optListMetaContext:
		return optionSpec{"LIST_META_CONTEXT", dataUsed, (*negotiator).answerMetaContext}
	case optSetMetaContext:
		return optionSpec{"SET_META_CONTEXT", dataUsed, (*negotiator).answerMetaContext}
	case optExtendedHeaders:
		return optionSpec{"EXTENDED_HEADERS", dataForbidden, (*negotiator).answerExtendedHeaders}
	}
	return optionSpec{fmt.Sprintf("option %d", id), dataIgnored, (*negotiator).answerUnsupported}
}

// optionHeaderSize is the size of an option without its data, in bytes.
const optionHeaderSize = 16

// readOption reads the header of the next option and charges the option, its
// data included, to the client's limits.
func (n *negotiator) readOption() (option, error) {
	b := n.scratch[:optionHeaderSize]
	if _, err := io.ReadFull(n.conn, b); err != nil {
		return option{}, err
	}
	if magic := binary.BigEndian.Uint64(b); magic != magicOption {
		return option{}, protocolErrorf("%#016x where an option has to begin", magic)
	}
	opt := option{id: binary.BigEndian.Uint32(b[8:]), length: binary.BigEndian.Uint32(b[12:])}

	if n.options++; n.options > n.lim.MaxOptions {
		return option{}, protocolErrorf("more than %d options", n.lim.MaxOptions)
	}
	cost := optionHeaderSize + uint64(opt.length)
	if cost > n.bytesLeft {
		return option{}, protocolErrorf("%s with %d bytes of data goes past the limit of %d bytes for all options",
			specOf(opt.id).name, opt.length, n.lim.MaxNegotiationBytes)
	}
	n.bytesLeft -= cost
	return opt, nil
}

// answer consumes the option's data, which has to happen even for an option
// that is refused (row 3), and buffers the replies to it.
func (n *negotiator) answer(opt option) (done bool, err error) {
	spec := specOf(opt.id)
	if !n.fixed && opt.id != optExportName {
		return false, protocolErrorf("%s from a client that did not set FIXED_NEWSTYLE", spec.name)
	}
	data, err := n.takeData(opt, spec)
	if err != nil {
		return false, err
	}

	if opt.id == optSetMetaContext {
		n.out.meta = metaContexts{} // it forgets even what is refused here (row 10)
	}
	switch {
	case opt.id != optAbort && n.tbl.shuttingDown():
		if opt.id != optExportName {
			n.replyError(opt.id, repErrShutdown, "the server is shutting down")
		}
		return false, errShuttingDown
	case n.tlsMissing(opt.id):
		return n.refuseInsecure(opt.id)
	case spec.data == dataForbidden && opt.length > 0:
		n.replyError(opt.id, repErrInvalid, "%s takes no data; %d bytes came with it", spec.name, opt.length)
		return false, nil
	case spec.data == dataUsed && opt.length > n.lim.MaxOptionBytes:
		if opt.id == optExportName {
			return false, fmt.Errorf("%w: a name of %d bytes", errRefused, opt.length)
		}
		n.replyError(opt.id, repErrTooBig, "%s with %d bytes of data; at most %d are read", spec.name, opt.length, n.lim.MaxOptionBytes)
		return false, nil
	}
	return spec.answer(n, opt.id, data)
}

// takeData reads the option's data if its answer needs them and they are not
// too long, and skips them otherwise.
func (n *negotiator) takeData(opt option, spec optionSpec) ([]byte, error) {
	if spec.data != dataUsed || opt.length > n.lim.MaxOptionBytes {
		return nil, n.skip(opt.length)
	}
	if uint64(cap(n.data)) < uint64(opt.length) {
		n.data = make([]byte, opt.length)
	}
	data := n.data[:opt.length]
	_, err := io.ReadFull(n.conn, data)
	return data, err
}

// skip reads and forgets length bytes.
func (n *negotiator) skip(length uint32) error {
	for left := length; left > 0; {
		b := n.scratch[:min(left, uint32(len(n.scratch)))]
		if _, err := io.ReadFull(n.conn, b); err != nil {
			return err
		}
		left -= uint32(len(b))
	}
	return nil
}

// reply buffers one reply to option id: the header and data, in pieces. What
// goes wrong comes out of the flush.
func (n *negotiator) reply(id, typ uint32, data ...[]byte) {
	length := 0
	for _, d := range data {
		length += len(d)
	}
	b := n.scratch[:0]
	b = binary.BigEndian.AppendUint64(b, magicOptionReply)
	b = binary.BigEndian.AppendUint32(b, id)
	b = binary.BigEndian.AppendUint32(b, typ)
	b = binary.BigEndian.AppendUint32(b, uint32(length))
	n.w.Write(b)
	for _, d := range data {
		n.w.Write(d)
	}
}

// replyError buffers an error reply with a message for people. A name in it
// has to go through abbreviate, which keeps the message a protocol string of
// less than maxString bytes.
func (n *negotiator) replyError(id, typ uint32, format string, args ...any) {
	n.reply(id, typ, fmt.Appendf(nil, format, args...))
}
