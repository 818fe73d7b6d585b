package replay

import "scstuser/scsi"

// attribute is the task attribute that the initiator gave its command. What the
// handler sees is another one where HEAD OF QUEUE is implied: a command of that
// kind which arrived as SIMPLE had none (fact 22).
func (w *want) attribute() scsi.QueueType {
	if w.queue == scsi.QueueSimple && impliesHeadOfQueue(w.cdb) {
		return scsi.QueueUntagged
	}
	return w.queue
}

// impliesHeadOfQueue says whether the standard parser makes a SIMPLE command of
// this kind HEAD OF QUEUE.
func impliesHeadOfQueue(cdb []byte) bool {
	t, err := scsi.ParseSBC(cdb, 512) // any block size
	return err == nil && t.HeadOfQueue
}
