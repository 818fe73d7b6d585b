package ucmd

import (
	"math/rand/v2"

	"scstuser/scsi"
)

// chaosCorruption is one way in which a reply can be wrong.
type chaosCorruption struct {
	name string
	do   func(x *chaos, r *rand.Rand, s *Subcommand, reply *Reply)
}

// anyLen is a length that makes no sense, or nearly makes sense.
func anyLen(r *rand.Rand, good int32) int32 {
	return []int32{0, 1, -1, -good, good + 1, 2 * good, 1<<31 - 1, -1 << 31, int32(r.Uint32())}[r.IntN(9)]
}

// anyLen64 is the same for the fields that have 64 bits.
func anyLen64(r *rand.Rand, good int64) int64 {
	return []int64{0, -1, -good, good + 1, 1<<63 - 1, -1 << 63, r.Int64()}[r.IntN(7)]
}

// chaosCorruptions spoil each field of each kind of reply. What a field means
// for a subcommand that has none is nothing: that is to be shown as well.
var chaosCorruptions = []chaosCorruption{
	{"wrong subcode", func(_ *chaos, r *rand.Rand, _ *Subcommand, reply *Reply) {
		reply.Code = []Subcode{SubParse, SubAllocMem, SubExec, SubOnFree, SubOnCachedMemFree, SubTMDone, 0, 0x7f}[r.IntN(8)]
	}},
	{"wrong handle", func(x *chaos, r *rand.Rand, _ *Subcommand, reply *Reply) {
		if x.plan.liar { // else its own command is never answered
			reply.Handle += []uint32{1, ^uint32(0), r.Uint32()}[r.IntN(3)]
		}
	}},
	{"pbuf", func(_ *chaos, r *rand.Rand, _ *Subcommand, reply *Reply) {
		reply.PBuf = []uint64{0, 0x1000, 0x1001, 1<<64 - 4096, 1<<64 - 1, reply.PBuf + 1, reply.PBuf + PageSize, reply.PBuf + 512}[r.IntN(8)]
	}},
	{"the pbuf of another command", func(x *chaos, _ *rand.Rand, s *Subcommand, reply *Reply) {
		if x.plan.liar && reply.PBuf != 0 {
			reply.PBuf = x.mem.anyTaken(reply.PBuf)
		}
	}},
	{"a short pbuf", func(x *chaos, _ *rand.Rand, s *Subcommand, reply *Reply) {
		if s.AllocLen > 1 && reply.PBuf != 0 {
			reply.PBuf = x.mem.alloc(int(s.AllocLen) - 1)
		}
	}},
	{"resp_data_len", func(_ *chaos, r *rand.Rand, s *Subcommand, reply *Reply) {
		reply.RespDataLen = anyLen(r, s.BufLen)
	}},
	{"status", func(_ *chaos, r *rand.Rand, _ *Subcommand, reply *Reply) { reply.Status = scsi.Status(r.Uint32()) }},
	{"sense", func(_ *chaos, r *rand.Rand, _ *Subcommand, reply *Reply) {
		reply.Status = scsi.CheckCondition
		reply.Sense = append(scsi.SenseInvalidFieldInCDB.AppendFixed(nil), make([]byte, 400)...)[:[]int{0, 1, 7, 18, 252, 253, 400}[r.IntN(7)]]
		reply.BadSense = r.IntN(2) == 0
	}},
	{"sense of noise", func(_ *chaos, r *rand.Rand, _ *Subcommand, reply *Reply) {
		reply.Status, reply.Sense = scsi.CheckCondition, make([]byte, r.IntN(64))
		for i := range reply.Sense {
			reply.Sense[i] = byte(r.Uint32())
		}
	}},
	{"reply type", func(_ *chaos, r *rand.Rand, _ *Subcommand, reply *Reply) {
		reply.Type = []ReplyType{0, ReplyBackground, ReplyDoWriteSame, 4, ReplyType(r.Uint32())}[r.IntN(5)]
	}},
	{"write same descriptors", func(_ *chaos, r *rand.Rand, s *Subcommand, reply *Reply) {
		reply.Type = ReplyDoWriteSame
		for range r.IntN(4) {
			reply.WriteSame = append(reply.WriteSame, WriteSameDescr{s.LBA + r.Uint64()>>r.IntN(64), r.Uint64() >> r.IntN(64)})
		}
		if r.IntN(2) == 0 {
			reply.WriteSame = append(reply.WriteSame, WriteSameDescr{})
		}
		reply.WSLen = writeSameDescrSize * int32(len(reply.WriteSame))
		if r.IntN(2) == 0 {
			reply.WSLen = anyLen(r, reply.WSLen)
		}
	}},
	{"remap descriptors", func(_ *chaos, r *rand.Rand, _ *Subcommand, reply *Reply) {
		reply.Remap = []DataDescr{{r.Uint64(), r.Uint64(), anyLen(r, 512)}}
		reply.RemapLen = anyLen(r, 24)
	}},
	{"result", func(_ *chaos, r *rand.Rand, _ *Subcommand, reply *Reply) { reply.Result = anyLen(r, 12) }},
	{"parse: lengths", func(_ *chaos, r *rand.Rand, s *Subcommand, reply *Reply) {
		switch r.IntN(4) {
		case 0:
			reply.BufLen = anyLen(r, s.BufLen)
		case 1:
			reply.OutBufLen = anyLen(r, s.BufLen)
		case 2:
			reply.DataLen = anyLen64(r, s.DataLen)
		case 3:
			reply.LBA = anyLen64(r, int64(s.LBA))
		}
	}},
	{"parse: small lengths of any direction", func(_ *chaos, r *rand.Rand, _ *Subcommand, reply *Reply) {
		reply.BufLen, reply.OutBufLen = int32(r.Uint32()>>(16+r.IntN(16))), int32(r.Uint32()>>(16+r.IntN(16)))
		reply.Dir = scsi.Dir(1 + r.IntN(4))
	}},
	{"parse: direction", func(_ *chaos, r *rand.Rand, _ *Subcommand, reply *Reply) { reply.Dir = scsi.Dir(r.IntN(9)) }},
	{"parse: queue type", func(_ *chaos, r *rand.Rand, _ *Subcommand, reply *Reply) { reply.QueueType = scsi.QueueType(r.IntN(9)) }},
	{"parse: flags", func(_ *chaos, r *rand.Rand, _ *Subcommand, reply *Reply) { reply.OpFlags = r.Uint32() }},
	{"parse: cdb_len", func(_ *chaos, r *rand.Rand, s *Subcommand, reply *Reply) {
		reply.CDBLen = []uint16{0, 1, s.CDBLen - 1, s.CDBLen + 1, 260, 65535}[r.IntN(6)]
	}},
}

// anyTaken is a buffer that a device has or had, if there is one.
func (m *chaosMemory) anyTaken(or uint64) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	for addr := range m.taken {
		return addr
	}
	return or
}
