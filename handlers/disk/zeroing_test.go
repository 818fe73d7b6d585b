package disk

import (
	"testing"

	"scstuser/handlers"
	"scstuser/scsi"
)

// slowZeroes is a medium that knows how fast it is.
type slowZeroes struct {
	withPunch
	withZero
	handlers.Backing
	punch, zero bool
}

func (s slowZeroes) FastZero() (punch, zero bool) { return s.punch, s.zero }

// Page C0h says what the medium says, and of a medium that says nothing, what
// its interfaces promise.
func TestZeroingPage(t *testing.T) {
	m := newMem(1 << 20)
	all := slowZeroes{withPunch: withPunch{m}, withZero: withZero{m}, Backing: m}
	speed := func(punch, zero bool) slowZeroes {
		s := all
		s.punch, s.zero = punch, zero
		return s
	}
	both := struct {
		withPunch
		withZero
		handlers.Backing
	}{withPunch{m}, withZero{m}, m}
	for _, tc := range []struct {
		name    string
		backing handlers.Backing
		want    scsi.Zeroing
	}{
		{"says nothing, has both", both, scsi.Zeroing{FastUnmap: true, FastKeep: true}},
		{"has neither", m, scsi.Zeroing{}},
		{"punches fast", speed(true, false), scsi.Zeroing{FastUnmap: true}},
		{"zeroes fast", speed(false, true), scsi.Zeroing{FastKeep: true}},
		{"slow", speed(false, false), scsi.Zeroing{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, err := New(tc.backing, Options{Name: "z"})
			if err != nil {
				t.Fatal(err)
			}
			c := scsi.Command{Op: scsi.OpInquiry, EVPD: true, Page: scsi.VPDZeroing}
			b, ok := d.inquiryData(&c)
			if !ok {
				t.Fatal("there is no such page")
			}
			if got, err := scsi.ParseVPDZeroing(b); err != nil || got != tc.want {
				t.Errorf("%+v (%v), want %+v", got, err, tc.want)
			}
		})
	}
}
