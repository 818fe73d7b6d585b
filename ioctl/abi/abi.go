package abi

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
)

// ErrShort is returned when there are fewer bytes than a structure has.
var ErrShort = errors.New("too few bytes for this structure of the scst_user interface")

// ErrSubcode is returned when bytes or a message carry a subcode that the
// interface does not have.
var ErrSubcode = errors.New("not a subcode of the scst_user interface")

// Addr is an address in the handler's memory, or a session handle, which looks
// like one. As text, and so in JSON, it is hexadecimal: JSON numbers lose bits.
type Addr uint64

// MarshalText writes 0x and hexadecimal digits.
func (a Addr) MarshalText() ([]byte, error) {
	return strconv.AppendUint([]byte("0x"), uint64(a), 16), nil
}

// UnmarshalText reads what MarshalText writes.
func (a *Addr) UnmarshalText(b []byte) error {
	v, err := parseHex(b, 64)
	*a = Addr(v)
	return err
}

// CDB is the first 16 bytes of a CDB, hexadecimal as text.
type CDB [16]byte

// MarshalText writes 32 hexadecimal digits.
func (c CDB) MarshalText() ([]byte, error) {
	return hex.AppendEncode(nil, c[:]), nil
}

// UnmarshalText reads what MarshalText writes.
func (c *CDB) UnmarshalText(b []byte) error {
	if len(b) != 2*len(c) {
		return fmt.Errorf("cdb %q: want %d hexadecimal digits", b, 2*len(c))
	}
	_, err := hex.Decode(c[:], b)
	return err
}

// CString is b up to its first NUL, or all of it.
func CString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// parseHex reads 0x and hexadecimal digits.
func parseHex(b []byte, bits int) (uint64, error) {
	digits, ok := bytes.CutPrefix(b, []byte("0x"))
	if !ok {
		return 0, fmt.Errorf("%q: want 0x and hexadecimal digits", b)
	}
	return strconv.ParseUint(string(digits), 16, bits)
}
