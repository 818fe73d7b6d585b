package nbd

import (
	"fmt"
	"math/bits"
	"strings"
	"unicode/utf8"
)

// ExportInfo is what negotiation tells a client about an export.
type ExportInfo struct {
	// Name is the canonical name: the one LIST shows and GO accepts. A client
	// that asked for the default export "" learns it from NBD_INFO_NAME.
	Name string
	// Description is a line for people, or empty for none.
	Description string
	// Size is the size in bytes.
	Size uint64
	// Flags are the transmission flags. Negotiation adds HAS_FLAGS and takes
	// away what the client has not negotiated.
	Flags uint16
	// MinBlock, PreferredBlock and MaxBlock are the size constraints in
	// bytes: the unit and alignment of requests, the least that is efficient,
	// and the longest payload (math.MaxUint32: no limit).
	MinBlock, PreferredBlock, MaxBlock uint32
}

// The bounds of proto.md "Size constraints", in bytes.
const (
	maxMinBlock       = 1 << 16
	minPreferredBlock = 512
)

// Validate says what in e the protocol does not allow to be sent, if
// anything: names and descriptions that are not protocol strings (row 6) and
// size constraints that contradict themselves (row 8).
func (e ExportInfo) Validate() error {
	if err := validateString(e.Name); err != nil {
		return fmt.Errorf("export name %s: %w", abbreviate(e.Name), err)
	}
	if err := validateString(e.Description); err != nil {
		return fmt.Errorf("description of export %s: %w", abbreviate(e.Name), err)
	}
	if err := e.validateBlocks(); err != nil {
		return fmt.Errorf("export %s: %w", abbreviate(e.Name), err)
	}
	return nil
}

func (e ExportInfo) validateBlocks() error {
	switch {
	case bits.OnesCount32(e.MinBlock) != 1 || e.MinBlock > maxMinBlock:
		return fmt.Errorf("minimum block size %d: must be a power of two between 1 and %d", e.MinBlock, maxMinBlock)
	case bits.OnesCount32(e.PreferredBlock) != 1 || e.PreferredBlock < max(e.MinBlock, minPreferredBlock):
		return fmt.Errorf("preferred block size %d: must be a power of two and at least %d",
			e.PreferredBlock, max(e.MinBlock, minPreferredBlock))
	case e.MaxBlock < e.PreferredBlock:
		return fmt.Errorf("maximum payload size %d: must be at least the preferred block size, %d", e.MaxBlock, e.PreferredBlock)
	}
	return nil
}

// validateString checks s against proto.md "Conventions".
func validateString(s string) error {
	switch {
	case len(s) > maxString:
		return fmt.Errorf("is %d bytes long; the protocol allows %d", len(s), maxString)
	case strings.IndexByte(s, 0) >= 0:
		return fmt.Errorf("contains a NUL byte at position %d", strings.IndexByte(s, 0))
	case !utf8.ValidString(s):
		return fmt.Errorf("is not valid UTF-8")
	}
	return nil
}

// abbreviate quotes a name for an error message or a log line, where a client
// must not be able to place 4 KiB of its own.
func abbreviate(name string) string {
	const most = 64
	if len(name) <= most {
		return fmt.Sprintf("%q", name)
	}
	return fmt.Sprintf("%q...", name[:most])
}
