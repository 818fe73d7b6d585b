package main

import (
	"strings"
	"testing"
)

func TestParsePoints(t *testing.T) {
	all, err := parsePoints(pointNames(allPoints))
	if err != nil || len(all) != len(allPoints) {
		t.Errorf("all points: got %d, %v", len(all), err)
	}
	two, err := parsePoints("sw4,rr1")
	if err != nil || pointNames(two) != "sw4,rr1" {
		t.Errorf("two points: got %v, %v, want them in the order given", two, err)
	}
	for text, want := range map[string]string{
		"":         `no point is called ""`,
		"rr1,":     `no point is called ""`,
		"rr2":      "rr1,rr16",
		"rr1,rr1":  "twice",
		"rr1, rr1": `" rr1"`,
	} {
		if got, err := parsePoints(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v; want an error with %q", text, got, err, want)
		}
	}
}

func TestPointTitle(t *testing.T) {
	titles := map[string]string{
		"rr1":      "4 KiB random read, depth 1",
		"rr16x4":   "4 KiB random read, depth 16 x 4",
		"rr16-64k": "64 KiB random read, depth 16",
		"rw64":     "4 KiB random write, depth 64",
		"sw4":      "1 MiB sequential write, depth 4",
	}
	for _, p := range allPoints {
		if want, ok := titles[p.Name]; ok && p.Title() != want {
			t.Errorf("%s: got %q, want %q", p.Name, p.Title(), want)
		}
	}
}

func TestParseSize(t *testing.T) {
	tests := []struct {
		text string
		want int64
	}{
		{"512MiB", 512 << 20},
		{"512M", 512 << 20},
		{"2GiB", 2 << 30},
		{"1048576", 1 << 20},
		{"1024KiB", 1 << 20},
		{"1024GiB", 1 << 40},
		{"", 0},
		{"MiB", 0},
		{"0", 0},
		{"-1MiB", 0},
		{"1.5GiB", 0},
		{"4096", 0},
		{"1025GiB", 0},
		{"9223372036854775807GiB", 0},
		{"1MiBx", 0},
	}
	for _, tt := range tests {
		got, err := parseSize(tt.text)
		if got != tt.want || (err == nil) != (tt.want != 0) {
			t.Errorf("%q: got %d, %v; want %d", tt.text, got, err, tt.want)
		}
	}
}

func TestFormatSize(t *testing.T) {
	for n, want := range map[int64]string{
		512 << 20: "512 MiB", 2 << 30: "2 GiB", 4096: "4 KiB", 1000: "1000 B", 1536 << 20: "1536 MiB",
	} {
		if got := formatSize(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}
