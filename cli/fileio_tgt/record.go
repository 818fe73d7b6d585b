package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"scstuser/handlers"
	"scstuser/ioctl/trace"
	"scstuser/ucmd"
)

// recordedPort is what a handler in this process talks to: its device, or a
// recorder in front of it.
type recordedPort interface {
	handlers.Port
	handlers.Preallocator
	FlushCache() error
	CapacityChanged()
}

var (
	_ recordedPort = (*ucmd.Device)(nil)
	_ recordedPort = (*trace.Port)(nil)
)

// recording is --record without a node: what the handler of the one device says
// and gets, as the ioctls that it would make in a process of its own.
type recording struct {
	file     string
	recorder *trace.Recorder
	port     *trace.Port
}

// startRecording begins to record a device that was registered just now.
func startRecording(file string, dev *ucmd.Device) (*recording, error) {
	w, err := trace.Create(file, trace.Header{
		Source: "process", Start: time.Now().UnixNano(), Command: strings.Join(os.Args, " "),
	})
	if err != nil {
		return nil, err
	}
	r := &recording{file: file, recorder: trace.NewRecorder(w)}
	r.port = trace.NewPort(dev, r.recorder)
	return r, nil
}

// end ends the recording of a device that was released. A nil recording is none.
func (r *recording) end() error {
	if r == nil {
		return nil
	}
	if err := errors.Join(r.port.End(), r.recorder.Close()); err != nil {
		return fmt.Errorf("finish the recording %s: %w", r.file, err)
	}
	return nil
}

// checkRecord checks what --record can't be combined with. given tells which
// options were on the command line.
func (c *config) checkRecord(given map[string]bool) error {
	switch {
	case c.Record == "":
		return nil
	case len(c.Exports) > 1:
		return usagef("--record records one device, and there are %d files: leave the others out", len(c.Exports))
	case given["inline"] && c.Inline:
		return usagef("--record has every command go through the handler threads: leave --inline out")
	}
	return nil
}
