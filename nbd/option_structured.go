package nbd

// answerStructuredReply turns structured replies on. Asking twice changes
// nothing; extended headers, once agreed on, take precedence.
func (n *negotiator) answerStructuredReply(id uint32, _ []byte) (bool, error) {
	if n.out.mode == modeExtended {
		n.replyError(id, repErrExtHeaderRequired, "extended headers are in use, which include structured replies")
		return false, nil
	}
	n.out.mode = modeStructured
	n.reply(id, repAck)
	return false, nil
}

// answerExtendedHeaders turns extended headers on (row 27). What SET_META_CONTEXT
// has selected stays.
func (n *negotiator) answerExtendedHeaders(id uint32, _ []byte) (bool, error) {
	n.out.mode = modeExtended
	n.reply(id, repAck)
	return false, nil
}
