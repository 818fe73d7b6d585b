package main

import (
	"slices"
	"testing"
)

func TestRotated(t *testing.T) {
	list := []int{1, 2, 3}
	for n, want := range [][]int{{1, 2, 3}, {2, 3, 1}, {3, 1, 2}, {1, 2, 3}} {
		if got := rotated(list, n); !slices.Equal(got, want) {
			t.Errorf("by %d: got %v, want %v", n, got, want)
		}
	}
	if !slices.Equal(list, []int{1, 2, 3}) {
		t.Errorf("the list was changed to %v", list)
	}
}
