package scsi

import "testing"

// What may be sent to a second handler, and what must not be.
func TestRepeatable(t *testing.T) {
	for _, x := range []struct {
		name string
		cdb  []byte
		want bool
	}{
		{"empty", nil, true},
		{"TEST UNIT READY", []byte{0x00}, true},
		{"READ(6)", []byte{0x08}, true},
		{"READ(10)", []byte{0x28}, true},
		{"WRITE(16) with FUA", write16Bytes(true), true},
		{"WRITE SAME(16)", []byte{0x93}, true},
		{"UNMAP", []byte{0x42}, true},
		{"SYNCHRONIZE CACHE(10)", []byte{0x35}, true},
		{"VERIFY(12)", []byte{0xAF}, true},
		{"START STOP UNIT", []byte{0x1B}, true},
		{"PRE-FETCH(16)", []byte{0x90}, true},
		{"READ CAPACITY(16)", []byte{0x9E, 0x10}, true},
		{"GET LBA STATUS", []byte{0x9E, 0x12}, true},
		{"unknown service action", []byte{0x9E, 0x11}, false},
		{"service action cut off", []byte{0x9E}, false},
		{"REPORT SUPPORTED OPERATION CODES", []byte{0xA3, 0x0C}, true},
		{"PERSISTENT RESERVE IN", []byte{0x5E}, true},
		{"PERSISTENT RESERVE OUT", []byte{0x5F}, false},
		{"RESERVE(6)", []byte{0x16}, false},
		{"RELEASE(10)", []byte{0x57}, false},
		{"MODE SELECT(6)", []byte{0x15}, false},
		{"COMPARE AND WRITE", []byte{0x89}, false},
		{"EXTENDED COPY", []byte{0x83}, false},
		{"XDWRITEREAD(10)", []byte{0x53}, false},
		{"FORMAT UNIT", []byte{0x04}, false},
		{"vendor specific", []byte{0xC1}, false},
	} {
		if got := Repeatable(x.cdb); got != x.want {
			t.Errorf("%s: %v, want %v", x.name, got, x.want)
		}
	}
}

// write16Bytes is a WRITE(16) as bytes.
func write16Bytes(fua bool) []byte {
	cdb := EncodeWrite16(0, 1, fua)
	return cdb.Slice()
}
