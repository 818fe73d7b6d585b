package main

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

// img is the config of "-f img" with a few changes.
func img(change func(*config)) *config {
	cfg := defaultConfig()
	cfg.Exports = []exportConfig{{"img", "img"}}
	cfg.OnFree = onFreeIgnore
	cfg.MultiCmd = multiCmdOn
	if change != nil {
		change(cfg)
	}
	return cfg
}

func TestArgumentsBecomeConfig(t *testing.T) {
	tests := []struct {
		name string
		args string // split at spaces
		want *config
	}{
		{"defaults", "-f img", img(nil)},
		{"long file option", "--file img", img(nil)},
		{"an export is named after the file", "-f /data/disk.img", img(func(c *config) {
			c.Exports = []exportConfig{{"disk.img", "/data/disk.img"}}
		})},
		{"several files in either form, in order", "-f b --file a -f c", img(func(c *config) {
			c.Exports = []exportConfig{{"b", "b"}, {"a", "a"}, {"c", "c"}}
		})},
		{"a comma belongs to the file name", "-f a,b", img(func(c *config) {
			c.Exports = []exportConfig{{"a,b", "a,b"}}
		})},
		{"name and path pairs", "disk1 /a/img disk2 /b/img", img(func(c *config) {
			c.Exports = []exportConfig{{"disk1", "/a/img"}, {"disk2", "/b/img"}}
		})},
		{"files come before pairs", "-f img disk2 /b/img", img(func(c *config) {
			c.Exports = []exportConfig{{"img", "img"}, {"disk2", "/b/img"}}
		})},
		{"a pair may be called help", "help img", img(func(c *config) {
			c.Exports = []exportConfig{{"help", "img"}}
		})},
		{"behind --", "-r -- disk1 img", img(func(c *config) {
			c.ReadOnly = true
			c.Exports = []exportConfig{{"disk1", "img"}}
		})},

		{"SCST's letters", "-b 4096 -e 3 -t -r -o -n -c -p call -m all -l -I 0x11 -F 5 -s -S 16 -P 2 -D -R 4 -Z 64 -M 0 -d 0 -f img",
			img(func(c *config) {
				c.BlockSize, c.Threads, c.VdiskID = 4096, 3, 0x11
				c.WriteThrough, c.ReadOnly, c.Direct, c.NullIO, c.NVCache = true, true, true, true, true
				c.Parse, c.NonBlocking, c.MultiCmd = parseCall, true, 1
				c.FlushInterval, c.SGVPurgeInterval = 5*time.Second, 2*time.Second
				c.SGVShared, c.SGVNoClustered, c.SGVSinglePages = true, true, 16
				c.PreallocBuffers, c.PreallocBufferSize = 4, 64<<10
			})},
		{"SCST's long names", "--block=4096 --threads=3 --write_through --read_only --direct --nullio --nv_cache --parse=excpt " +
			"--mem_reuse=all --on_free=call --non_blocking --vdisk_id=17 --flush=5 --sgv_shared --sgv_single_cache=16 " +
			"--sgv_purge_interval=2 --sgv_disable_clustered_pool --prealloc_buffers=4 --prealloc_buffer_size=64 --multi_cmd=0 " +
			"--debug=0 -f img",
			img(func(c *config) {
				c.BlockSize, c.Threads, c.VdiskID = 4096, 3, 17
				c.WriteThrough, c.ReadOnly, c.Direct, c.NullIO, c.NVCache = true, true, true, true, true
				c.Parse, c.OnFree, c.NonBlocking, c.MultiCmd = parseExcpt, onFreeCall, true, 1
				c.FlushInterval, c.SGVPurgeInterval = 5*time.Second, 2*time.Second
				c.SGVShared, c.SGVNoClustered, c.SGVSinglePages = true, true, 16
				c.PreallocBuffers, c.PreallocBufferSize = 4, 64<<10
			})},
		{"letters run together with an argument attached", "-trb4096 -fimg", img(func(c *config) {
			c.WriteThrough, c.ReadOnly, c.BlockSize = true, true, 4096
		})},
		{"letters run together, argument apart", "-trb 4096 -f img", img(func(c *config) {
			c.WriteThrough, c.ReadOnly, c.BlockSize = true, true, 4096
		})},
		{"underscores and dashes are the same", "--read-only --log_level warn --max-inflight 5 -f img", img(func(c *config) {
			c.ReadOnly, c.LogLevel, c.MaxInflight = true, logrus.WarnLevel, 5
		})},
		{"the last one counts", "-b 512 --block 4096 -f img", img(func(c *config) { c.BlockSize = 4096 })},

		{"on_free follows mem_reuse read", "-m read -f img", img(func(c *config) { c.MemReuse, c.OnFree = reuseRead, onFreeCall })},
		{"on_free follows mem_reuse write", "-m write -f img", img(func(c *config) { c.MemReuse, c.OnFree = reuseWrite, onFreeCall })},
		{"on_free follows mem_reuse none", "-m none -f img", img(func(c *config) { c.MemReuse, c.OnFree = reuseNone, onFreeCall })},
		{"on_free ignore with reuse of all", "-m all --on_free ignore -f img", img(nil)},
		{"multi_cmd 1 is on", "-M 1 -f img", img(nil)},
		{"multi_cmd 2 is two", "-M 2 -f img", img(func(c *config) { c.MultiCmd = 2 })},
		{"purge 0 is the default", "-P 0 -f img", img(nil)},
		{"purge below 0 is never", "-P -7 -f img", img(func(c *config) { c.SGVPurgeInterval = neverPurge })},
		{"prealloc with suffix and in the single size", "-S 3 -R 2 -Z 12K -f img", img(func(c *config) {
			c.SGVSinglePages, c.PreallocBuffers, c.PreallocBufferSize = 3, 2, 12<<10
		})},
		{"max_cached counts MiB", "--max_cached 3 -f img", img(func(c *config) { c.MaxCachedBytes = 3 << 20 })},
		{"all of max_cached preallocated", "--max_cached 1G -R 256 -Z 4096 -f img", img(func(c *config) {
			c.MaxCachedBytes, c.PreallocBuffers, c.PreallocBufferSize = 1<<30, 256, 4<<20
		})},
		{"inline off", "--inline=false -f img", img(func(c *config) { c.Inline = false })},

		{"listen replaces the default", "--listen unix:/run/x.sock --listen tcp:[::1]:0 -f img", img(func(c *config) {
			c.Listen, c.ListenGiven = []string{"unix:/run/x.sock", "tcp:[::1]:0"}, true
		})},
		{"who gets in", "--tls require --tls_certificates /etc/nbd --tls_verify_peer --allow 10.0.0.0/8 --allow uid:0 --idle_timeout 1h --keepalive 0 -f img",
			img(func(c *config) {
				c.TLS, c.TLSCertificates, c.TLSVerifyPeer = tlsRequire, "/etc/nbd", true
				c.Allow, c.IdleTimeout, c.KeepAlive = []string{"10.0.0.0/8", "uid:0"}, time.Hour, 0
			})},
		{"limits", "--max_connections 1 --max_inflight 2 --max_inflight_bytes 33554432 --handshake_timeout 2 --drain_timeout 0 -f img",
			img(func(c *config) {
				c.MaxConnections, c.MaxInflight, c.MaxInflightBytes = 1, 2, 32<<20
				c.HandshakeTimeout, c.DrainTimeout = 2*time.Second, 0
			})},
		{"times with units", "--handshake_timeout 1m30s --drain_timeout 2h -f img", img(func(c *config) {
			c.HandshakeTimeout, c.DrainTimeout = 90*time.Second, 2*time.Hour
		})},
		{"how long things may take", "--cmd_timeout 20 --cmd_timeout_action reset --max_ucmds 100 --attach_timeout 1 --suspend_timeout 2 " +
			"--release_timeout 1500ms -f img", img(func(c *config) {
			c.CmdTimeout, c.CmdAction, c.MaxUcmds = 20*time.Second, cmdReset, 100
			c.AttachTimeout, c.SuspendTimeout, c.ReleaseTimeout = time.Second, 2*time.Second, 1500*time.Millisecond
		})},
		{"debug implies its level", "-d 0x8 -f img", img(func(c *config) { c.Debug, c.LogLevel = 8, logrus.DebugLevel })},
		{"debug leaves a level given alone", "-d 1 --log-level trace -f img", img(func(c *config) {
			c.Debug, c.LogLevel = 1, logrus.TraceLevel
		})},
		{"logs", "--log-level error --log-format json -f img", img(func(c *config) {
			c.LogLevel, c.LogFormat = logrus.ErrorLevel, logJSON
		})},
		{"machine's banner", "--json -f img", img(func(c *config) { c.JSON = true })},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := runWith(strings.Fields(test.args)...)
			if got.status != exitOK || got.stderr != "" {
				t.Fatalf("status %d, stderr %q", got.status, got.stderr)
			}
			if !reflect.DeepEqual(got.cfg, test.want) {
				t.Errorf("got  %+v\nwant %+v", got.cfg, test.want)
			}
		})
	}
}

