package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	"scstuser/handlers"
	"scstuser/handlers/arena"
	"scstuser/handlers/disk"
	"scstuser/handlers/nullio"
	"scstuser/ioctl/client"
	"scstuser/ucmd"
)

// nodeVariable is the environment variable that makes this program a handler:
// the node where it registers.
const nodeVariable = "BENCHIOCTL_NODE"

// batch is how many commands a handler takes with one ioctl.
const batch = 64

// goHandler is the handler in Go: this program again.
func goHandler(node string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := exec.Command(self)
	c.Env = append(os.Environ(), nodeVariable+"="+node)
	return c, nil
}

// becomeHandler makes the process the handler in Go, if goHandler has started
// it, and does not return then.
func becomeHandler() {
	node := os.Getenv(nodeVariable)
	if node == "" {
		return
	}
	fmt.Fprintln(os.Stderr, "benchioctl:", serve(node))
	os.Exit(1)
}

// serve is package nullio behind ioctl/client, one thread as the one in C has.
// It ends with the node.
func serve(node string) error {
	d, err := disk.New(nullio.New(1<<30, false), disk.Options{Name: "bench"})
	if err != nil {
		return err
	}
	port, err := client.Open(node, ucmd.Desc{
		Name: "bench", BlockSize: 512,
		Opt: ucmd.Opt{OnFree: uint8(ucmd.OnFreeIgnore), Reuse: uint8(ucmd.ReuseAll), TST: 1, QueueAlg: 1},
	}, client.Options{Multi: batch})
	if err != nil {
		return err
	}
	return handlers.Serve(context.Background(), port, d, handlers.Options{Arena: arena.New(arena.Options{}), Threads: 1, Multi: batch})
}
