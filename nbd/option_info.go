package nbd

import (
	"encoding/binary"
	"fmt"
)

// answerInfo answers INFO and GO, which differ only in that a GO which
// succeeds begins transmission (row 7).
//
// NBD_REP_ERR_BLOCK_SIZE_REQD is never sent, even where an export's size
// constraints are not the default ones. A client that did not ask for them is
// not turned away, and what it asks of parts of blocks is done (unaligned.go); a
// client that did ask has promised to keep to them, and gets EINVAL if it does
// not (row 8).
func (n *negotiator) answerInfo(id uint32, data []byte) (bool, error) {
	req, err := parseInfoRequest(data)
	if err != nil {
		n.replyError(id, repErrInvalid, "%s: %v", specOf(id).name, err)
		return false, nil
	}
	ref, ok := n.tbl.lookup(req.name)
	if !ok {
		n.replyError(id, repErrUnknown, "no export is called %s", abbreviate(req.name))
		return false, nil
	}
	info, err := n.offer(req.name, ref)
	if err != nil {
		n.replyError(id, repErrUnknown, "export %s is not available at the moment", abbreviate(req.name))
		return false, nil
	}

	n.replyInfoExport(id, info)
	if req.wantName {
		n.replyInfoString(id, infoName, info.Name)
	}
	if req.wantDescription && info.Description != "" {
		n.replyInfoString(id, infoDescription, info.Description)
	}
	if req.wantBlockSize {
		n.replyInfoBlockSize(id, info)
	}
	n.reply(id, repAck)
	if id != optGo {
		return false, nil
	}
	n.out.export, n.out.info, n.out.name = ref, info, req.name
	n.out.viaGo, n.out.blockSizesAsked = true, req.wantBlockSize
	return true, nil
}

// offer asks an export what it is now, and makes of that what may be said to
// this client, which knows it by name.
func (n *negotiator) offer(name string, ref exportRef) (ExportInfo, error) {
	info, err := ref.info()
	if err != nil {
		return ExportInfo{}, err
	}
	if err := info.Validate(); err != nil {
		return ExportInfo{}, err
	}
	info.Flags |= flagHasFlags
	// These are not to be set unless what they depend on is negotiated.
	info.Flags &^= flagSendDF | flagBlockStatusPayload
	if n.out.mode != modeSimple {
		info.Flags |= flagSendDF
	}
	if m := n.out.meta; n.out.mode == modeExtended && m.allocation && m.export == name {
		info.Flags |= flagBlockStatusPayload
	}
	return info, nil
}

// infoRequest is the data of INFO and GO.
type infoRequest struct {
	name string
	// What was asked for besides NBD_INFO_EXPORT, which is always sent.
	wantName, wantDescription, wantBlockSize bool
}

// parseInfoRequest decodes the data of INFO and GO. All lengths in it have to
// add up exactly. Requests for information that we don't know are ignored, and
// one that is repeated counts once.
func parseInfoRequest(data []byte) (infoRequest, error) {
	const fixed = 4 + 2 // the length of the name and the number of requests
	if len(data) < fixed {
		return infoRequest{}, fmt.Errorf("%d bytes of data; at least %d are needed", len(data), fixed)
	}
	nameLength := binary.BigEndian.Uint32(data)
	if uint64(nameLength) > uint64(len(data)-fixed) {
		return infoRequest{}, fmt.Errorf("an export name of %d bytes does not fit into %d bytes of data", nameLength, len(data))
	}
	req := infoRequest{name: string(data[4 : 4+nameLength])}
	if err := validateString(req.name); err != nil {
		return infoRequest{}, fmt.Errorf("export name %w", err)
	}
	data = data[4+nameLength:]
	count, requests := int(binary.BigEndian.Uint16(data)), data[2:]
	if len(requests) != 2*count {
		return infoRequest{}, fmt.Errorf("%d information requests in %d bytes", count, len(requests))
	}
	for ; len(requests) > 0; requests = requests[2:] {
		switch binary.BigEndian.Uint16(requests) {
		case infoName:
			req.wantName = true
		case infoDescription:
			req.wantDescription = true
		case infoBlockSize:
			req.wantBlockSize = true
		}
	}
	return req, nil
}

// replyInfoExport buffers NBD_INFO_EXPORT, 12 bytes.
func (n *negotiator) replyInfoExport(id uint32, info ExportInfo) {
	b := make([]byte, 0, 12)
	b = binary.BigEndian.AppendUint16(b, infoExport)
	b = binary.BigEndian.AppendUint64(b, info.Size)
	b = binary.BigEndian.AppendUint16(b, info.Flags)
	n.reply(id, repInfo, b)
}

// replyInfoBlockSize buffers NBD_INFO_BLOCK_SIZE, 14 bytes.
func (n *negotiator) replyInfoBlockSize(id uint32, info ExportInfo) {
	b := make([]byte, 0, 14)
	b = binary.BigEndian.AppendUint16(b, infoBlockSize)
	b = binary.BigEndian.AppendUint32(b, info.MinBlock)
	b = binary.BigEndian.AppendUint32(b, info.PreferredBlock)
	b = binary.BigEndian.AppendUint32(b, info.MaxBlock)
	n.reply(id, repInfo, b)
}

// replyInfoString buffers an information type that is a string.
func (n *negotiator) replyInfoString(id uint32, typ uint16, s string) {
	n.reply(id, repInfo, binary.BigEndian.AppendUint16(nil, typ), []byte(s))
}
