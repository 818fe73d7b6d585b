// Command agent is what runs first in the guest of internal/vm, which builds it
// and puts it into the initial root file system as /init, and talks to it.
//
// As process 1 it mounts the kernel's file systems, loads the modules that
// /etc/modules lists, configures the network, and starts itself again as a
// child, which serves the host's requests (internal/vm/wire) on the virtio
// serial port "agent". Process 1 then only reaps what other processes leave
// behind. When the child ends, or anything fails before, it powers the machine
// off: a guest without an agent is of no use, and the host sees why on the
// console.
//
//	main.go     which of the two it is
//	boot.go     what process 1 does
//	modules.go  loading modules
//	port.go     finding the serial port
//	serve.go    the host's requests
//	command.go  the commands that run
package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// serveArg makes the program the child. A command line has it only from boot.
const serveArg = "serve"

func main() {
	var err error
	switch {
	case os.Getpid() == 1:
		err = boot()
	case len(os.Args) == 2 && os.Args[1] == serveArg:
		err = serve()
	default:
		err = fmt.Errorf("this is for internal/vm's guests: it must be process 1")
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "agent: %v\n", err)
	}
	if os.Getpid() == 1 {
		powerOff()
	}
	if err != nil {
		os.Exit(1)
	}
}

// powerOff ends the machine. It returns only if the kernel refuses.
func powerOff() {
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Fprintf(os.Stderr, "agent: power off: %v\n", err)
	}
}