func TestBadArgumentsAreOneLineAndStatus2(t *testing.T) {
	tests := []struct {
		args []string
		want string // behind "fileio_tgt: "
	}{
		{nil, "nothing to export: name a file with -f FILE, or give NAME FILE pairs (fileio_tgt --help tells more)"},
		{[]string{"-r"}, "nothing to export: name a file with -f FILE, or give NAME FILE pairs (fileio_tgt --help tells more)"},
		{[]string{"-f"}, "-f needs an argument: -f FILE"},
		{[]string{"-f", ""}, "--file '': must not be empty"},
		{[]string{"-f", "/"}, `export name "/" of / has a slash; choose another one with a NAME FILE pair`},
		{[]string{"-f", "a\nb"}, `export name "a\nb" of a; b has control characters; choose another one with a NAME FILE pair`},
		{[]string{"-f", "\xff"}, "export name \"\\xff\" of \uFFFD is not UTF-8; choose another one with a NAME FILE pair"},
		{[]string{"-f", "a/x", "-f", "b/x"}, `two exports would be called "x": a/x and b/x; choose the names with NAME FILE pairs`},
		{[]string{"-f", "a/x", "x", "b"}, `two exports would be called "x": a/x and b; choose the names with NAME FILE pairs`},
		{[]string{strings.Repeat("x", 48) + "1", "a", strings.Repeat("x", 48) + "2", "b"},
			fmt.Sprintf(`the export names "%[1]s1" and "%[1]s2" are alike in the 48 bytes that count; choose shorter ones with NAME FILE pairs`,
				strings.Repeat("x", 48))},
		{[]string{"img"}, `"img" is half of a NAME FILE pair; to export a file under its own name use -f img`},
		{[]string{"a", "b", "my img"}, `"my img" is half of a NAME FILE pair; to export a file under its own name use -f 'my img'`},
		{[]string{"", "img"}, `export name "" of img is empty; choose another one with a NAME FILE pair`},
		{[]string{"a", ""}, `the file of export "a" has an empty name`},
		{[]string{"a/b", "img"}, `export name "a/b" of img has a slash; choose another one with a NAME FILE pair`},
		{[]string{"a", "img", "--read_only"},
			`"--read_only" comes after the first NAME: put options before the NAME FILE pairs (a file whose name begins with - can be written ./-x)`},

		{[]string{"--blok", "512"}, "unknown option --blok (did you mean --block?); fileio_tgt --help lists the options"},
		{[]string{"--log_levle", "info"}, "unknown option --log_levle (did you mean --log-level?); fileio_tgt --help lists the options"},
		{[]string{"--frobnicate"}, "unknown option --frobnicate; fileio_tgt --help lists the options"},
		{[]string{"-x"}, "unknown option -x; fileio_tgt --help lists the options"},
		{[]string{"-tx"}, "unknown option --tx; fileio_tgt --help lists the options"},
		{[]string{"---x"}, "---x is not an option; fileio_tgt --help lists the options"},
		{[]string{"-u", "-f", "img"},
			"unknown option -u (a device always leaves in order here, so there is no --unreg_before_close); fileio_tgt --help lists the options"},

		{[]string{"-b", "0"}, "--block 0: must be a power of two from 512 to 65536"},
		{[]string{"-b", "256"}, "--block 256: must be a power of two from 512 to 65536"},
		{[]string{"-b", "520"}, "--block 520: must be a power of two from 512 to 65536"},
		{[]string{"-b", "131072"}, "--block 131072: must be a power of two from 512 to 65536"},
		{[]string{"-b", "4k"}, "--block 4k: must be a power of two from 512 to 65536"},
		{[]string{"-b", ""}, "--block '': must be a power of two from 512 to 65536"},
		{[]string{"-b", "-512"}, "--block -512: must be a power of two from 512 to 65536"},
		{[]string{"-e", "0"}, "--threads 0: must be a whole number from 1 to 1024"},
		{[]string{"-e", "99999999999999999999"}, "--threads 99999999999999999999: must be a whole number from 1 to 1024"},
		{[]string{"-p", "standard"}, "--parse standard: must be std, call or excpt"},
		{[]string{"--on_free", "maybe"}, "--on_free maybe: must be ignore or call"},
		{[]string{"-m", "ALL"}, "--mem_reuse ALL: must be all, read, write or none"},
		{[]string{"-I", "-1"}, "--vdisk_id -1: must be a number from 0 to 0x7fffffff, such as 3 or 0x3"},
		{[]string{"-I", "0x80000000"}, "--vdisk_id 0x80000000: must be a number from 0 to 0x7fffffff, such as 3 or 0x3"},
		{[]string{"-F", "-1"}, "--flush -1: must be a whole number of seconds from 0 to 2147483647"},
		{[]string{"-P", "1s"}, "--sgv_purge_interval 1s: must be a whole number of seconds from -2147483648 to 2147483647"},
		{[]string{"-S", "1025"}, "--sgv_single_cache 1025: must be a whole number from 0 to 1024"},
		{[]string{"-M", "-1"}, "--multi_cmd -1: must be a whole number from 0 to 1024"},
		{[]string{"-d", "all"}, "--debug all: must be a number from 0 to 0xffffffffffffffff, such as 3 or 0x3"},
		{[]string{"-r=maybe"}, "--read_only maybe: must be true or false"},
		{[]string{"--max_cached", "0"}, "--max_cached 0: must be a size from 1M to 1G, such as 64 or 64M"},
		{[]string{"--max_inflight_bytes", "1M"}, "--max_inflight_bytes 1M: must be a size from 32M to 1T, such as 67108864 or 64M"},
		{[]string{"--handshake_timeout", "0"}, "--handshake_timeout 0: must be a time from 1s to 1h, such as 10s or 1m30s"},
		{[]string{"--drain_timeout", "10ms"}, "--drain_timeout 10ms: must be a time from 1s to 24h, such as 10s or 1m30s, or 0"},
		{[]string{"--log-level", "panic"}, "--log-level panic: must be error, warn, info, debug or trace"},
		{[]string{"--log-format", "xml"}, "--log-format xml: must be text or json"},
		{[]string{"--log-file", ""}, "--log-file '': must not be empty"},
		{[]string{"-b", "1", "-e", "0"}, "--block 1: must be a power of two from 512 to 65536"},

		{[]string{"-m", "none", "--on_free", "ignore", "-f", "img"},
			"--mem_reuse none with --on_free ignore: nobody would tell the handler when a buffer that is not reused is free; " +
				"leave --on_free out, or set it to call"},
		{[]string{"--release_timeout", "0"}, "--release_timeout 0: must be a time from 100ms to 1h, such as 10s or 1m30s"},
		{[]string{"--cmd_timeout", "-1"}, "--cmd_timeout -1: must be a time from 10ms to 24h, such as 10s or 1m30s, or 0"},
		{[]string{"--cmd_timeout_action", "panic"}, "--cmd_timeout_action panic: must be report, reset or kill"},
		{[]string{"--cmd_timeout_action", "kill", "-f", "img"}, "--cmd_timeout_action kill needs --cmd_timeout, how long a handler may have a command"},
		{[]string{"-R", "4", "-f", "img"}, "--prealloc_buffers needs --prealloc_buffer_size, the size of each in KiB"},
		{[]string{"-Z", "4", "-f", "img"}, "--prealloc_buffer_size needs --prealloc_buffers, how many to allocate"},
		{[]string{"-R", "1", "-Z", "12", "-f", "img"},
			"--prealloc_buffer_size must be a power of two KiB: 4, 8 and so on to 4096, the sizes the pool has"},
		{[]string{"-R", "1", "-Z", "2", "-f", "img"}, "--prealloc_buffer_size 2: must be a size from 4K to 4M, such as 64 or 64K"},
		{[]string{"-S", "3", "-R", "1", "-Z", "16", "-f", "img"},
			"--prealloc_buffer_size must be 12 KiB, the one size that --sgv_single_cache 3 has"},
		{[]string{"-R", "9", "-Z", "4096", "-f", "img"},
			"--prealloc_buffers 9 of 4M each are more than --max_cached 32M lets the pool keep; raise it"},
		{[]string{"-d", "1", "--log-level", "info", "-f", "img"},
			"--debug logs at level debug, which --log-level info hides; leave --log-level out, or set it to debug"},

		{[]string{"--listen", "10809", "-f", "img"},
			`--listen: listen address "10809": this is only a port; write tcp:127.0.0.1:10809, or tcp::10809 for all addresses of this machine`},
		{[]string{"--listen", "unix:", "-f", "img"}, `--listen: listen address "unix:" has no path; write unix:/path`},
		{[]string{"--listen", "127.0.0.1:1", "--listen", "tcp:127.0.0.1:1", "-f", "img"}, "--listen tcp:127.0.0.1:1 is there twice"},
		{[]string{"--listen", "unix:/x", "--listen", "unix:/x", "-f", "img"}, "--listen unix:/x is there twice"},
	}
	for _, test := range tests {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			got := runWith(test.args...)
			if got.cfg != nil {
				t.Error("served all the same")
			}
			if got.status != exitUsage {
				t.Errorf("status %d, want %d", got.status, exitUsage)
			}
			if want := "fileio_tgt: " + test.want + "\n"; got.stderr != want {
				t.Errorf("stderr\n got %q\nwant %q", got.stderr, want)
			}
			if got.stdout != "" {
				t.Errorf("stdout %q", got.stdout)
			}
		})
	}
}

