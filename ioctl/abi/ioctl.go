package abi

import (
	"fmt"

	"scstuser/ucmd"
)

// Ioctl is an ioctl number of the interface (rule R1). Its text form is the
// name without SCST_USER_, or 0x and digits for a number that is none.
type Ioctl uint32

// The ioctl numbers (rule R1).
const (
	IoctlRegisterDevice   Ioctl = 0x40A07501 // DevDesc in
	IoctlUnregisterDevice Ioctl = 0x00007502
	IoctlSetOptions       Ioctl = 0x40147503 // Opt in
	IoctlGetOptions       Ioctl = 0x80147504 // Opt out
	IoctlReplyAndGetCmd   Ioctl = 0xC2207505 // get_cmd: preply in, subcommand out
	IoctlReplyCmd         Ioctl = 0x40387506 // reply_cmd in
	IoctlFlushCache       Ioctl = 0x00007507
	IoctlCapacityChanged  Ioctl = 0x00007508
	IoctlGetExtendedCDB   Ioctl = 0xC0107509 // GetExtCDB in
	IoctlPreallocBuffer   Ioctl = 0xC010750A // PreallocIn in, PreallocOut out
	IoctlReplyAndGetMulti Ioctl = 0xC010750B // Multi in and out, subcommands behind it
)

// Subcode is a subcommand's number on the wire (rule R2). Its text form is as
// an Ioctl's.
type Subcode uint32

// The subcodes (rule R2).
const (
	SubcodeAttachSess      Subcode = 0x82187320
	SubcodeDetachSess      Subcode = 0x82187321
	SubcodeParse           Subcode = 0xC0507301
	SubcodeAllocMem        Subcode = 0xC0287302
	SubcodeExec            Subcode = 0xC0687303
	SubcodeOnFreeCmd       Subcode = 0x80107304
	SubcodeOnCachedMemFree Subcode = 0x80087305
	SubcodeExtCopyRemap    Subcode = 0xC0307306
	SubcodeTMReceived      Subcode = 0xC0187308
	SubcodeTMDone          Subcode = 0xC0187309
)

// Directions of an ioctl number, as its caller sees them.
const (
	DirNone  = 0
	DirWrite = 1 // the argument goes in
	DirRead  = 2 // the argument comes out
)

var ioctlNames = map[Ioctl]string{
	IoctlRegisterDevice: "REGISTER_DEVICE", IoctlUnregisterDevice: "UNREGISTER_DEVICE",
	IoctlSetOptions: "SET_OPTIONS", IoctlGetOptions: "GET_OPTIONS",
	IoctlReplyAndGetCmd: "REPLY_AND_GET_CMD", IoctlReplyCmd: "REPLY_CMD",
	IoctlFlushCache: "FLUSH_CACHE", IoctlCapacityChanged: "DEVICE_CAPACITY_CHANGED",
	IoctlGetExtendedCDB: "GET_EXTENDED_CDB", IoctlPreallocBuffer: "PREALLOC_BUFFER",
	IoctlReplyAndGetMulti: "REPLY_AND_GET_MULTI",
}

var subcodeNames = map[Subcode]string{
	SubcodeAttachSess: "ATTACH_SESS", SubcodeDetachSess: "DETACH_SESS", SubcodeParse: "PARSE",
	SubcodeAllocMem: "ALLOC_MEM", SubcodeExec: "EXEC", SubcodeOnFreeCmd: "ON_FREE_CMD",
	SubcodeOnCachedMemFree: "ON_CACHED_MEM_FREE", SubcodeExtCopyRemap: "EXT_COPY_REMAP",
	SubcodeTMReceived: "TASK_MGMT_RECEIVED", SubcodeTMDone: "TASK_MGMT_DONE",
}

// Nr is the number's _IOC_NR.
func (i Ioctl) Nr() int { return int(i & 0xff) }

// Size is the number's _IOC_SIZE in bytes: what a FUSE file gets of the
// argument (F1).
func (i Ioctl) Size() int { return int(i >> 16 & 0x3fff) }

// Dir is the number's _IOC_DIR, a sum of the Dir constants.
func (i Ioctl) Dir() int { return int(i >> 30) }

// Known says whether the interface has this number; others get EINVAL (R6).
func (i Ioctl) Known() bool { return ioctlNames[i] != "" }

// String is the name without SCST_USER_, or 0x and digits.
func (i Ioctl) String() string {
	if s := ioctlNames[i]; s != "" {
		return s
	}
	return fmt.Sprintf("0x%08x", uint32(i))
}

// MarshalText writes what String returns.
func (i Ioctl) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText reads a name or 0x and digits.
func (i *Ioctl) UnmarshalText(b []byte) error {
	for v, s := range ioctlNames {
		if s == string(b) {
			*i = v
			return nil
		}
	}
	v, err := parseHex(b, 32)
	if err != nil {
		return fmt.Errorf("ioctl %q is neither a known name nor a number", b)
	}
	*i = Ioctl(v)
	return nil
}

// SubcodeOf is the number on the wire, 0 for a code that there is not.
func SubcodeOf(c ucmd.Subcode) Subcode {
	switch c {
	case ucmd.SubParse:
		return SubcodeParse
	case ucmd.SubAllocMem:
		return SubcodeAllocMem
	case ucmd.SubExec:
		return SubcodeExec
	case ucmd.SubOnFree:
		return SubcodeOnFreeCmd
	case ucmd.SubOnCachedMemFree:
		return SubcodeOnCachedMemFree
	case ucmd.SubExtCopyRemap:
		return SubcodeExtCopyRemap
	case ucmd.SubTMReceived:
		return SubcodeTMReceived
	case ucmd.SubTMDone:
		return SubcodeTMDone
	case ucmd.SubAttachSess:
		return SubcodeAttachSess
	case ucmd.SubDetachSess:
		return SubcodeDetachSess
	}
	return 0
}

// Code is package ucmd's name of the subcode; 0, which no subcommand has, for
// a number that is not exactly one of the interface's: the right _IOC_NR with
// another size is wrong as well (fact 27).
func (s Subcode) Code() ucmd.Subcode {
	if c := ucmd.Subcode(s & 0xff); s != 0 && SubcodeOf(c) == s {
		return c
	}
	return 0
}

// GetLen is how many bytes of get_cmd this subcommand fills, header and
// payload: what is copied out and no more (rule R4). 0 for an unknown one.
func (s Subcode) GetLen() int {
	if s.Code() == 0 {
		return 0
	}
	return headerLen + int(s>>16&0x3fff)
}

// String is the name without SCST_USER_, or 0x and digits.
func (s Subcode) String() string {
	if n := subcodeNames[s]; n != "" {
		return n
	}
	return fmt.Sprintf("0x%08x", uint32(s))
}

// MarshalText writes what String returns.
func (s Subcode) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a name or 0x and digits.
func (s *Subcode) UnmarshalText(b []byte) error {
	for v, n := range subcodeNames {
		if n == string(b) {
			*s = v
			return nil
		}
	}
	v, err := parseHex(b, 32)
	if err != nil {
		return fmt.Errorf("subcode %q is neither a known name nor a number", b)
	}
	*s = Subcode(v)
	return nil
}
