package scsi

import (
	"encoding/hex"
	"testing"

	"pgregory.net/rapid"
)

func TestSenseGolden(t *testing.T) {
	tests := []struct {
		s                 Sense
		fixed, descriptor string
	}{
		{SenseNone,
			"70000000000000" + "0a" + "00000000" + "0000" + "00" + "000000",
			"7200000000000000"},
		{SenseLUNotSupported,
			"70000500000000" + "0a" + "00000000" + "2500" + "00" + "000000",
			"7205250000000000"},
		{SenseInvalidFieldInCDB.AtCDB(2, 5),
			"70000500000000" + "0a" + "00000000" + "2400" + "00" + "cd0002",
			"7205240000000008" + "02060000cd000200"},
		{SenseInvalidFieldInParameterList.AtParameter(0x102, -1),
			"70000500000000" + "0a" + "00000000" + "2600" + "00" + "800102",
			"7205260000000008" + "0206000080010200"},
		{SenseReadError.WithInfo(0x01020304),
			"f0000301020304" + "0a" + "00000000" + "1100" + "00" + "000000",
			"720311000000000c" + "000a80000000000001020304"},
		{Sense{Key: KeyMediumError, ASC: ASCWriteError, Deferred: true}.WithInfo(1 << 40),
			"71000300000000" + "0a" + "00000000" + "0c00" + "00" + "000000",
			"73030c000000000c" + "000a80000000010000000000"},
	}
	for _, tt := range tests {
		if got := hex.EncodeToString(tt.s.AppendFixed(nil)); got != tt.fixed {
			t.Errorf("%v fixed:\n got %s\nwant %s", tt.s, got, tt.fixed)
		}
		if got := hex.EncodeToString(tt.s.AppendDescriptor(nil)); got != tt.descriptor {
			t.Errorf("%v descriptor:\n got %s\nwant %s", tt.s, got, tt.descriptor)
		}
	}
}

func TestPredefinedSense(t *testing.T) {
	for _, tt := range []struct {
		s    Sense
		want string
	}{
		{SenseLUNotSupported, "052500"}, {SenseInvalidOpcode, "052000"}, {SenseInvalidFieldInCDB, "052400"},
		{SenseInvalidFieldInParameterList, "052600"}, {SenseParameterListLength, "051a00"}, {SenseLBAOutOfRange, "052100"},
		{SenseWriteProtected, "072700"}, {SenseWriteError, "030c00"}, {SenseReadError, "031100"}, {SenseSpaceAllocFailed, "072707"},
		{SenseHardwareInternalFailure, "044400"}, {SenseAbortedInternalFailure, "0b4400"}, {SenseMiscompare, "0e1d00"},
		{SensePowerOnReset, "062900"}, {SenseDeviceInternalReset, "062904"}, {SenseNexusLoss, "062907"},
		{SenseModeParametersChanged, "062a01"}, {SenseCapacityChanged, "062a09"}, {SenseCommandsClearedByOther, "062f00"},
		{SenseReportedLUNsChanged, "063f0e"}, {SenseNotReady, "020402"}, {SenseSavingNotSupported, "053900"},
	} {
		b := tt.s.AppendFixed(nil)
		if got := hex.EncodeToString([]byte{b[2], b[12], b[13]}); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.s, got, tt.want)
		}
		if _, ok := ascNames[tt.s.ASC]; !ok {
			t.Errorf("%v has no name", tt.s)
		}
	}
}

func TestSenseString(t *testing.T) {
	s := SenseInvalidFieldInCDB.AtCDB(1, 4)
	s.Deferred = true
	want := "deferred ILLEGAL REQUEST, INVALID FIELD IN CDB (5/24/00), cdb byte 1 bit 4"
	if got := s.String(); got != want {
		t.Errorf("%q", got)
	}
	if got, want := SenseReadError.WithInfo(7).String(), "MEDIUM ERROR, UNRECOVERED READ ERROR (3/11/00), information 7"; got != want {
		t.Errorf("%q", got)
	}
	if !s.Is(SenseInvalidFieldInCDB) || s.Is(SenseInvalidOpcode) {
		t.Error("Is looks at more than key and code")
	}
}

