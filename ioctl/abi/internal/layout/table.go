// Package layout describes the structures, constants and ioctl numbers of the
// scst_user interface once, as tables. GoSource writes the Go types with their
// encode and decode methods from them, Header the C header. Offsets are not in
// the tables: Compute finds them by the C rules (natural alignment), and tests
// compare the result with what C compilers say.
package layout

// Kind is the type of a field.
type Kind int

// The kinds. Addr is a u64 that shows as hexadecimal: an address or a session
// handle. CDB is 16 bytes, CStr N bytes with a NUL in them. Struct is one of
// the structures of the table.
const (
	U8 Kind = iota
	U16
	U32
	U64
	I16
	I32
	I64
	Addr
	CDB
	CStr
	Struct
)

// Field is one member of a structure.
type Field struct {
	Name string // as in C
	Go   string
	Kind Kind
	N    int    // bytes of a CStr
	Of   string // C name of a Struct
	Alt  string // name of the union alternative that the field is in, "" is none
	Flex bool   // C's flexible array: takes no room
	Doc  string
}

// Struc is a structure or, with Union, a union.
type Struc struct {
	Name   string // as in C
	Go     string // "" for those that Go code handles by hand
	Doc    string
	Union  bool
	Fields []Field
	// When says by alternative which condition on x selects it, in Go.
	When map[string]string
}

// Ioctl is an ioctl number or a subcode; Arg is the C name of its structure.
type Ioctl struct {
	Name, Dir string // Dir: "", "R", "W", "WR", as the caller sees it
	Type      byte
	Nr        int
	Arg       string
}

