package interop

import (
	"strings"
	"testing"

	"scstuser/internal/proc"
)

// fioVerify writes with fio, reads everything back and lets fio compare the
// checksums that it put into every block.
func fioVerify(t *testing.T, s *proc.Server, options ...string) {
	t.Helper()
	args := append([]string{
		"--name=verify", "--ioengine=nbd", "--uri=" + s.URI(""),
		"--thread", "--group_reporting", "--verify=crc32c", "--do_verify=1", "--verify_fatal=1",
	}, options...)
	out := run(t, "fio", args...)
	if !strings.Contains(out, "err= 0") {
		t.Errorf("fio reports an error:\n%s", out)
	}
}

// fioLoads are the loads that every server has to survive. The four jobs have
// a connection and a quarter of the image each.
var fioLoads = []struct {
	name    string
	options []string
}{
	{"depth 1", []string{"--rw=randwrite", "--bs=4k", "--iodepth=1", "--size=16m"}},
	{"depth 16", []string{"--rw=randwrite", "--bs=4k", "--iodepth=16", "--size=64m"}},
	{"depth 64", []string{"--rw=randwrite", "--bs=4k", "--iodepth=64", "--size=64m"}},
	{"4 jobs", []string{"--rw=randwrite", "--bs=4k", "--iodepth=16", "--numjobs=4",
		"--size=16m", "--offset_increment=16m"}},
	{"4 jobs, random sizes", []string{"--rw=randwrite", "--iodepth=64", "--numjobs=4",
		"--bssplit=4k/30:12k/20:16k/20:64k/20:256k/10", "--blockalign=4k",
		"--size=16m", "--offset_increment=16m"}},
	{"reads among writes", []string{"--rw=randrw", "--iodepth=64", "--bssplit=4k/50:32k/50",
		"--blockalign=4k", "--size=64m"}},
	{"flushes among writes", []string{"--rw=randwrite", "--iodepth=16", "--bs=4k", "--fsync=64", "--size=8m"}},
	{"1 MiB in order", []string{"--rw=write", "--bs=1m", "--iodepth=4", "--size=64m"}},
}

func TestFioVerify(t *testing.T) {
	for _, load := range fioLoads {
		t.Run(load.name, func(t *testing.T) {
			fioVerify(t, serveFile(t, emptyImage(t, 64*mib)), load.options...)
		})
	}
}

func TestFioVerifyAtBlockSizes(t *testing.T) {
	atBlockSizes(t, func(t *testing.T, block int) {
		s := serve(t, proc.Config{Files: []string{emptyImage(t, 16*mib)}, Block: block})
		sizes := "--bssplit=4k/40:8k/30:36k/30"
		align := "--blockalign=4k"
		if block == 512 {
			sizes, align = "--bssplit=512/40:1536/30:33k/30", "--blockalign=512"
		}
		fioVerify(t, s, "--rw=randwrite", "--iodepth=64", "--size=16m", sizes, align)
	})
}
