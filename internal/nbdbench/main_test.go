package main

import (
	"context"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"scstuser/internal/proc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestUsage(t *testing.T) {
	tests := []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"-h"}, exitOK, "-rounds"},
		{[]string{"-no-such"}, exitUsage, "-no-such"},
		{[]string{"more"}, exitUsage, `"more"`},
		{[]string{"-rounds=0"}, exitUsage, "-rounds"},
		{[]string{"-time=1ms"}, exitUsage, "-time"},
		{[]string{"-image-size=1"}, exitUsage, "MiB"},
		{[]string{"-points=all"}, exitUsage, "rr1,"},
		{[]string{"-json", "-md"}, exitUsage, "exclude"},
		{[]string{"-require=-1"}, exitUsage, "-require"},
		{[]string{"-client=dd"}, exitUsage, "fio, load, both"},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			var stdout, stderr strings.Builder
			status := run(context.Background(), tt.args, &stdout, &stderr)
			if status != tt.status || stdout.Len() != 0 || !strings.Contains(stderr.String(), tt.says) {
				t.Errorf("status %d, %q, %q; want status %d and %q on standard error",
					status, stdout.String(), stderr.String(), tt.status, tt.says)
			}
		})
	}
}

// TestBenchmark runs two points once, for as short as it goes.
func TestBenchmark(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts servers")
	}
	for _, tool := range []string{"fio", "nbdkit", "qemu-nbd", "nbdcopy"} {
		if err := proc.FindTool(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	args := []string{
		"-rounds=1", "-time=100ms", "-image-size=4MiB", "-points=rr16,sw4", "-dir=" + t.TempDir(), "-require=0.001",
	}
	var stdout, stderr strings.Builder
	if status := run(context.Background(), args, &stdout, &stderr); status != exitOK {
		t.Fatalf("status %d\n%s%s", status, stdout.String(), stderr.String())
	}
	for _, want := range []string{"rr16", "sw4", ours, "nbdkit", "qemu-nbd/threads", "go-nbd", "nbdload, Rate", "Peak memory"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the tables lack %q:\n%s", want, stdout.String())
		}
	}
}

func TestBenchmarkInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var stdout, stderr strings.Builder
	status := run(ctx, []string{"-image-size=1MiB", "-dir=" + t.TempDir()}, &stdout, &stderr)
	if status != exitFailed || !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("status %d, %q", status, stderr.String())
	}
}
