package replay

import (
	"testing"

	"scstuser/scsi"
)

// Whether an initiator was told of POWER ON shows in what came before its first
// command that heeds unit attentions.
func TestTellsNobody(t *testing.T) {
	attach, other := &want{kind: wantAttach, sess: 1}, &want{kind: wantAttach, sess: 2}
	command := func(op scsi.Opcode, exec bool) *want {
		return &want{kind: wantCommand, sess: 1, cdb: []byte{byte(op), 0, 0, 0, 0, 0}, exec: exec}
	}
	read, inquiry, hidden := command(scsi.OpRead16, true), command(scsi.OpInquiry, true), &want{kind: wantHidden}
	for name, tc := range map[string]struct {
		order []*want
		want  bool
	}{
		"a command went through":            {[]*want{attach, read}, true},
		"another session's comes first":     {[]*want{attach, other, {kind: wantCommand, sess: 2, cdb: read.cdb}, read}, true},
		"INQUIRY says nothing":              {[]*want{attach, inquiry, read}, true},
		"a command ended before its EXEC":   {[]*want{attach, inquiry, command(scsi.OpRead16, false)}, false},
		"a handle is missing":               {[]*want{attach, inquiry, hidden, read}, false},
		"one is missing before the session": {[]*want{hidden, attach, read}, true},
		"no command heeds them":             {[]*want{attach, inquiry, {kind: wantDetach, sess: 1}, read}, false},
		"there is no command":               {[]*want{attach}, false},
	} {
		if got := (&devicePlan{order: tc.order}).tellsNobody(attach); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
