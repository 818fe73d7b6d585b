package main

import (
	"net"
	"os"
	"strings"
	"testing"

	"scstuser/nbd/nbdtest"
)

func TestAttachCommandLines(t *testing.T) {
	for _, tc := range []struct {
		args string
		want string
	}{
		{"attach", "attach takes URI and DEVICE"},
		{"attach nbd://h", "attach takes URI and DEVICE"},
		{"attach h /dev/nbd0", "no NBD URI"},
		{"attach nbd://h /dev/sda", "no device of the kernel's NBD client"},
		{"attach nbd://h /dev/nbd0 --timeout 5", "put options before them"},
		{"attach --timeout soon nbd://h /dev/nbd0", "--timeout soon: must be a time"},
		{"attach --write_back_timeout soon nbd://h /dev/nbd0", "--write_back_timeout soon: must be a time"},
		{"detach --write_back_timeout soon /dev/nbd0", "--write_back_timeout soon: must be a time"},
		{"attach --connections 0 nbd://h /dev/nbd0", "--connections 0: must be a whole number from 1 to 64"},
		{"attach --tls_certificates /d nbd://h /dev/nbd0", "write nbds://"},
		{"attach --ioctl --reconnect 5 nbd://h /dev/nbd0", "--ioctl and --reconnect"},
		{"attach --ioctl --resize nbd://h /dev/nbd0", "--ioctl and --resize"},
		{"attach --what nbd://h /dev/nbd0", "attach --help lists the options"},
		{"detach", "detach takes DEVICE"},
		{"detach sda", "no device of the kernel's NBD client"},
		{"detach /dev/nbd0 /dev/nbd1", "detach takes DEVICE"},
		{"-f img --attach sda", "--attach: \"sda\" is no device"},
	} {
		o := runWith(strings.Fields(tc.args)...)
		if o.status != exitUsage || !strings.Contains(o.stderr, tc.want) || strings.Count(o.stderr, "\n") != 1 {
			t.Errorf("%s: status %d, %q, want %q", tc.args, o.status, o.stderr, tc.want)
		}
	}
	for _, args := range []string{"attach --help", "detach -h"} {
		if o := runWith(strings.Fields(args)...); o.status != exitOK || o.stdout != attachHelp {
			t.Errorf("%s: status %d, %q, %q", args, o.status, o.stdout, o.stderr)
		}
	}
}

// On a machine without the kernel's NBD client, an error says what to do.
func TestAttachWithoutTheModule(t *testing.T) {
	if _, err := os.Stat("/sys/module/nbd"); err == nil {
		t.Skip("there is an NBD client here")
	}
	for _, args := range []string{"attach nbd://127.0.0.1:1 /dev/nbd0", "detach /dev/nbd0"} {
		o := runWith(strings.Fields(args)...)
		if o.status != exitFailure || !strings.Contains(o.stderr, "modprobe nbd") {
			t.Errorf("%s: status %d, %q", args, o.status, o.stderr)
		}
	}
	o := runWith("attach", "nbds://127.0.0.1:1", "/dev/nbd0")
	if o.status != exitFailure || !strings.Contains(o.stderr, "modprobe nbd") {
		t.Errorf("status %d, %q", o.status, o.stderr)
	}
	o = runWith("attach", "--tls_certificates", t.TempDir(), "nbds://127.0.0.1:1", "/dev/nbd0")
	if o.status != exitFailure || !strings.Contains(o.stderr, "ca-cert.pem: no such file") {
		t.Errorf("status %d, %q", o.status, o.stderr)
	}
}

// A device whose connections are gone is not ours to detach.
func TestLocalDeviceIsLeftAlone(t *testing.T) {
	d := &localDevice{device: "/dev/nbd0"}
	_, c := nbdtest.Socketpair(t)
	watched := d.watch(c)
	if _, ok := watched.(interface{ File() (*os.File, error) }); !ok || d.connected.Load() != 1 {
		t.Fatalf("%T, %d connections", watched, d.connected.Load())
	}
	p := &program{local: d}
	if err := p.detach(); err == nil {
		t.Skip("there is an NBD client here, and nothing attached")
	}
	watched.Close()
	_ = watched.Close()
	if err := p.detach(); err != nil || d.connected.Load() != 0 {
		t.Errorf("%v, %d connections", err, d.connected.Load())
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if d.watch(a) != a {
		t.Error("what is no socket is wrapped")
	}
}
