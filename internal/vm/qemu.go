package vm

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// commandLine is the kernel's, as far as every machine has it: a guest that
// panics or oopses ends, time is not spent on defences against itself, and an
// emulated timer that ticks late on a busy host is not taken for a broken one.
const commandLine = "console=ttyS0 quiet loglevel=5 panic=-1 oops=panic mitigations=off random.trust_cpu=on no_timer_check"

// sockets are where QEMU connects to us.
type sockets struct {
	agent, monitor string
}

// qemuArgs returns QEMU's arguments for a machine.
func qemuArgs(k *kernel, image string, s sockets, c Config) []string {
	args := []string{"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "pc"}
	args = append(args, accelerator()...)
	args = append(args,
		"-smp", strconv.Itoa(c.CPUs), "-m", strconv.Itoa(c.Memory),
		"-kernel", k.image, "-initrd", image, "-append", strings.TrimSpace(commandLine+" "+c.Append),
		"-serial", "stdio",
		"-qmp", "unix:"+escape(s.monitor),
		"-device", "virtio-rng-pci",
		"-device", "virtio-serial-pci",
		"-chardev", "socket,id=agent,path="+escape(s.agent),
		"-device", "virtserialport,chardev=agent,name=agent",
	)
	network := "user,id=net"
	for _, port := range c.Forward {
		network += fmt.Sprintf(",hostfwd=tcp:127.0.0.1:0-:%d", port)
	}
	args = append(args, "-netdev", network, "-device", "virtio-net-pci,netdev=net,romfile=")
	for i, d := range c.Disks {
		args = append(args, diskArgs(i, d)...)
	}
	return args
}

// accelerator uses the host's processor where we may. A host that is a virtual
// machine itself can have a /dev/kvm that works only in name: it is left alone
// if the processor does not say that it can do it.
func accelerator() []string {
	args := []string{"-accel", "tcg,thread=multi", "-cpu", "max"}
	if text, err := os.ReadFile("/proc/cpuinfo"); err != nil || !virtualizes.Match(text) {
		return args
	}
	if f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err == nil {
		f.Close()
		args = append([]string{"-accel", "kvm"}, args...)
	}
	return args
}

// virtualizes finds the processor's flags for that.
var virtualizes = regexp.MustCompile(`(?m)^flags\s*:.*\b(vmx|svm)\b`)

// diskArgs makes the i-th disk.
func diskArgs(i int, d Disk) []string {
	cache := "writeback"
	if d.WriteThrough {
		cache = "writethrough"
	}
	drive := fmt.Sprintf("if=none,id=disk%d,format=raw,cache=%s,discard=unmap,file=%s", i, cache, escape(d.File))
	if d.ReadOnly {
		drive += ",readonly=on"
	}
	device := fmt.Sprintf("virtio-blk-pci,drive=disk%d,serial=disk%d", i, i)
	if d.BlockSize != 0 {
		device += fmt.Sprintf(",logical_block_size=%d,physical_block_size=%d", d.BlockSize, d.BlockSize)
	}
	return []string{"-drive", drive, "-device", device}
}

// escape is how QEMU wants a comma in an option's value.
func escape(s string) string { return strings.ReplaceAll(s, ",", ",,") }
