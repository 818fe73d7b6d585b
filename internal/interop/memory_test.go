package interop

import (
	"strings"
	"testing"

	"scstuser/internal/proc"
)

// TestMemoryStaysSmall serves a large image to four connections with 64
// requests in flight on each. 8 MiB of that is payload on average.
func TestMemoryStaysSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("writes a lot")
	}
	const limit = 64 * mib
	for _, args := range [][]string{
		nil,
		{"--inline=false"},
		{"--mem_reuse=none", "--on_free=call"},
	} {
		t.Run(strings.Join(args, ""), func(t *testing.T) {
			if args != nil {
				fileioOnly(t)
			}
			s := serve(t, proc.Config{Files: []string{emptyImage(t, 10*gib)}, Args: args})
			run(t, "fio", "--name=load", "--ioengine=nbd", "--uri="+s.URI(""), "--thread", "--group_reporting",
				"--rw=randrw", "--bsrange=4k-64k", "--blockalign=4k", "--iodepth=64", "--numjobs=4",
				"--norandommap", "--size=10g", "--io_size=160m")
			u, err := s.Usage()
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("peak %d KiB, now %d KiB", u.PeakRSS/kib, u.RSS/kib)
			if u.PeakRSS >= limit {
				t.Errorf("the server needed %d MiB at a time, want less than %d", u.PeakRSS/mib, limit/mib)
			}
		})
	}
}
