package vm

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// HostAddress is where the guest finds servers that listen on this host's
// 127.0.0.1.
const HostAddress = "10.0.2.2"

// Config says what a machine has. The zero value is a guest with busybox and no
// disks.
type Config struct {
	// Memory is in MiB; default 1024.
	Memory int
	// CPUs is how many processors there are; default 2.
	CPUs int
	// Disks are /dev/vda, /dev/vdb and so on.
	Disks []Disk
	// Forward are TCP ports of the guest that the host can connect to, at
	// Machine.Addr. A server there has to listen on all addresses, not only on
	// 127.0.0.1.
	Forward []int
	// Packages are import paths of commands of this module. They are built
	// static and are /usr/local/bin/NAME in the guest.
	Packages []string
	// Files are put into the guest.
	Files []File
	// Tools are programs of this host, by name or path, which are put into
	// the guest with the libraries that they need: "mkfs.ext4".
	Tools []string
	// Modules are loaded, in this order and each after those that it needs:
	// "nbd", or with parameters "nbd nbds_max=4". Those for the disks, the
	// network and the agent are always loaded.
	Modules []string
	// Append is put at the end of the kernel's command line.
	Append string
	// Console gets what the kernel and process 1 print, if it is not nil. It
	// is called from one goroutine, until Close or Kill returns.
	Console io.Writer
	// BootTimeout is how long the guest may take to greet; default 2 minutes.
	BootTimeout time.Duration
}

// Disk is a disk of the guest.
type Disk struct {
	// File is an image's path, or what QEMU calls a file: "nbd:unix:/socket".
	File string
	// ReadOnly: the guest can't write.
	ReadOnly bool
	// BlockSize is the logical and physical block size in bytes; default 512.
	BlockSize int
	// WriteThrough: QEMU flushes after each write, and the guest sees a disk
	// without a volatile cache. Otherwise what the guest does not flush is in
	// the host's page cache, which survives Machine.Kill.
	WriteThrough bool
}

// File is a file of the guest.
type File struct {
	// Path is where it is in the guest, absolute.
	Path string
	// Source is the path of the file on this host; Data is the content if
	// that is empty.
	Source string
	Data   []byte
	// Mode is its permissions; default 0755.
	Mode uint32
}

// withDefaults returns c with its defaults filled in.
func (c Config) withDefaults() Config {
	if c.Memory == 0 {
		c.Memory = 1024
	}
	if c.CPUs == 0 {
		c.CPUs = 2
	}
	if c.BootTimeout == 0 {
		c.BootTimeout = 2 * time.Minute
	}
	return c
}

// check says what is wrong with c.
func (c Config) check() error {
	if len(c.Disks) > 26 {
		return fmt.Errorf("%d disks; a machine can have at most 26", len(c.Disks))
	}
	for _, d := range c.Disks {
		if d.File == "" {
			return fmt.Errorf("a disk without a file")
		}
	}
	for _, p := range c.Forward {
		if p < 1 || p > 65535 {
			return fmt.Errorf("forward port %d: must be from 1 to 65535", p)
		}
	}
	if strings.ContainsAny(c.Append, "\n\x00") {
		return fmt.Errorf("the kernel's command line is one line")
	}
	return nil
}