func TestEachOptionIsDeclaredOnce(t *testing.T) {
	seen := make(map[string]string)
	for i := range options {
		opt := &options[i]
		for _, name := range opt.names() {
			if other, dup := seen[name]; dup {
				t.Errorf("--%s and --%s are both called %s", opt.name, other, name)
			}
			seen[name] = opt.name
		}
		if opt.usage == "" || !strings.HasSuffix(opt.usage, ".") {
			t.Errorf("--%s: the help is no sentence: %q", opt.name, opt.usage)
		}
	}
}

// What --help calls the default has to be a value that the option takes.
func TestDefaultsAreAccepted(t *testing.T) {
	for i := range options {
		opt := &options[i]
		if opt.bind == nil || opt.def != "" || opt.name == "prealloc_buffer_size" {
			continue // the size has no default of its own: none are allocated
		}
		t.Run(opt.name, func(t *testing.T) {
			cfg, want := defaultConfig(), defaultConfig()
			if err := opt.bind(cfg).set(opt.bind(want).String()); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(cfg, want) {
				t.Errorf("got %+v", cfg)
			}
		})
	}
}

// Whatever the arguments are, they are understood or refused in one line.
func FuzzArguments(f *testing.F) {
	for _, seed := range []string{
		"-f\x00img", "-trb4096\x00-f\x00img", "a\x00b\x00c\x00d", "--\x00-x\x00y", "--block=\x00", "-", "-=", "--=x", "-b\x00-b\x00-b",
		"--listen\x00tcp:\x00-f\x00a", "--max_cached\x00KiB", "-M\x00\xff", "--inline=T\x00-f\x00/..\x00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, joined string) {
		args := append([]string{programName}, strings.Split(joined, "\x00")...)
		var cfg *config
		app := newApp(io.Discard, func(c *config) error { cfg = c; return nil })
		app.ErrWriter = io.Discard
		err := app.Run(expandArgs(args))
		var stderr bytes.Buffer
		status := report(&stderr, err)
		switch {
		case err == nil:
			if cfg != nil && cfg.validate() != nil {
				t.Errorf("accepted a config that is not valid: %+v", cfg)
			}
		case status != exitUsage:
			t.Errorf("status %d: %v", status, err)
		case strings.Count(stderr.String(), "\n") != 1:
			t.Errorf("more than a line: %q", stderr.String())
		}
	})
}
