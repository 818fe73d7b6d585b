package interop

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"scstuser/internal/proc"
)

// roundTrip copies an image in with the writes of one client, changes it with
// another, copies it out and compares.
func roundTrip(t *testing.T, c proc.Config) {
	t.Helper()
	const size = 2 * mib
	from, image := sparseImage(t, size), randomImage(t, size)
	c.Files = []string{image}
	srv := serve(t, c)
	nbdcopy(t, from, srv.URI(""))

	s := newScript(content(t, from))
	s.fills(0xa1, 8*kib, 4*kib, "aio_write -q -P 0xa1 %d %d")
	s.fills(0xa2, 512*kib, 300*kib, "aio_write -q -P 0xa2 %d %d")
	s.does("aio_flush")
	s.fills(0xa3, mib, 64*kib, "write -f -P 0xa3 %d %d")
	s.fills(0, mib+16*kib, 8*kib, "write -z -u %d %d")
	s.does("flush")
	s.reads(0xa1, 8*kib, 4*kib)
	s.reads(0xa2, 512*kib, 300*kib)
	s.reads(0, mib+16*kib, 8*kib)
	qemuIO(t, srv, s.commands...)

	out := filepath.Join(t.TempDir(), "out")
	nbdcopy(t, srv.URI(""), out, "--connections=2")
	sameBytes(t, "the copy", bytes.NewReader(content(t, out)), bytes.NewReader(s.disk))
	stop(t, srv)
	sameFiles(t, image, out)
}

// TestLifecycleOptions runs a round trip with every combination of the options
// that change the life of a command, except for those that are refused:
// without the handler being told (on_free ignore), no buffer may be left out of
// the pool (mem_reuse other than all).
func TestLifecycleOptions(t *testing.T) {
	fileioOnly(t)
	for _, memReuse := range []string{"all", "read", "write", "none"} {
		for _, onFree := range []string{"ignore", "call"} {
			if memReuse != "all" && onFree == "ignore" {
				continue
			}
			for _, parse := range []string{"std", "call", "excpt"} {
				for _, inline := range []bool{true, false} {
					args := []string{
						"--mem_reuse=" + memReuse,
						"--on_free=" + onFree,
						"--parse=" + parse,
						fmt.Sprintf("--inline=%v", inline),
					}
					t.Run(strings.Join(args, ""), func(t *testing.T) {
						roundTrip(t, proc.Config{Args: args})
					})
				}
			}
		}
	}
}

// TestBackingOptions runs a round trip with each option that changes how the
// file is used, how commands are fetched, or how buffers are pooled.
func TestBackingOptions(t *testing.T) {
	fileioOnly(t)
	for _, args := range [][]string{
		{"--direct"},
		{"--direct", "--block=4096"},
		{"--direct", "--inline=false"},
		{"--write_through"},
		{"--write_through", "--direct"},
		{"--nv_cache"},
		{"--non_blocking"},
		{"--non_blocking", "--inline=false"},
		{"--threads=1", "--inline=false"},
		{"--multi_cmd=0", "--inline=false"},
		{"--multi_cmd=16", "--inline=false"},
		{"--sgv_shared"},
		{"--sgv_single_cache=64"},
		{"--sgv_disable_clustered_pool"},
		{"--prealloc_buffers=4", "--prealloc_buffer_size=64"},
		{"--flush=1", "--sgv_purge_interval=1"},
		{"--max_inflight=1"},
		{"--debug=1", "--log-format=json"},
	} {
		t.Run(strings.Join(args, ""), func(t *testing.T) {
			roundTrip(t, proc.Config{Args: args})
		})
	}
}

// TestNullIO moves data without touching the file.
func TestNullIO(t *testing.T) {
	fileioOnly(t)
	image := randomImage(t, 4*mib)
	before := content(t, image)
	s := serve(t, proc.Config{Files: []string{image}, Args: []string{"--nullio"}})
	nbdcopy(t, sparseImage(t, 4*mib), s.URI(""), "--connections=4")
	qemuIO(t, s, "read -P 0 0 4M")
	stop(t, s)
	sameBytes(t, "the image", bytes.NewReader(content(t, image)), bytes.NewReader(before))
}
