package proc

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestArgv(t *testing.T) {
	one := Config{Files: []string{"/i"}, Listen: []Endpoint{Unix("/s")}, ReadOnly: true, Args: []string{"--x"}}
	all := Config{
		Files:  []string{"/i", "/j"},
		Listen: []Endpoint{Unix("/s"), TCP("127.0.0.1:0")},
		Block:  4096, ReadOnly: true, Args: []string{"--parse=std"},
	}
	tcp := Config{Files: []string{"/i"}, Listen: []Endpoint{TCP("127.0.0.1:10809")}}
	tests := []struct {
		name   string
		p      Program
		c      Config
		want   string // space separated
		refuse bool
	}{
		{"fileio_tgt with everything", FileioTgt{Bin: "/b"}, all,
			"/b -f /i -f /j --listen unix:/s --listen tcp:127.0.0.1:0 --read_only --block=4096 --parse=std", false},
		{"nbdkit on a unix socket", Nbdkit{}, one, "nbdkit -f -U /s -r --x file /i", false},
		{"nbdkit on TCP", Nbdkit{}, tcp, "nbdkit -f -i 127.0.0.1 -p 10809 file /i", false},
		{"nbdkit with a block size", Nbdkit{}, Config{Files: one.Files, Listen: one.Listen, Block: 4096},
			"nbdkit -f --filter=blocksize-policy -U /s file /i blocksize-error-policy=error" +
				" blocksize-minimum=4096 blocksize-preferred=4096", false},
		{"nbdkit with two files", Nbdkit{}, all, "", true},
		{"qemu-nbd on a unix socket", QemuNbd{AIO: "threads"}, one,
			"qemu-nbd -f raw --cache=writeback --aio=threads --discard=unmap -e 16 -t -k /s -r --x /i", false},
		{"qemu-nbd on TCP", QemuNbd{AIO: "threads"}, tcp, "", true},
		{"go-nbd on a unix socket", GoNbd{Bin: "/b"}, Config{Files: one.Files, Listen: one.Listen},
			"/b -network unix -laddr /s -name EMPTY -file /i", false},
		{"go-nbd with a block size", GoNbd{}, Config{Files: []string{"/i"}, Listen: one.Listen, Block: 512}, "", true},
		{"qemu-nbd with a block size", QemuNbd{}, Config{Files: []string{"/i"}, Listen: one.Listen, Block: 512}, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.p.Argv(tt.c)
			if tt.refuse != errors.Is(err, ErrUnsupported) {
				t.Fatalf("error %v, want unsupported: %v", err, tt.refuse)
			}
			want := strings.Fields(tt.want)
			for i := range want {
				if want[i] == "EMPTY" {
					want[i] = ""
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

func TestEndpointURI(t *testing.T) {
	tests := []struct {
		e      Endpoint
		export string
		want   string
	}{
		{Unix("/tmp/s"), "", "nbd+unix:///?socket=%2Ftmp%2Fs"},
		{Unix("/tmp/s"), "a.img", "nbd+unix:///a.img?socket=%2Ftmp%2Fs"},
		{Unix("/tmp/s"), "a b/c", "nbd+unix:///a%20b%2Fc?socket=%2Ftmp%2Fs"},
		{TCP("127.0.0.1:10809"), "", "nbd://127.0.0.1:10809/"},
		{TCP("[::1]:10809"), "a.img", "nbd://[::1]:10809/a.img"},
	}
	for _, tt := range tests {
		if got := tt.e.URI(tt.export); got != tt.want {
			t.Errorf("%v %q: got %q, want %q", tt.e, tt.export, got, tt.want)
		}
	}
}

func TestFindToolNamesThePackage(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	tests := map[string]string{
		"nbdcopy":  "apt-get install libnbd-bin",
		"qemu-io":  "apt-get install qemu-utils",
		"whatever": "apt-get install whatever",
	}
	for tool, want := range tests {
		if err := FindTool(tool); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", tool, err, want)
		}
	}
}
