package nbd

import "encoding/binary"

// answerList answers LIST with one reply for each export and a final ACK
// (row 6).
func (n *negotiator) answerList(id uint32, _ []byte) (bool, error) {
	for _, e := range n.tbl.list() {
		var nameLength [4]byte
		binary.BigEndian.PutUint32(nameLength[:], uint32(len(e.Name)))
		n.reply(id, repServer, nameLength[:], []byte(e.Name), []byte(e.Description))
	}
	n.reply(id, repAck)
	return false, nil
}
