// Package abi is the scst_user interface as bytes: ioctl numbers, subcodes and
// structures as a C program on x86-64 sees them (little endian, natural
// alignment; rules R1 to R5), and their translation to and from package ucmd's
// Go forms. It is pure: no memory of another process is touched here, no file
// opened, no goroutine started; everything may be called from anywhere.
//
// # Layers
//
//   - structs_gen.go: one Go type per structure, with Encode and Decode by
//     explicit offsets. Generated, like scst_user_abi.h for C programs, from
//     the tables in internal/layout; tests compare offsets and sizes with a C
//     compiler's.
//   - union.go: the two structures that hold unions, get_cmd and reply_cmd, as
//     Command and Answer with one pointer per alternative: for traces.
//   - subcommand.go, reply.go, replyencode.go: the hot path. Bytes of get_cmd and reply_cmd
//     straight to and from ucmd.Subcommand and ucmd.Reply, without allocating
//     (but for the names of ATTACH_SESS).
//   - get.go: where the pieces of REPLY_AND_GET_CMD and _MULTI are.
//   - desc.go: dev_desc and opt to and from ucmd.Desc and ucmd.Opt.
//   - identity.go: who may register: version and license strings.
//
// # Who calls what
//
// A host (the node) gets reply_cmd bytes: DecodeReply fills in what they say
// and returns the addresses of what they point to, with lengths that are
// already limited; the host reads that memory and sets Reply.Sense (BadSense
// if it can't be read), or calls SetWriteSame or SetRemap. It answers with
// EncodeSubcommand. A client does the inverse: EncodeReply with the places
// where it has put sense data and descriptors, and DecodeSubcommand.
//
// # Padding
//
// Encode writes padding as zeros and Decode does not look at it. What lies
// beyond the payload of a subcommand is neither read nor written (rule R4).
package abi

//go:generate go run ./internal/generate