// Structs are all structures, each after those that it contains.
var Structs = []Struc{
	{Name: "scst_user_opt", Go: "Opt", Doc: "Opt is the argument of SET_OPTIONS and GET_OPTIONS (rules R16 to R22).", Fields: []Field{
		{Name: "parse_type", Go: "ParseType", Kind: U8, Doc: "who parses CDBs"},
		{Name: "on_free_cmd_type", Go: "OnFreeCmdType", Kind: U8, Doc: "0: ON_FREE_CMD is sent"},
		{Name: "memory_reuse_type", Go: "MemoryReuseType", Kind: U8, Doc: "which buffers are cached"},
		{Name: "partial_transfers_type", Go: "PartialTransfersType", Kind: U8, Doc: "stored, never acted on"},
		{Name: "partial_len", Go: "PartialLen", Kind: I32, Doc: "stored, never acted on"},
		{Name: "tst", Go: "TST", Kind: U8, Doc: "task set type"},
		{Name: "tmf_only", Go: "TMFOnly", Kind: U8, Doc: "control mode page"},
		{Name: "queue_alg", Go: "QueueAlg", Kind: U8, Doc: "control mode page"},
		{Name: "qerr", Go: "QErr", Kind: U8, Doc: "control mode page; 2 is reserved"},
		{Name: "tas", Go: "TAS", Kind: U8, Doc: "control mode page"},
		{Name: "swp", Go: "SWP", Kind: U8, Doc: "control mode page"},
		{Name: "d_sense", Go: "DSense", Kind: U8, Doc: "1: descriptor sense"},
		{Name: "has_own_order_mgmt", Go: "HasOwnOrderMgmt", Kind: U8, Doc: "the handler keeps commands in order"},
		{Name: "ext_copy_remap_supported", Go: "ExtCopyRemapSupported", Kind: U8, Doc: "EXT_COPY_REMAP may be sent"},
	}},
	{Name: "scst_user_dev_desc", Go: "DevDesc", Doc: "DevDesc is the argument of REGISTER_DEVICE (rules R7 to R13).", Fields: []Field{
		{Name: "version_str", Go: "VersionStr", Kind: Addr, Doc: "of a string of at most StringMax bytes"},
		{Name: "license_str", Go: "LicenseStr", Kind: Addr, Doc: "of a string of at most StringMax bytes"},
		{Name: "type", Go: "Type", Kind: U8, Doc: "SCSI peripheral device type"},
		{Name: "sgv_shared", Go: "SGVShared", Kind: U8, Doc: "not 0: the pool of that name may be shared"},
		{Name: "sgv_disable_clustered_pool", Go: "SGVDisableClusteredPool", Kind: U8, Doc: "not 0: no tail-clustered pool"},
		{Name: "sgv_single_alloc_pages", Go: "SGVSingleAllocPages", Kind: I32, Doc: "in pages; 0: size classes"},
		{Name: "sgv_purge_interval", Go: "SGVPurgeInterval", Kind: I32, Doc: "in seconds; 0: default, negative: never"},
		{Name: "opt", Go: "Opt", Kind: Struct, Of: "scst_user_opt", Doc: "the options to begin with"},
		{Name: "block_size", Go: "BlockSize", Kind: U32, Doc: "in bytes"},
		{Name: "enable_pr_cmds_notifications", Go: "EnablePRCmdsNotifications", Kind: U8, Doc: "not 0: tell of PERSISTENT RESERVE commands"},
		{Name: "name", Go: "Name", Kind: CStr, N: 50, Doc: "of the device"},
		{Name: "sgv_name", Go: "SGVName", Kind: CStr, N: 50, Doc: "of the pool; empty: the device's"},
	}},
	{Name: "scst_user_sess", Go: "Sess", Doc: "Sess is the payload of ATTACH_SESS; of DETACH_SESS too, with SessH alone (rules R39, R41).", Fields: []Field{
		{Name: "sess_h", Go: "SessH", Kind: Addr, Doc: "names the session, not 0"},
		{Name: "lun", Go: "LUN", Kind: U64, Doc: "of the device in the session"},
		{Name: "threads_num", Go: "ThreadsNum", Kind: U16, Doc: "threads that the session would like"},
		{Name: "rd_only", Go: "RdOnly", Kind: U8, Doc: "1: writes are refused"},
		{Name: "scsi_transport_version", Go: "ScsiTransportVersion", Kind: U16, Doc: "version descriptor for INQUIRY"},
		{Name: "phys_transport_version", Go: "PhysTransportVersion", Kind: U16, Doc: "version descriptor for INQUIRY"},
		{Name: "initiator_name", Go: "InitiatorName", Kind: CStr, N: 256, Doc: "at most 255 bytes"},
		{Name: "target_name", Go: "TargetName", Kind: CStr, N: 256, Doc: "at most 255 bytes"},
	}},
	{Name: "scst_user_scsi_cmd_parse", Go: "Parse", Doc: "Parse is the payload of PARSE (rule R44).", Fields: []Field{
		{Name: "sess_h", Go: "SessH", Kind: Addr, Doc: "the command's session"},
		{Name: "cdb", Go: "CDB", Kind: CDB, Doc: "first 16 bytes"},
		{Name: "cdb_len", Go: "CDBLen", Kind: U16, Doc: "of the whole CDB"},
		{Name: "lba", Go: "LBA", Kind: U64, Doc: "as the standard parser found it"},
		{Name: "data_len", Go: "DataLen", Kind: I64, Doc: "likewise"},
		{Name: "bufflen", Go: "BuffLen", Kind: I32, Doc: "likewise"},
		{Name: "out_bufflen", Go: "OutBuffLen", Kind: I32, Doc: "likewise, BIDI"},
		{Name: "timeout", Go: "Timeout", Kind: I32, Doc: "in seconds"},
		{Name: "op_flags", Go: "OpFlags", Kind: U32, Doc: "of the opcode; SCST_INFO_VALID and others"},
		{Name: "queue_type", Go: "QueueType", Kind: U8, Doc: "task attribute"},
		{Name: "data_direction", Go: "DataDirection", Kind: U8, Doc: "1 write, 2 read, 3 both, 4 none"},
		{Name: "expected_values_set", Go: "ExpectedValuesSet", Kind: U8, Doc: "1: the next three are known"},
		{Name: "expected_data_direction", Go: "ExpectedDataDirection", Kind: U8, Doc: "what the initiator expects"},
		{Name: "expected_transfer_len", Go: "ExpectedTransferLen", Kind: I32, Doc: "in bytes"},
		{Name: "expected_out_transfer_len", Go: "ExpectedOutTransferLen", Kind: I32, Doc: "in bytes, BIDI"},
		{Name: "sn", Go: "SN", Kind: U32, Doc: "sequence number in the session"},
	}},
	{Name: "scst_user_scsi_cmd_alloc_mem", Go: "AllocMem", Doc: "AllocMem is the payload of ALLOC_MEM (rules R49, R50).", Fields: []Field{
		{Name: "sess_h", Go: "SessH", Kind: Addr, Doc: "the command's session"},
		{Name: "cdb", Go: "CDB", Kind: CDB, Doc: "first 16 bytes"},
		{Name: "cdb_len", Go: "CDBLen", Kind: U16, Doc: "of the whole CDB"},
		{Name: "alloc_len", Go: "AllocLen", Kind: I32, Doc: "bytes to allocate"},
		{Name: "queue_type", Go: "QueueType", Kind: U8, Doc: "task attribute"},
		{Name: "data_direction", Go: "DataDirection", Kind: U8, Doc: "1 write, 3 both"},
		{Name: "sn", Go: "SN", Kind: U32, Doc: "sequence number in the session"},
	}},
	{Name: "scst_user_scsi_cmd_exec", Go: "Exec", Doc: "Exec is the payload of EXEC (rules R55, R56).", Fields: []Field{
		{Name: "sess_h", Go: "SessH", Kind: Addr, Doc: "the command's session"},
		{Name: "cdb", Go: "CDB", Kind: CDB, Doc: "first 16 bytes"},
		{Name: "cdb_len", Go: "CDBLen", Kind: U16, Doc: "of the whole CDB"},
		{Name: "lba", Go: "LBA", Kind: U64, Doc: "first block"},
		{Name: "data_len", Go: "DataLen", Kind: I64, Doc: "bytes that the command works on"},
		{Name: "bufflen", Go: "BuffLen", Kind: I32, Doc: "bytes of the buffer that count"},
		{Name: "alloc_len", Go: "AllocLen", Kind: I32, Doc: "bytes to allocate when pbuf is 0"},
		{Name: "pbuf", Go: "PBuf", Kind: Addr, Doc: "the buffer; 0 is none"},
		{Name: "queue_type", Go: "QueueType", Kind: U8, Doc: "task attribute"},
		{Name: "data_direction", Go: "DataDirection", Kind: U8, Doc: "1 write, 2 read, 3 both, 4 none"},
		{Name: "partial", Go: "Partial", Kind: U8, Doc: "always 0 (rule R21)"},
		{Name: "timeout", Go: "Timeout", Kind: I32, Doc: "in seconds"},
		{Name: "p_out_buf", Go: "POutBuf", Kind: Addr, Doc: "BIDI's second buffer; garbage otherwise"},
		{Name: "out_bufflen", Go: "OutBuffLen", Kind: I32, Doc: "its length"},
		{Name: "sn", Go: "SN", Kind: U32, Doc: "sequence number in the session"},
		{Name: "parent_cmd_h", Go: "ParentCmdH", Kind: U32, Doc: "never set (rule R21)"},
		{Name: "parent_cmd_data_len", Go: "ParentCmdDataLen", Kind: I32, Doc: "never set"},
		{Name: "partial_offset", Go: "PartialOffset", Kind: I32, Doc: "never set"},
	}},
	{Name: "scst_user_scsi_on_free_cmd", Go: "OnFree", Doc: "OnFree is the payload of ON_FREE_CMD (rule R61).", Fields: []Field{
		{Name: "pbuf", Go: "PBuf", Kind: Addr, Doc: "the command's buffer"},
		{Name: "resp_data_len", Go: "RespDataLen", Kind: I32, Doc: "as replied"},
		{Name: "buffer_cached", Go: "BufferCached", Kind: U8, Doc: "1: the pool keeps it, don't free"},
		{Name: "aborted", Go: "Aborted", Kind: U8, Doc: "1: the command was aborted"},
		{Name: "status", Go: "Status", Kind: U8, Doc: "SAM status"},
		{Name: "delivery_status", Go: "DeliveryStatus", Kind: U8, Doc: "0, -1 or -2, as a byte"},
	}},
	{Name: "scst_user_on_cached_mem_free", Go: "OnCachedMemFree", Doc: "OnCachedMemFree is the payload of ON_CACHED_MEM_FREE (rule R63).", Fields: []Field{
		{Name: "pbuf", Go: "PBuf", Kind: Addr, Doc: "the buffer to free"},
	}},
	{Name: "scst_user_tm", Go: "TM", Doc: "TM is the payload of TASK_MGMT_RECEIVED and TASK_MGMT_DONE (rules R66, R67).", Fields: []Field{
		{Name: "sess_h", Go: "SessH", Kind: Addr, Doc: "the session"},
		{Name: "fn", Go: "Fn", Kind: I32, Doc: "the function, 0 to 11"},
		{Name: "cmd_h_to_abort", Go: "CmdHToAbort", Kind: U32, Doc: "ABORT TASK only"},
		{Name: "cmd_sn", Go: "CmdSN", Kind: U32, Doc: "only if cmd_sn_set"},
		{Name: "cmd_sn_set", Go: "CmdSNSet", Kind: U8, Doc: "1: cmd_sn is valid"},
	}},
	{Name: "scst_user_ext_copy_data_descr", Go: "DataDescr", Doc: "DataDescr is one piece of an EXTENDED COPY segment (rule R65).", Fields: []Field{
		{Name: "src_lba", Go: "SrcLBA", Kind: U64, Doc: "first block of the source"},
		{Name: "dst_lba", Go: "DstLBA", Kind: U64, Doc: "first block of the destination"},
		{Name: "data_len", Go: "DataLen", Kind: I32, Doc: "in bytes"},
	}},
	{Name: "scst_user_ext_copy_remap", Go: "ExtCopyRemap", Doc: "ExtCopyRemap is the payload of EXT_COPY_REMAP (rule R65).", Fields: []Field{
		{Name: "sess_h", Go: "SessH", Kind: Addr, Doc: "the command's session"},
		{Name: "src_sess_h", Go: "SrcSessH", Kind: Addr, Doc: "session of the source"},
		{Name: "dst_sess_h", Go: "DstSessH", Kind: Addr, Doc: "session of the destination"},
		{Name: "data_descr", Go: "DataDescr", Kind: Struct, Of: "scst_user_ext_copy_data_descr", Doc: "the segment"},
	}},
	{Name: "scst_user_get_cmd", Doc: "The argument of REPLY_AND_GET_CMD: preply on the way in, a subcommand on the way out.", Fields: []Field{
		{Name: "cmd_h", Kind: U32},
		{Name: "subcode", Kind: U32},
		{Name: "preply", Kind: Addr, Alt: "preply"},
		{Name: "sess", Kind: Struct, Of: "scst_user_sess", Alt: "sess"},
		{Name: "parse_cmd", Kind: Struct, Of: "scst_user_scsi_cmd_parse", Alt: "parse_cmd"},
		{Name: "alloc_cmd", Kind: Struct, Of: "scst_user_scsi_cmd_alloc_mem", Alt: "alloc_cmd"},
		{Name: "exec_cmd", Kind: Struct, Of: "scst_user_scsi_cmd_exec", Alt: "exec_cmd"},
		{Name: "on_free_cmd", Kind: Struct, Of: "scst_user_scsi_on_free_cmd", Alt: "on_free_cmd"},
		{Name: "on_cached_mem_free", Kind: Struct, Of: "scst_user_on_cached_mem_free", Alt: "on_cached_mem_free"},
		{Name: "tm_cmd", Kind: Struct, Of: "scst_user_tm", Alt: "tm_cmd"},
		{Name: "remap_cmd", Kind: Struct, Of: "scst_user_ext_copy_remap", Alt: "remap_cmd"},
	}},
	{Name: "scst_user_scsi_cmd_reply_parse", Go: "ParseReply", Doc: "ParseReply answers PARSE (rules R45, R46): the parser's findings when Status is 0, sense data otherwise.",
		When: map[string]string{"parsed": "x.Status == 0", "sense": "x.Status != 0"}, Fields: []Field{
			{Name: "status", Go: "Status", Kind: U8, Doc: "SAM status; not 0 ends the command"},
			{Name: "queue_type", Go: "QueueType", Kind: U8, Alt: "parsed", Doc: "at most 4"},
			{Name: "data_direction", Go: "DataDirection", Kind: U8, Alt: "parsed", Doc: "1 to 4"},
			{Name: "cdb_len", Go: "CDBLen", Kind: U16, Alt: "parsed", Doc: "0 keeps it"},
			{Name: "lba", Go: "LBA", Kind: I64, Alt: "parsed", Doc: "not negative"},
			{Name: "data_len", Go: "DataLen", Kind: I64, Alt: "parsed", Doc: "not negative"},
			{Name: "bufflen", Go: "BuffLen", Kind: I32, Alt: "parsed", Doc: "not negative"},
			{Name: "op_flags", Go: "OpFlags", Kind: U32, Alt: "parsed", Doc: "with SCST_INFO_VALID"},
			{Name: "out_bufflen", Go: "OutBuffLen", Kind: I32, Alt: "parsed", Doc: "BIDI"},
			{Name: "sense_len", Go: "SenseLen", Kind: U8, Alt: "sense", Doc: "bytes at PSenseBuffer; 252 are used"},
			{Name: "psense_buffer", Go: "PSenseBuffer", Kind: Addr, Alt: "sense", Doc: "sense data"},
		}},
	{Name: "scst_user_scsi_cmd_reply_alloc_mem", Go: "AllocMemReply", Doc: "AllocMemReply answers ALLOC_MEM (rules R51, R52).", Fields: []Field{
		{Name: "pbuf", Go: "PBuf", Kind: Addr, Doc: "the new buffer; 0: no memory"},
	}},
	{Name: "scst_user_data_descriptor", Go: "WriteSameDescr", Doc: "WriteSameDescr is one range of a DO_WRITE_SAME reply (rule R60).", Fields: []Field{
		{Name: "usdd_lba", Go: "LBA", Kind: U64, Doc: "first block"},
		{Name: "usdd_blocks", Go: "Blocks", Kind: U64, Doc: "0 ends the list"},
	}},
	{Name: "scst_user_scsi_cmd_reply_exec", Go: "ExecReply", Doc: "ExecReply answers EXEC (rules R56 to R60): ranges when ReplyType is DO_WRITE_SAME, sense data otherwise.",
		When: map[string]string{"sense": "x.ReplyType != ExecReplyDoWriteSame", "ws": "x.ReplyType == ExecReplyDoWriteSame"}, Fields: []Field{
			{Name: "resp_data_len", Go: "RespDataLen", Kind: I32, Doc: "bytes of READ data"},
			{Name: "pbuf", Go: "PBuf", Kind: Addr, Doc: "the buffer, when EXEC had none"},
			{Name: "reply_type", Go: "ReplyType", Kind: U8, Doc: "one of the ExecReply constants"},
			{Name: "status", Go: "Status", Kind: U8, Doc: "SAM status"},
			{Name: "sense_len", Go: "SenseLen", Kind: U8, Alt: "sense", Doc: "bytes at PSenseBuffer; 252 are used"},
			{Name: "psense_buffer", Go: "PSenseBuffer", Kind: Addr, Alt: "sense", Doc: "sense data"},
			{Name: "ws_descriptors_len", Go: "WSDescriptorsLen", Kind: U16, Alt: "ws", Doc: "bytes at WSDescriptors; 0: the whole range"},
			{Name: "ws_descriptors", Go: "WSDescriptors", Kind: Addr, Alt: "ws", Doc: "the ranges"},
		}},
	{Name: "scst_user_ext_copy_reply_remap", Go: "RemapReply", Doc: "RemapReply answers EXT_COPY_REMAP (rule R65).", Fields: []Field{
		{Name: "remap_descriptors", Go: "RemapDescriptors", Kind: Addr, Doc: "the pieces that are left to copy"},
		{Name: "remap_descriptors_len", Go: "RemapDescriptorsLen", Kind: U16, Doc: "their bytes; 0: nothing is left"},
		{Name: "status", Go: "Status", Kind: U8, Doc: "SAM status"},
		{Name: "sense_len", Go: "SenseLen", Kind: U8, Doc: "bytes at PSenseBuffer; 252 are used"},
		{Name: "psense_buffer", Go: "PSenseBuffer", Kind: Addr, Doc: "sense data"},
	}},
	{Name: "scst_user_reply_cmd", Doc: "The answer to one subcommand: argument of REPLY_CMD, and what preply and preplies point to.", Fields: []Field{
		{Name: "cmd_h", Kind: U32},
		{Name: "subcode", Kind: U32},
		{Name: "result", Kind: I32, Alt: "result"},
		{Name: "parse_reply", Kind: Struct, Of: "scst_user_scsi_cmd_reply_parse", Alt: "parse_reply"},
		{Name: "alloc_reply", Kind: Struct, Of: "scst_user_scsi_cmd_reply_alloc_mem", Alt: "alloc_reply"},
		{Name: "exec_reply", Kind: Struct, Of: "scst_user_scsi_cmd_reply_exec", Alt: "exec_reply"},
		{Name: "remap_reply", Kind: Struct, Of: "scst_user_ext_copy_reply_remap", Alt: "remap_reply"},
	}},
	{Name: "scst_user_get_ext_cdb", Go: "GetExtCDB", Doc: "GetExtCDB is the argument of GET_EXTENDED_CDB (rule R37).", Fields: []Field{
		{Name: "cmd_h", Go: "CmdH", Kind: U32, Doc: "the command"},
		{Name: "ext_cdb_buffer", Go: "ExtCDBBuffer", Kind: Addr, Doc: "gets the CDB beyond its first 16 bytes"},
	}},
	{Name: "scst_user_prealloc_buffer_in", Go: "PreallocIn", Doc: "PreallocIn is the argument of PREALLOC_BUFFER on the way in (rule R38).", Fields: []Field{
		{Name: "pbuf", Go: "PBuf", Kind: Addr, Doc: "the buffer, page aligned"},
		{Name: "bufflen", Go: "BuffLen", Kind: U32, Doc: "its bytes"},
		{Name: "for_clust_pool", Go: "ForClustPool", Kind: U8, Doc: "not 0: for the tail-clustered pool"},
	}},
	{Name: "scst_user_prealloc_buffer_out", Go: "PreallocOut", Doc: "PreallocOut is the argument of PREALLOC_BUFFER on the way out (rule R38).", Fields: []Field{
		{Name: "cmd_h", Go: "CmdH", Kind: U32, Doc: "names the buffer's later ON_CACHED_MEM_FREE"},
	}},
	{Name: "scst_user_prealloc_buffer", Union: true, Doc: "The argument of PREALLOC_BUFFER.", Fields: []Field{
		{Name: "in", Kind: Struct, Of: "scst_user_prealloc_buffer_in", Alt: "in"},
		{Name: "out", Kind: Struct, Of: "scst_user_prealloc_buffer_out", Alt: "out"},
	}},
	{Name: "scst_user_get_multi", Go: "Multi", Doc: "Multi is what the ioctl number of REPLY_AND_GET_MULTI covers; the subcommands follow it (rules R28 to R30; MultiCmdAddr).", Fields: []Field{
		{Name: "preplies", Go: "PReplies", Kind: Addr, Doc: "of replies_cnt replies, SizeReplyCmd bytes each"},
		{Name: "replies_cnt", Go: "RepliesCnt", Kind: I16, Doc: "in: how many; negative is none"},
		{Name: "replies_done", Go: "RepliesDone", Kind: I16, Doc: "out: how many were good"},
		{Name: "cmds_cnt", Go: "CmdsCnt", Kind: I16, Doc: "in: room, out: delivered"},
		{Name: "pad", Go: "Pad", Kind: I16, Doc: "counts for nothing"},
		{Name: "cmds", Kind: Struct, Of: "scst_user_get_cmd", Flex: true},
	}},
}

