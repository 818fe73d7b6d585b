package nbd

// answerUnsupported answers an option that we don't know, or know and don't
// do (row 3). Haggling goes on.
func (n *negotiator) answerUnsupported(id uint32, _ []byte) (bool, error) {
	n.replyError(id, repErrUnsup, "%s is not supported", specOf(id).name)
	return false, nil
}
