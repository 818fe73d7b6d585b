package nbd

import (
	"math"
	"strings"
	"testing"
)

func TestRow08BlockSizes(t *testing.T) {
	for _, tc := range []struct {
		name           string
		min, pref, max uint32
		ok             bool
	}{
		{"protocol's defaults", 1, 4096, 32 << 20, true},
		{"least", 1, 512, 512, true},
		{"most", 65536, 1 << 31, math.MaxUint32, true},
		{"512 byte disk", 512, 4096, 32 << 20, true},
		{"4096 byte disk", 4096, 4096, 32 << 20, true},
		{"maximum need not be a power of two", 512, 4096, 4097, true},
		{"minimum 0", 0, 4096, 32 << 20, false},
		{"minimum 3", 3, 4096, 32 << 20, false},
		{"minimum beyond 65536", 131072, 131072, 32 << 20, false},
		{"preferred below 512", 1, 256, 32 << 20, false},
		{"preferred below minimum", 4096, 2048, 32 << 20, false},
		{"preferred not a power of two", 512, 5000, 32 << 20, false},
		{"preferred 0", 1, 0, 32 << 20, false},
		{"maximum below preferred", 512, 4096, 4095, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := ExportInfo{Name: "x", MinBlock: tc.min, PreferredBlock: tc.pref, MaxBlock: tc.max}.Validate()
			if (err == nil) != tc.ok {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestRow06Strings(t *testing.T) {
	for _, tc := range []struct {
		name, s string
		ok      bool
	}{
		{"empty", "", true},
		{"UTF-8", "Größe 大", true},
		{"longest", strings.Repeat("x", 4096), true},
		{"too long", strings.Repeat("x", 4097), false},
		{"NUL", "a\x00b", false},
		{"not UTF-8", "a\xffb", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			good := ExportInfo{MinBlock: 1, PreferredBlock: 4096, MaxBlock: 32 << 20}
			named, described := good, good
			named.Name, described.Description = tc.s, tc.s
			for _, e := range []ExportInfo{named, described} {
				err := e.Validate()
				if (err == nil) != tc.ok {
					t.Errorf("%v", err)
				}
				if err != nil && len(err.Error()) > 512 {
					t.Errorf("a message of %d bytes", len(err.Error()))
				}
			}
		})
	}
}