// Ioctls are the ioctl numbers (rule R1).
var Ioctls = []Ioctl{
	{"SCST_USER_REGISTER_DEVICE", "W", 'u', 1, "scst_user_dev_desc"},
	{"SCST_USER_UNREGISTER_DEVICE", "", 'u', 2, ""},
	{"SCST_USER_SET_OPTIONS", "W", 'u', 3, "scst_user_opt"},
	{"SCST_USER_GET_OPTIONS", "R", 'u', 4, "scst_user_opt"},
	{"SCST_USER_REPLY_AND_GET_CMD", "WR", 'u', 5, "scst_user_get_cmd"},
	{"SCST_USER_REPLY_CMD", "W", 'u', 6, "scst_user_reply_cmd"},
	{"SCST_USER_FLUSH_CACHE", "", 'u', 7, ""},
	{"SCST_USER_DEVICE_CAPACITY_CHANGED", "", 'u', 8, ""},
	{"SCST_USER_GET_EXTENDED_CDB", "WR", 'u', 9, "scst_user_get_ext_cdb"},
	{"SCST_USER_PREALLOC_BUFFER", "WR", 'u', 10, "scst_user_prealloc_buffer"},
	{"SCST_USER_REPLY_AND_GET_MULTI", "WR", 'u', 11, "scst_user_get_multi"},
}

// Subcodes are the subcommands' numbers (rule R2).
var Subcodes = []Ioctl{
	{"SCST_USER_ATTACH_SESS", "R", 's', 0x20, "scst_user_sess"},
	{"SCST_USER_DETACH_SESS", "R", 's', 0x21, "scst_user_sess"},
	{"SCST_USER_PARSE", "WR", 's', 1, "scst_user_scsi_cmd_parse"},
	{"SCST_USER_ALLOC_MEM", "WR", 's', 2, "scst_user_scsi_cmd_alloc_mem"},
	{"SCST_USER_EXEC", "WR", 's', 3, "scst_user_scsi_cmd_exec"},
	{"SCST_USER_ON_FREE_CMD", "R", 's', 4, "scst_user_scsi_on_free_cmd"},
	{"SCST_USER_ON_CACHED_MEM_FREE", "R", 's', 5, "scst_user_on_cached_mem_free"},
	{"SCST_USER_EXT_COPY_REMAP", "WR", 's', 6, "scst_user_ext_copy_remap"},
	{"SCST_USER_TASK_MGMT_RECEIVED", "WR", 's', 8, "scst_user_tm"},
	{"SCST_USER_TASK_MGMT_DONE", "WR", 's', 9, "scst_user_tm"},
}
