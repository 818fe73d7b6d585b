package scsi

import "encoding/binary"

// Reporting options of REPORT SUPPORTED OPERATION CODES (SPC-4, 6.35).
const (
	ReportAll       = 0 // all commands
	ReportOne       = 1 // one that has no service actions
	ReportOneSA     = 2 // one that has service actions
	ReportOneEither = 3 // one, whose service action counts if it has any
)

// SUPPORT values of REPORT SUPPORTED OPERATION CODES data.
const (
	supportNone     = 1
	supportStandard = 3
)

// CommandID names one command: an operation code, and the service action if
// the code has those.
type CommandID struct {
	Op Opcode
	SA uint16
}

// HasServiceActions says whether the byte 1 of op's CDB has a service action
// that tells commands apart. (PERSISTENT RESERVE IN and OUT have them too, but
// are taken as one command each here.)
func HasServiceActions(op Opcode) bool { return rows[op].actions != nil }

// lookup returns the row of id, nil if the table has none.
func (id CommandID) lookup() *row {
	r := &rows[id.Op]
	if r.name == "" {
		return nil
	}
	if r.actions == nil {
		return r
	}
	if id.SA > 0x1F {
		return nil
	}
	r, err := r.action(uint8(id.SA))
	if err != nil {
		return nil
	}
	return r
}

// Known says whether the table describes the command.
func (id CommandID) Known() bool { return id.lookup() != nil }

// String returns the standard's name.
func (id CommandID) String() string {
	if r := id.lookup(); r != nil {
		return r.name
	}
	return id.Op.String()
}

// AppendCDBUsage appends the CDB usage data of a command (SPC-4, 6.35.3): the
// operation code, the service action in its place, and a one for each bit of
// the other fields that Decode looks at. An unknown command appends nothing.
func AppendCDBUsage(dst []byte, id CommandID) []byte {
	r := id.lookup()
	if r == nil {
		return dst
	}
	var b [16]byte
	b[0] = byte(id.Op)
	for _, f := range r.fields {
		if f.id == fServiceAction && HasServiceActions(id.Op) {
			f.put(b[:], uint64(id.SA))
			continue
		}
		f.put(b[:], ^uint64(0))
	}
	return append(dst, b[:CDBLen(id.Op)]...)
}

const timeoutsLen = 12

// appendTimeouts appends a command timeouts descriptor (SPC-4, 6.35.4): no
// nominal time is told, and the standard parser's timeout is recommended.
func (r *row) appendTimeouts(dst []byte) []byte {
	var b [timeoutsLen]byte
	binary.BigEndian.PutUint16(b[0:], timeoutsLen-2)
	binary.BigEndian.PutUint32(b[8:], uint32(r.timeout))
	return append(dst, b[:]...)
}

// AppendSupportedCommands appends the data of ReportAll for the commands; with
// rctd each has its timeouts. Unknown commands are left out.
func AppendSupportedCommands(dst []byte, rctd bool, ids ...CommandID) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	for _, id := range ids {
		r := id.lookup()
		if r == nil {
			continue
		}
		var d [8]byte
		d[0] = byte(id.Op)
		if HasServiceActions(id.Op) {
			binary.BigEndian.PutUint16(d[2:], id.SA)
			d[5] |= 1 // SERVACTV
		}
		if rctd {
			d[5] |= 2 // CTDP
		}
		binary.BigEndian.PutUint16(d[6:], uint16(CDBLen(id.Op)))
		dst = append(dst, d[:]...)
		if rctd {
			dst = r.appendTimeouts(dst)
		}
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

// AppendSupportedCommand appends the data of ReportOne and its kin for a
// command that is supported.
func AppendSupportedCommand(dst []byte, rctd bool, id CommandID) []byte {
	r := id.lookup()
	if r == nil {
		return AppendUnsupportedCommand(dst)
	}
	dst = append(dst, 0, byte(supportStandard|bit(rctd)<<7))
	dst = binary.BigEndian.AppendUint16(dst, uint16(CDBLen(id.Op)))
	dst = AppendCDBUsage(dst, id)
	if rctd {
		dst = r.appendTimeouts(dst)
	}
	return dst
}

// AppendUnsupportedCommand appends the data of ReportOne and its kin for a
// command that is not supported.
func AppendUnsupportedCommand(dst []byte) []byte {
	return append(dst, 0, supportNone, 0, 0)
}

// ParseSupport reads the data of ReportOne and its kin: whether the command is
// supported as a standard describes it.
func ParseSupport(b []byte) (bool, error) {
	if len(b) < 4 {
		return false, ErrShortData
	}
	return b[1]&7 == supportStandard, nil
}
