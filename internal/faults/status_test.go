package faults

import (
	"context"
	"strings"
	"time"

	"scstuser/internal/status"
)

// faultLines are the lines with which a fault begins and ends, by the kind that
// the status has.
var faultLines = map[string]struct{ begins, ends line }{
	"read": {readsFail, readsAgain}, "write": {writesFail, writesAgain},
	"space": {spaceFails, spaceAgain}, "lost": {dataLost, line{"info", "never"}},
}

// checkStatus requires that the server's status has the faults that its log has,
// and no others. A handler in a process of its own has no status.
func (r *rig) checkStatus() {
	r.t.Helper()
	if strings.HasPrefix(r.mode.name, hosted.name) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c := status.NewClient(r.control())
	defer c.Close()
	s, err := c.Status(ctx, false)
	if err != nil {
		r.t.Error(err)
		return
	}
	for _, d := range s.Devices {
		if len(d.Faults) != len(faultLines) {
			r.t.Errorf("device %s has the faults %+v", d.Name, d.Faults)
		}
		for _, f := range d.Faults {
			lines := faultLines[f.Kind]
			began, ended := lines.begins.count(r.server.Output()), lines.ends.count(r.server.Output())
			if d.Name != r.export() {
				began, ended = 0, 0
			}
			told := (f.Failed > 0) == (f.Since != nil) && (f.Failed > 0) == (f.Error != "")
			if !told || (f.Failed > 0) != (began > 0) || f.Present != (began > ended) {
				r.t.Errorf("device %s, %d begun and %d ended: %+v", d.Name, began, ended, f)
			}
		}
	}
}
