package vm

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestQEMUArguments(t *testing.T) {
	c := Config{
		Append:  "loglevel=7",
		Forward: []int{10809, 80},
		Disks: []Disk{
			{File: "/tmp/a,b"},
			{File: "nbd:unix:/run/s", BlockSize: 4096, ReadOnly: true, WriteThrough: true},
		},
	}.withDefaults()
	args := qemuArgs(&kernel{image: "/k/vmlinuz"}, "/i", sockets{agent: "/s,1", monitor: "/m"}, c)
	for _, want := range []string{
		"-smp 2 -m 1024 -kernel /k/vmlinuz -initrd /i",
		"oops=panic", "loglevel=7",
		"path=/s,,1",
		",hostfwd=tcp:127.0.0.1:0-:10809,hostfwd=tcp:127.0.0.1:0-:80",
		"-drive if=none,id=disk0,format=raw,cache=writeback,discard=unmap,file=/tmp/a,,b -device virtio-blk-pci,drive=disk0,serial=disk0",
		"cache=writethrough,discard=unmap,file=nbd:unix:/run/s,readonly=on -device virtio-blk-pci,drive=disk1,serial=disk1,logical_block_size=4096,physical_block_size=4096",
	} {
		if got := strings.Join(args, " "); !strings.Contains(got, want) {
			t.Errorf("there is no\n%s in\n%s", want, got)
		}
	}
}

func TestConfigCheck(t *testing.T) {
	for want, c := range map[string]Config{
		"without a file": {Disks: []Disk{{}}},
		"at most 26":     {Disks: slices.Repeat([]Disk{{File: "x"}}, 27)},
		"forward port 0": {Forward: []int{0}},
		"is one line":    {Append: "a\nb"},
	} {
		if err := c.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestForwards(t *testing.T) {
	got := forwards(`Hub -1 (net):
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
  TCP[ESTABLISHED]   19       10.0.2.15 40000       127.0.0.1  1234     0     0
  TCP[HOST_FORWARD]  13       127.0.0.1 42997       10.0.2.15 10809     0     0
  TCP[HOST_FORWARD]  12       127.0.0.1 42998       10.0.2.15    80     0     0
`)
	if want := map[int]int{10809: 42997, 80: 42998}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
