package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"scstuser/internal/nodehost"
	"scstuser/ioctl/client"
)

// At a mounted node both handlers do what they do in process.
func TestNode(t *testing.T) {
	for name, counter := range map[string]string{"disk": "-counter=false", "counter": "-counter"} {
		t.Run(name, func(t *testing.T) {
			host := nodehost.Start(t)
			printed := start(t, "-node", host.Node, "-size", "16777216", counter)
			if !strings.Contains(printed, host.Node) {
				t.Errorf("it says %q", printed)
			}
			host.WaitExport("ram")
			use(t, host.Dial(t), 16<<20)
			host.FioVerify(t, "ram", "--rw=randwrite", "--bs=4k", "--iodepth=16", "--size=16m")
		})
	}
}

func TestNodeGoes(t *testing.T) {
	host := nodehost.Start(t)
	ended := make(chan error, 1)
	r, w := io.Pipe()
	go func() { ended <- run(context.Background(), []string{"-node", host.Node}, w) }()
	if _, err := r.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	host.Kill()
	if err := <-ended; !errors.Is(err, client.ErrGone) {
		t.Errorf("it ended with %v", err)
	}
}
