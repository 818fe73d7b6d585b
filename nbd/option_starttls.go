package nbd

import "fmt"

// answerStartTLS answers STARTTLS (row 9). After its ACK nothing counts any
// more that was negotiated before.
func (n *negotiator) answerStartTLS(id uint32, data []byte) (bool, error) {
	conn, ok := n.conn.(securable)
	switch {
	case !ok || conn.tlsMode() == TLSOff:
		return n.answerUnsupported(id, data)
	case conn.secured():
		n.replyError(id, repErrInvalid, "TLS is on already")
		return false, nil
	}
	n.reply(id, repAck)
	if err := n.w.Flush(); err != nil {
		return false, err
	}
	if err := conn.secure(); err != nil {
		return false, fmt.Errorf("%w: %w", errTLS, err)
	}
	n.forget()
	return false, nil
}

// forget begins again, behind the client's flags: whoever was in between could
// have said everything that was said in the clear. The limits go on counting.
// What is kept is listed here, so that what others add is forgotten.
func (n *negotiator) forget() {
	fresh := newNegotiator(n.conn, n.tbl, n.lim)
	fresh.fixed, fresh.out.noZeroes = n.fixed, n.out.noZeroes
	fresh.options, fresh.bytesLeft = n.options, n.bytesLeft
	*n = *fresh
}

// tlsMissing says whether an option has to be refused because the client has
// not used STARTTLS.
func (n *negotiator) tlsMissing(id uint32) bool {
	conn, ok := n.conn.(securable)
	return ok && conn.tlsMode() == TLSRequire && !conn.secured() && id != optStartTLS && id != optAbort
}

// refuseInsecure refuses such an option, whatever it is.
func (n *negotiator) refuseInsecure(id uint32) (bool, error) {
	if id == optExportName {
		return false, fmt.Errorf("%w: TLS is required, and the client did not use it", errRefused)
	}
	n.replyError(id, repErrTLSRequired, "this server requires TLS: use STARTTLS first")
	return false, nil
}
