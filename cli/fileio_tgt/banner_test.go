package main

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"

	"scstuser/nbd"
)

// twoExports is what a server with two exports on two listeners has to tell.
func twoExports() (*config, served) {
	cfg := img(func(c *config) {
		c.Exports = []exportConfig{{"disk.img", "/data/disk.img"}, {"my disk", "/data/b"}}
		c.BlockSize, c.MemReuse, c.OnFree = 4096, reuseRead, onFreeCall
		c.WriteThrough = true
	})
	return cfg, served{
		Exports: []servedExport{
			{Name: "disk.img", Path: "/data/disk.img", Size: 64 << 20, Tail: 1000, BlockSize: 4096},
			{Name: "my disk", Path: "/data/b", Size: 3 << 29, BlockSize: 4096, ReadOnly: true},
		},
		Listeners: []nbd.ListenAddr{{Network: "tcp", Address: "127.0.0.1:10809"}, {Network: "unix", Address: "/run/my disk.sock"}},
	}
}

// timeless replaces what differs from run to run.
func timeless(text string) string {
	return strings.NewReplacer(version(), "VERSION", "kill "+strconv.Itoa(os.Getpid()), "kill PID",
		`"pid":`+strconv.Itoa(os.Getpid()), `"pid":0`).Replace(text)
}

func TestBannerText(t *testing.T) {
	var out strings.Builder
	cfg, s := twoExports()
	if err := writeBanner(&out, cfg, s); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/banner.golden", timeless(out.String()))
}

func TestBannerJSON(t *testing.T) {
	var out strings.Builder
	cfg, s := twoExports()
	cfg.JSON = true
	if err := writeBanner(&out, cfg, s); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "\n"); n != 1 || !strings.HasSuffix(out.String(), "\n") {
		t.Errorf("%d lines, want 1", n)
	}
	if !json.Valid([]byte(out.String())) {
		t.Error("is no JSON")
	}
	golden(t, "testdata/banner.json.golden", timeless(out.String()))
}

// A file's name must not be able to draw on the operator's terminal.
func TestBannerEscapesPaths(t *testing.T) {
	cfg, s := twoExports()
	s.Exports[0].Path = "/data/\x1b[2J\nfake"
	if text := bannerText(cfg, s); strings.ContainsAny(text, "\x1b") || strings.Contains(text, "\nfake") {
		t.Errorf("%q", text)
	}
}

func TestHumanSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 bytes", 1: "1 byte", 1023: "1023 bytes", 1024: "1 KiB", 1536: "1.5 KiB", 64 << 20: "64 MiB", 100 << 30: "100 GiB",
		10<<40 + 1: "10 TiB", 1<<63 - 1: "8 EiB", 1300 << 20: "1.27 GiB",
	} {
		if got := humanSize(n); got != want {
			t.Errorf("humanSize(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestExposed(t *testing.T) {
	for a, want := range map[nbd.ListenAddr]bool{
		{Network: "tcp", Address: "127.0.0.1:1"}: false, {Network: "tcp", Address: "[::1]:1"}: false, {Network: "tcp", Address: "[::ffff:127.0.0.1]:1"}: false, {Network: "unix", Address: "/x"}: false,
		{Network: "tcp", Address: "0.0.0.0:1"}: true, {Network: "tcp", Address: "[::]:1"}: true, {Network: "tcp", Address: "192.0.2.1:1"}: true, {Network: "tcp", Address: "odd"}: true,
	} {
		if got := exposed(a); got != want {
			t.Errorf("%v: got %v", a, got)
		}
	}
}

func TestConnectLines(t *testing.T) {
	tests := []struct {
		name string
		a    nbd.ListenAddr
		e    servedExport
		want []string
	}{
		{"tcp", nbd.ListenAddr{Network: "tcp", Address: "0.0.0.0:10809"}, servedExport{Name: "d", BlockSize: 512}, []string{
			"nbdinfo nbd://localhost:10809/d",
			"nbd-client localhost 10809 /dev/nbd0 -N d  # as root",
			"qemu-system-x86_64 -drive file=nbd://localhost:10809/d,format=raw,if=virtio",
		}},
		{"unix, read-only, 4 KiB blocks", nbd.ListenAddr{Network: "unix", Address: "/run/a b,c"}, servedExport{Name: "it's", BlockSize: 4096, ReadOnly: true}, []string{
			`nbdinfo 'nbd+unix:///it%27s?socket=/run/a%20b%2Cc'`,
			`nbd-client -unix '/run/a b,c' /dev/nbd0 -N 'it'\''s' -b 4096  # as root`,
			`qemu-system-x86_64 -drive 'file=nbd+unix:///it%27s?socket=/run/a%20b%2Cc,format=raw,if=virtio,readonly=on'`,
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := connectLines(defaultConfig(), test.a, test.e)
			for i := range test.want {
				if got[i] != test.want[i] {
					t.Errorf("got  %s\nwant %s", got[i], test.want[i])
				}
			}
		})
	}
}
