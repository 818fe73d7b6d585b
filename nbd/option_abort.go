package nbd

// answerAbort acknowledges ABORT, whatever data came with it (row 5). The
// client may be gone already, and nobody minds if it is.
func (n *negotiator) answerAbort(id uint32, _ []byte) (bool, error) {
	n.reply(id, repAck)
	return false, errAborted
}
