// Package wire is what internal/vm on the host and its agent in the guest say to
// each other, over a virtio serial port: messages in JSON, each behind its length
// in four bytes, big-endian. A message is at most [MaxMessage] bytes long.
//
// The host sends a [Request] with a number of its own; the guest answers it with
// any number of an [Event] of that number, the last of which is [Exit], [Done] or
// [Failed]. Requests of different numbers go on side by side; a signal is for the
// command with the number that it carries in Target. The first event of all is
// [Hello], with the number 0.
package wire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

const (
	// MaxMessage is the longest message, in bytes without its length.
	MaxMessage = 1 << 20
	// Chunk is how much data a sender puts into one message, in bytes: what
	// JSON makes of it is well below MaxMessage.
	Chunk = 256 << 10
)

// Op is what the host wants.
type Op string

// The requests.
const (
	// Run starts Command. Stdout and Stderr events follow, and Exit.
	Run Op = "run"
	// Signal sends Signal to the process group of the command Target. A
	// command that has ended is no error.
	Signal Op = "signal"
	// Read asks for the content of the file Path, as Data events.
	Read Op = "read"
	// Write writes Data at Offset to the file Path, which is made with Mode,
	// or emptied, at offset 0.
	Write Op = "write"
	// PowerOff writes everything to the disks and ends the machine. Only
	// Failed is an answer.
	PowerOff Op = "poweroff"
)

// Command is a command line, to be run without a shell.
type Command struct {
	Args  []string `json:"args"`
	Dir   string   `json:"dir,omitempty"`
	Env   []string `json:"env,omitempty"`
	Stdin []byte   `json:"stdin,omitempty"`
}

// Request is what the host sends.
type Request struct {
	ID      uint32   `json:"id"`
	Op      Op       `json:"op"`
	Command *Command `json:"command,omitempty"`
	Target  uint32   `json:"target,omitempty"`
	Signal  int      `json:"signal,omitempty"`
	Path    string   `json:"path,omitempty"`
	Mode    uint32   `json:"mode,omitempty"`
	Offset  int64    `json:"offset,omitempty"`
	Data    []byte   `json:"data,omitempty"`
}

// Kind is what an event is.
type Kind string

// The events.
const (
	Hello  Kind = "hello"  // the agent is there; Text is the kernel's release
	Stdout Kind = "stdout" // Data, as the command wrote it
	Stderr Kind = "stderr"
	Data   Kind = "data" // the next part of a file
	Exit   Kind = "exit" // the command ended, with Status
	Done   Kind = "done" // the request was carried out
	Failed Kind = "failed"
)

// Event is what the guest sends.
type Event struct {
	ID   uint32 `json:"id"`
	Kind Kind   `json:"kind"`
	Data []byte `json:"data,omitempty"`
	// Status is the exit status, or 128 and the number of the signal that
	// ended the command.
	Status int `json:"status,omitempty"`
	// Text is why the request failed.
	Text string `json:"text,omitempty"`
}

// Last says that no other event of the number follows.
func (e Event) Last() bool { return e.Kind == Exit || e.Kind == Done || e.Kind == Failed }

// Send writes one message, in one Write. Calls must not overlap.
func Send(w io.Writer, message any) error {
	text, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode a message: %w", err)
	}
	if len(text) > MaxMessage {
		return fmt.Errorf("a message of %d bytes; send at most %d", len(text), MaxMessage)
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...))
	return err
}

// Receive reads one message into a pointer. io.EOF is the end between two of
// them.
func Receive(r io.Reader, message any) error {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > MaxMessage {
		return fmt.Errorf("a message of %d bytes; at most %d are allowed", n, MaxMessage)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return fmt.Errorf("a message of %d bytes: %w", n, noEOF(err))
	}
	if err := json.Unmarshal(text, message); err != nil {
		return fmt.Errorf("decode a message: %w", err)
	}
	return nil
}

// noEOF: an end inside a message is not one between two.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
