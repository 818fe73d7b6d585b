package nbd

import (
	"encoding/binary"
	"fmt"
)

// exportNamePadding is the number of zero bytes that end the reply to
// EXPORT_NAME, unless NO_ZEROES was agreed on.
const exportNamePadding = 124

// answerExportName answers EXPORT_NAME, the only option of clients that don't
// speak fixed newstyle. It has no error reply: what can't be served ends the
// connection (row 2).
func (n *negotiator) answerExportName(_ uint32, data []byte) (bool, error) {
	name := string(data)
	if err := validateString(name); err != nil {
		return false, fmt.Errorf("%w: name %s %w", errRefused, abbreviate(name), err)
	}
	ref, ok := n.tbl.lookup(name)
	if !ok {
		return false, fmt.Errorf("%w: no export is called %s", errRefused, abbreviate(name))
	}
	if n.out.mode == modeExtended {
		return false, protocolErrorf("EXPORT_NAME after extended headers were agreed on, which need GO")
	}
	info, err := n.offer(name, ref)
	if err != nil {
		return false, fmt.Errorf("%w: %w", errRefused, err)
	}

	b := n.scratch[:0]
	b = binary.BigEndian.AppendUint64(b, info.Size)
	b = binary.BigEndian.AppendUint16(b, info.Flags)
	n.w.Write(b)
	if !n.out.noZeroes {
		var zeroes [exportNamePadding]byte
		n.w.Write(zeroes[:])
	}
	n.out.export, n.out.info, n.out.name = ref, info, name
	return true, nil
}