func drawSense(t *rapid.T, maxInfo uint64) Sense {
	s := Sense{
		Key:      SenseKey(rapid.Uint8Range(0, 15).Draw(t, "key")),
		ASC:      ASC(rapid.Uint16().Draw(t, "asc")),
		Deferred: rapid.Bool().Draw(t, "deferred"),
	}
	if rapid.Bool().Draw(t, "has info") {
		s = s.WithInfo(rapid.Uint64Max(maxInfo).Draw(t, "info"))
	}
	if s.Key == KeyIllegalRequest && rapid.Bool().Draw(t, "has field") {
		at, bit := rapid.Uint16().Draw(t, "at"), rapid.Int8Range(-1, 7).Draw(t, "bit")
		if s = s.AtCDB(at, bit); rapid.Bool().Draw(t, "param") {
			s = s.AtParameter(at, bit)
		}
	}
	return s
}

func TestSenseRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSense(t, 1<<32-1)
		for _, dSense := range []bool{false, true} {
			b := s.Append(nil, dSense)
			if got, err := ParseSense(b); err != nil || got != s {
				t.Fatalf("%v encoded as % x, parsed as %v, %v", s, b, got, err)
			}
		}
		wide := drawSense(t, 1<<64-1)
		if got, err := ParseSense(wide.AppendDescriptor(nil)); err != nil || got != wide {
			t.Fatalf("%v parsed as %v, %v", wide, got, err)
		}
	})
}

func TestParseSenseOddities(t *testing.T) {
	tests := []struct {
		name, b string
		want    Sense
		err     error
	}{
		{"nothing", "", Sense{}, ErrShortSense},
		{"unknown response code", "7f00050000", Sense{}, ErrNoSense},
		{"no response code", "000005000000000a00000000250000000000", Sense{}, ErrNoSense},
		{"fixed without key", "7000", Sense{}, ErrShortSense},
		{"fixed cut after the key", "700006", Sense{Key: KeyUnitAttention}, nil},
		{"fixed without code", "7000060000000004" + "00000000" + "2900", Sense{Key: KeyUnitAttention}, nil},
		{"fixed without qualifier", "7000060000000005" + "00000000" + "29ff", Sense{Key: KeyUnitAttention, ASC: 0x2900}, nil},
		{"fixed field pointer of another key", "70000200000000" + "0a" + "00000000" + "0401" + "00" + "80ffff", SenseBecomingReady, nil},
		{"descriptor cut after the key", "7206", Sense{Key: KeyUnitAttention}, nil},
		{"descriptor without key", "72", Sense{}, ErrShortSense},
		{"unknown descriptor is skipped", "720526000000000c" + "80020102" + "0206000080000100", SenseInvalidFieldInParameterList.AtParameter(1, -1), nil},
		{"descriptor runs past the end", "7205260000000004" + "020600008000", SenseInvalidFieldInParameterList, errSenseDescriptor},
	}
	for _, tt := range tests {
		got, err := ParseSense(fromHex(t, tt.b))
		if got != tt.want || err != tt.err {
			t.Errorf("%s: %v, %v", tt.name, got, err)
		}
	}
}

func FuzzParseSense(f *testing.F) {
	for _, s := range []Sense{SenseNone, SenseInvalidFieldInCDB.AtCDB(2, 5), SenseReadError.WithInfo(7)} {
		f.Add(s.AppendFixed(nil))
		f.Add(s.AppendDescriptor(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSense(b)
		if err != nil {
			return
		}
		again, err := ParseSense(s.AppendDescriptor(nil))
		if err != nil || again != s {
			t.Fatalf("% x: %v, then %v, %v", b, s, again, err)
		}
		_ = s.String()
	})
}

func TestSenseAppendDoesNotAllocate(t *testing.T) {
	s := SenseInvalidFieldInCDB.AtCDB(1, 2).WithInfo(3)
	buf := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() {
		_ = s.AppendFixed(buf)
		_ = s.AppendDescriptor(buf)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
