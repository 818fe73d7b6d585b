package ucmd

import (
	"fmt"
	"testing"

	"scstuser/scsi"
)

// HEAD OF QUEUE is implied for SIMPLE commands alone; an untagged one is SIMPLE
// for the handler, whatever it is.
func TestFact22ImpliedHeadOfQueue(t *testing.T) {
	inquiry, read := scsi.EncodeInquiry(false, 0, 36), scsi.EncodeRead16(0, 8, false)
	for _, tc := range []struct {
		cdb        scsi.CDB
		sent, want scsi.QueueType
	}{
		{inquiry, scsi.QueueSimple, scsi.QueueHeadOfQueue}, {inquiry, scsi.QueueUntagged, scsi.QueueSimple},
		{inquiry, scsi.QueueOrdered, scsi.QueueOrdered}, {inquiry, scsi.QueueHeadOfQueue, scsi.QueueHeadOfQueue},
		{read, scsi.QueueSimple, scsi.QueueSimple}, {read, scsi.QueueUntagged, scsi.QueueSimple}, {read, scsi.QueueOrdered, scsi.QueueOrdered},
	} {
		for _, parse := range []ParseType{ParseStandard, ParseCall} {
			t.Run(fmt.Sprintf("%v %v, parse %d", scsi.Opcode(tc.cdb.Bytes[0]), tc.sent, parse), func(t *testing.T) {
				b := newBench(t, withParse(parse))
				defer b.close()
				b.submitTo(b.sess, tc.cdb, tc.sent)
				code := SubExec
				if parse == ParseCall {
					code = SubParse
				}
				s := b.get(code)
				if s.QueueType != tc.want {
					t.Errorf("queue type %v, want %v", s.QueueType, tc.want)
				}
				b.dev.Release()
			})
		}
	}
}
