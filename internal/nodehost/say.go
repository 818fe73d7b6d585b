package nodehost

import "strings"

// Say has the initiator in the host's process do what a line says, and returns
// the answer: package initiator has the lines. The test fails if that can't be
// done. One at a time.
func (h *Host) Say(line string) string {
	h.t.Helper()
	answer, err := h.say(line)
	if err != nil {
		h.t.Fatalf("the host's process, at %q: %v", line, err)
	}
	rest, ok := strings.CutPrefix(answer, "1")
	if !ok {
		h.t.Fatalf("%q: %s", line, strings.TrimPrefix(answer, "0 "))
	}
	return strings.TrimSpace(rest)
}

func (h *Host) say(line string) (answer string, err error) {
	h.talk.Lock()
	defer h.talk.Unlock()
	if _, err := h.in.Write([]byte(line + "\n")); err != nil {
		return "", err
	}
	answer, err = h.out.ReadString('\n')
	return strings.TrimSpace(answer), err
}
