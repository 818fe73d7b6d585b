package main

import (
	"strings"
	"testing"
)

const output = `goos: linux
cpu: A Processor
BenchmarkLifecycle/Read4K/goroutines=1/devices=1-2   	 932205	       400.0 ns/op	 401 cpu-ns/op	       0 B/op	       0 allocs/op
BenchmarkLifecycle/Read4K/goroutines=1/devices=1-2   	 932205	       9000 ns/op	 500 cpu-ns/op	       0 B/op	       0 allocs/op
BenchmarkLifecycle/Read4K/goroutines=1/devices=1-2   	 932205	       300.0 ns/op	 300 cpu-ns/op	       0 B/op	       0 allocs/op
BenchmarkLifecycle/Read4K/goroutines=2/devices=1-2   	 932205	       200.0 ns/op	 390.4 cpu-ns/op	       0 B/op	       0 allocs/op
BenchmarkLifecycle/Read4K/goroutines=1/devices=10-2   	 932205	       500.0 ns/op	 500.0 cpu-ns/op	       0 B/op	       0 allocs/op
BenchmarkOther/Read4K 1 1 ns/op
PASS
ok  	scstuser/handlers	2.800s
`

const tables = `A Processor, 2 processors. Nanoseconds per command (of processor time), median of 3.

| Read4K | 1 goroutine | 2 goroutines |
|---|---|---|
| 1 device | 400 (401) | 200 (390) |
| 10 devices | 500 (500) | - |

Allocations per command: 0.
`

func TestTables(t *testing.T) {
	var out strings.Builder
	if err := run(strings.NewReader(output), &out, 401); err != nil {
		t.Fatal(err)
	}
	if out.String() != tables {
		t.Errorf("got:\n%s\nwant:\n%s", &out, tables)
	}
}

func TestFailures(t *testing.T) {
	const one = "BenchmarkLifecycle/Read4K/goroutines=1/devices=1 \t 5 \t 2000 ns/op \t 2000 cpu-ns/op \t 64 B/op \t 2 allocs/op\n"
	for name, tc := range map[string]struct {
		in    string
		limit float64
		want  string // "": no error
	}{
		"nothing":        {"PASS\n", 0, "no BenchmarkLifecycle results"},
		"failed":         {output + "FAIL\tscstuser/handlers\n", 0, "the benchmarks failed"},
		"failed inside":  {"--- FAIL: BenchmarkLifecycle\n" + output, 0, "the benchmarks failed"},
		"no allocations": {strings.Replace(one, "2 allocs/op", "", 1), 0, "no allocs/op"},
		"too slow":       {one, 1999, "Read4K takes 2000 ns of processor time"},
		"allocates":      {one, 2000, "allocates 2 times"},
		"no limit":       {one, 0, ""},
		"huge count":     {strings.Replace(one, "goroutines=1", "goroutines=99999999999999999999", 1), 0, "out of range"},
	} {
		t.Run(name, func(t *testing.T) {
			err := run(strings.NewReader(tc.in), &strings.Builder{}, tc.limit)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
