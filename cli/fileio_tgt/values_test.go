package main

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseSize(t *testing.T) {
	tests := []struct {
		text string
		unit int64
		want int64
		ok   bool
	}{
		{"0", 1, 0, true},
		{"64", 1 << 20, 64 << 20, true},
		{"64K", 1 << 20, 64 << 10, true},
		{"64KiB", 1, 64 << 10, true},
		{"1gb", 1, 1 << 30, true},
		{"8388607T", 1, 8388607 << 40, true},
		{"8388608T", 1, 0, false},
		{"9223372036854775807", 1, math.MaxInt64, true},
		{"9223372036854775808", 1, 0, false},
		{"", 1, 0, false},
		{"M", 1, 0, false},
		{"-1", 1, 0, false},
		{"1.5M", 1, 0, false},
		{"1 M", 1, 0, false},
		{"1MM", 1, 0, false},
		{"1iB", 1, 0, false},
		{"0x10", 1, 0, false},
	}
	for _, test := range tests {
		if got, ok := parseSize(test.text, test.unit); got != test.want || ok != test.ok {
			t.Errorf("parseSize(%q, %d) = %d, %v; want %d, %v", test.text, test.unit, got, ok, test.want, test.ok)
		}
	}
}

func TestCompactSizeIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.Int64Range(0, math.MaxInt64).Draw(t, "size")
		unit := rapid.SampledFrom([]int64{1, 1 << 10, 1 << 20}).Draw(t, "unit")
		text := compactSize(want)
		if text[len(text)-1] <= '9' {
			unit = 1 // without a suffix it is in bytes
		}
		if got, ok := parseSize(text, unit); !ok || got != want {
			t.Fatalf("%d became %q became %d, %v", want, text, got, ok)
		}
	})
}

func TestCompactDurationIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := time.Duration(rapid.Int64Range(0, 1<<20).Draw(t, "seconds")) * time.Second
		text := compactDuration(want)
		var got time.Duration
		if err := (durationValue{p: &got, max: math.MaxInt64}).set(text); err != nil || got != want {
			t.Fatalf("%v became %q became %v, %v", want, text, got, err)
		}
	})
}

func TestCompactDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Second: "1s", 10 * time.Second: "10s", time.Minute: "1m", 90 * time.Second: "1m30s",
		10 * time.Minute: "10m", time.Hour: "1h", time.Hour + 30*time.Second: "1h0m30s", 24 * time.Hour: "24h",
	} {
		if got := compactDuration(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}

func TestSplitShort(t *testing.T) {
	tests := []struct{ in, want []string }{
		{[]string{"-tr"}, []string{"-t", "-r"}},
		{[]string{"-b4096"}, []string{"-b", "4096"}},
		{[]string{"-trb4096", "-fx"}, []string{"-t", "-r", "-b", "4096", "-f", "x"}},
		{[]string{"-b", "-tr", "-tr"}, []string{"-b", "-tr", "-t", "-r"}}, // the first is b's argument
		{[]string{"--block", "-tr", "-tr"}, []string{"--block", "-tr", "-t", "-r"}},
		{[]string{"-block", "-tr"}, []string{"-block", "-tr"}}, // a long name behind one dash
		{[]string{"-b=512", "-tr"}, []string{"-b=512", "-t", "-r"}},
		{[]string{"-f-"}, []string{"-f", "-"}},
		{[]string{"-tx"}, []string{"-tx"}},
		{[]string{"name", "-tr"}, []string{"name", "-tr"}},
		{[]string{"--", "-tr"}, []string{"--", "-tr"}},
		{[]string{"-", "-tr"}, []string{"-", "-tr"}},
		{[]string{"-b"}, []string{"-b"}},
		{nil, []string{}},
	}
	for _, test := range tests {
		if got := splitShort(test.in); !slices.Equal(got, test.want) {
			t.Errorf("splitShort(%q) = %q, want %q", test.in, got, test.want)
		}
	}
}

func TestSplitShortIsStable(t *testing.T) {
	word := rapid.OneOf(
		rapid.SampledFrom([]string{"-t", "-tr", "-b512", "-b", "512", "--read_only", "--block=512", "-f", "--", "-", "", "name"}),
		rapid.StringMatching(`-{0,3}[a-zA-Z0-9=]{0,4}`),
	)
	rapid.Check(t, func(t *rapid.T) {
		args := rapid.SliceOfN(word, 0, 6).Draw(t, "args")
		once := splitShort(args)
		if twice := splitShort(once); !slices.Equal(once, twice) {
			t.Fatalf("%q became %q, and that %q", args, once, twice)
		}
	})
}

func TestEditDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"blok", "block", 1}, {"tread", "threads", 2}, {"levle", "level", 2},
	} {
		if got := editDistance(test.a, test.b); got != test.want {
			t.Errorf("editDistance(%q, %q) = %d, want %d", test.a, test.b, got, test.want)
		}
	}
}
