package faults

import (
	"context"
	"fmt"
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
	// What hung may just have been let go, and the log comes through a pipe.
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		problem := r.compareStatus()
		if problem == nil {
			return
		}
		if time.Now().After(end) {
			r.t.Error(problem)
			return
		}
	}
}

// compareStatus asks for the status, and says how it differs from the log.
func (r *rig) compareStatus() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c := status.NewClient(r.control())
	defer c.Close()
	s, err := c.Status(ctx, false)
	if err != nil {
		return err
	}
	log := r.server.Output()
	for _, d := range s.Devices {
		if len(d.Faults) != len(faultLines) {
			return fmt.Errorf("device %s has the faults %+v", d.Name, d.Faults)
		}
		for _, f := range d.Faults {
			lines := faultLines[f.Kind]
			began, ended := lines.begins.count(log), lines.ends.count(log)
			if d.Name != r.export() {
				began, ended = 0, 0
			}
			told := (f.Failed > 0) == (f.Since != nil && f.Last != nil && f.Error != "")
			if !told || (f.Failed > 0) != (began > 0) || f.Present != (began > ended) {
				return fmt.Errorf("device %s, %d begun and %d ended: %+v", d.Name, began, ended, f)
			}
		}
	}
	return nil
}
