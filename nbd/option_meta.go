package nbd

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// allocationContext is the one metadata context there is.
const allocationContext = "base:allocation"

// metaContexts is what SET_META_CONTEXT has selected. It belongs to the name
// under which the client selected it (row 10).
type metaContexts struct {
	export     string
	allocation bool
}

// allocation says whether the client may ask for base:allocation of the export
// that it has chosen.
func (n *negotiated) allocation() bool { return n.meta.allocation && n.meta.export == n.name }

// answerMetaContext answers LIST_META_CONTEXT and SET_META_CONTEXT (row 10). What
// was selected before a SET is forgotten already.
func (n *negotiator) answerMetaContext(id uint32, data []byte) (bool, error) {
	set := id == optSetMetaContext
	if n.out.mode == modeSimple {
		n.replyError(id, repErrInvalid, "%s needs structured replies or extended headers", specOf(id).name)
		return false, nil
	}
	export, queries, err := parseMetaRequest(data)
	if err != nil {
		n.replyError(id, repErrInvalid, "%s: %v", specOf(id).name, err)
		return false, nil
	}
	if _, ok := n.tbl.lookup(export); !ok {
		n.replyError(id, repErrUnknown, "no export is called %s", abbreviate(export))
		return false, nil
	}
	if selects(queries, set) {
		var context [4]byte // reserved in the answer to LIST
		if set {
			n.out.meta = metaContexts{export, true}
			binary.BigEndian.PutUint32(context[:], allocationID)
		}
		n.reply(id, repMetaContext, context[:], []byte(allocationContext))
	}
	n.reply(id, repAck)
	return false, nil
}

// selects says whether any of the queries means base:allocation. No query at all
// means everything to LIST and nothing to SET; the namespace alone is a wildcard
// to LIST, and to SET no context. What belongs to other namespaces is ignored.
func selects(queries []string, set bool) bool {
	if len(queries) == 0 {
		return !set
	}
	for _, q := range queries {
		if q == allocationContext || !set && q == "base:" {
			return true
		}
	}
	return false
}

// parseMetaRequest decodes the data of LIST_META_CONTEXT and SET_META_CONTEXT. All
// lengths in it have to add up exactly, and a query has to name its namespace.
func parseMetaRequest(data []byte) (export string, queries []string, err error) {
	export, data, err = takeString(data, "export name")
	if err != nil {
		return "", nil, err
	}
	if len(data) < 4 {
		return "", nil, fmt.Errorf("%d bytes are too few for the number of queries", len(data))
	}
	count := binary.BigEndian.Uint32(data)
	data = data[4:]
	if uint64(count) > uint64(len(data)/4) {
		return "", nil, fmt.Errorf("%d queries in %d bytes", count, len(data))
	}
	for range count {
		var q string
		if q, data, err = takeString(data, "query"); err != nil {
			return "", nil, err
		}
		if !strings.Contains(q, ":") {
			return "", nil, fmt.Errorf("query %s does not say which namespace it means", abbreviate(q))
		}
		queries = append(queries, q)
	}
	if len(data) > 0 {
		return "", nil, fmt.Errorf("%d bytes behind the last query", len(data))
	}
	return export, queries, nil
}

// takeString takes a string behind its length, 32 bits, from the front of data.
func takeString(data []byte, what string) (s string, rest []byte, err error) {
	if len(data) < 4 {
		return "", nil, fmt.Errorf("%d bytes are too few for the length of the %s", len(data), what)
	}
	n := binary.BigEndian.Uint32(data)
	data = data[4:]
	if uint64(n) > uint64(len(data)) {
		return "", nil, fmt.Errorf("%s of %d bytes where %d are left", what, n, len(data))
	}
	s = string(data[:n])
	if err := validateString(s); err != nil {
		return "", nil, fmt.Errorf("%s %w", what, err)
	}
	return s, data[n:], nil
}
