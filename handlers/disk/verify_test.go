package disk

import (
	"testing"

	"scstuser/scsi"
)

func TestVerify(t *testing.T) {
	f := newFixture(t, full)
	same := f.m.data[4*512 : 8*512]
	other := append([]byte(nil), same...)
	other[2*512+100] ^= 1
	for _, op := range []scsi.Opcode{scsi.OpVerify10, scsi.OpVerify12, scsi.OpVerify16} {
		c := scsi.Command{Op: op, LBA: 4, Blocks: 4}
		f.good(cdb(c), nil)
		c.BytChk = checkBytes
		f.good(cdb(c), same)
		f.fails(scsi.SenseMiscompare.WithInfo(6), cdb(c), other)
		c.BytChk = 2
		f.fails(senseBytChk, cdb(c), same)
		c.BytChk = checkPattern
		f.fails(scsi.SenseMiscompare.WithInfo(5), cdb(c), same[:512])
		c.Blocks = 1
		f.good(cdb(c), same[:512])
		c.Blocks = 0
		f.good(cdb(c), nil)
	}
}

func TestVerifyOfMoreThanAChunk(t *testing.T) {
	f := newFixture(t, full, func(m *mem, o *Options) { *m = *newMem(3*chunkSize + 512) })
	n := uint64(len(f.m.data) / 512)
	f.good(cdb(scsi.Command{Op: scsi.OpVerify16, Blocks: n}), nil)
	f.good(cdb(scsi.Command{Op: scsi.OpVerify16, BytChk: checkBytes, Blocks: n}), f.m.data)
	other := append([]byte(nil), f.m.data...)
	other[len(other)-1] ^= 1
	f.fails(scsi.SenseMiscompare.WithInfo(n-1), cdb(scsi.Command{Op: scsi.OpVerify16, BytChk: checkBytes, Blocks: n}), other)

	f.good(cdb(scsi.Command{Op: scsi.OpWriteSame16, Blocks: n}), pattern(7, 1))
	f.good(cdb(scsi.Command{Op: scsi.OpVerify16, BytChk: checkPattern, Blocks: n}), pattern(7, 1))
	f.m.data[chunkSize+512] ^= 1
	f.fails(scsi.SenseMiscompare.WithInfo(chunkSize/512+1), cdb(scsi.Command{Op: scsi.OpVerify16, BytChk: checkPattern, Blocks: n}), pattern(7, 1))
}

func TestWriteAndVerify(t *testing.T) {
	for _, op := range []scsi.Opcode{scsi.OpWriteVerify10, scsi.OpWriteVerify12, scsi.OpWriteVerify16} {
		f := newFixture(t, full)
		c := scsi.Command{Op: op, LBA: 2, Blocks: 3, BytChk: checkBytes}
		f.good(cdb(c), pattern(1, 3))
		c.BytChk = 0
		f.good(cdb(c), pattern(2, 3))
		if string(f.m.data[2*512:5*512]) != string(pattern(2, 3)) {
			t.Errorf("%v wrote other data", op)
		}
		c.BytChk = checkPattern
		f.fails(senseBytChk, cdb(c), pattern(3, 3))
		c.BytChk = checkBytes
		f.m.onWrite = func() { f.m.data[3*512] ^= 1 } // a medium that forgets
		f.fails(scsi.SenseMiscompare.WithInfo(3), cdb(c), pattern(4, 3))
	}
}
