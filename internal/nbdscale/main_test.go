package main

import (
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTable(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts servers")
	}
	var stdout, stderr strings.Builder
	if err := run(t.Context(), []string{"-most=20", "-rounds=1", "-time=200ms"}, &stdout, &stderr); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	var got []string
	for _, l := range lines[2:] {
		cells := strings.Split(l, " | ")
		got = append(got, strings.Join(cells[:3], " "))
		if strings.HasPrefix(cells[3], "0.00") || strings.HasSuffix(l, "| 0 |") {
			t.Errorf("nothing was measured: %s", l)
		}
	}
	want := "| 1 1 1,| 10 1 1,| 20 1 1,| 1 1 20,| 10 10 20,| 20 20 20"
	if strings.Join(got, ",") != want {
		t.Errorf("rows %q, want %q", got, want)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"-most=0"}, {"-most=1025"}, {"-rounds=0"}, {"-time=1ms"}, {"more"}, {"-no-such"}} {
		var stdout, stderr strings.Builder
		if err := run(t.Context(), args, &stdout, &stderr); err == nil || stdout.Len() > 0 {
			t.Errorf("%q: %v", args, err)
		}
	}
}
