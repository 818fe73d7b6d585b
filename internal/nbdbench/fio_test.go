package main

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseFio(t *testing.T) {
	out, err := os.ReadFile("testdata/fio-read.txt")
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseFio(out, false)
	want := Measurement{
		Requests: 164333, IOPS: 164004.990020, BytesPerSecond: 671764439, P99: 667648 * time.Nanosecond,
	}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestParseFioRefuses(t *testing.T) {
	good, err := os.ReadFile("testdata/fio-read.txt")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		out   string
		write bool
		want  string
	}{
		{"no JSON", "fio: engine nbd not loadable\n", false, "no JSON"},
		{"cut short", string(good[:len(good)/2]), false, "unexpected end"},
		{"no jobs", "{}", false, "0 groups"},
		{"an error", strings.Replace(string(good), `"error" : 0`, `"error" : 107`, 1), false, "error 107"},
		{"the other direction", string(good), true, "no request"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseFio([]byte(tt.out), tt.write)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %+v, %v; want an error with %q", got, err, tt.want)
			}
		})
	}
}

func TestFioArgs(t *testing.T) {
	tests := []struct {
		p    Point
		want []string
	}{
		{Point{Name: "a", Random: true, BlockSize: 4096, Depth: 16, Jobs: 4},
			[]string{"--rw=randread", "--bs=4096", "--iodepth=16", "--numjobs=4"}},
		{Point{Name: "b", Random: true, Write: true, BlockSize: 4096, Depth: 1, Jobs: 1},
			[]string{"--rw=randwrite", "--iodepth=1", "--numjobs=1"}},
		{Point{Name: "c", Write: true, BlockSize: 1 << 20, Depth: 4, Jobs: 1},
			[]string{"--rw=write", "--bs=1048576"}},
	}
	for _, tt := range tests {
		args := fioArgs("nbd+unix:///?socket=s", 1<<29, tt.p, 1500*time.Millisecond)
		want := append(tt.want, "--ioengine=nbd", "--uri=nbd+unix:///?socket=s",
			"--size=536870912", "--time_based", "--runtime=1500ms")
		for _, w := range want {
			if !slices.Contains(args, w) {
				t.Errorf("%s: %q lacks %q", tt.p.Name, args, w)
			}
		}
	}
}
