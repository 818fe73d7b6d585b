package sample

import (
	"slices"
	"testing"
)

func TestNew(t *testing.T) {
	tests := []struct {
		values         []float64
		median, spread float64
	}{
		{nil, 0, 0},
		{[]float64{7}, 7, 0},
		{[]float64{3, 1}, 2, 0.5},
		{[]float64{9, 10, 14}, 10, 0.25},
		{[]float64{4, 1, 3, 2}, 2.5, 0.6},
		{[]float64{0, 0}, 0, 0},
	}
	for _, tt := range tests {
		before := slices.Clone(tt.values)
		got := New(tt.values)
		if got.Median != tt.median || got.Spread != tt.spread {
			t.Errorf("%v: got %+v, want %v and %v", tt.values, got, tt.median, tt.spread)
		}
		if !slices.Equal(tt.values, before) {
			t.Errorf("%v was changed to %v", before, tt.values)
		}
	}
}

func TestFormat(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0.00", 1.234: "1.23", 9.994: "9.99", 9.996: "10.0", 12.34: "12.3",
		99.94: "99.9", 99.96: "100", 1234.5: "1234", 123456: "123456",
	} {
		if got := Format(v); got != want {
			t.Errorf("%v: got %q, want %q", v, got, want)
		}
	}
}
