package main

import (
	"math"
	"strings"
	"time"

	"scstuser/handlers/disk"
	"scstuser/handlers/fileio"
	"scstuser/ucmd/sgv"
)

// category is a heading of --help, the README and the manual page.
type category string

// The categories, in the order in which they are shown.
const (
	catDisk    category = "What is exported"
	catCache   category = "Caching and durability"
	catCommand category = "The life of a command"
	catPool    category = "Buffers"
	catNet     category = "Network and limits"
	catLog     category = "Logs and control"
	catInfo    category = "Information"
)

var categories = []category{catDisk, catCache, catCommand, catPool, catNet, catLog, catInfo}

// option describes one option once, for the parser, for --help and for the
// documents that a test compares with it.
type option struct {
	// name is the long name and short the one-letter name ("" if there is
	// none), both without dashes.
	name, short string
	category    category
	// arg names the argument in the help; "" is a switch.
	arg string
	// usage says what the option is for, in whole sentences.
	usage string
	// def replaces the default that bind shows, where that would not tell.
	def string
	// device marks what the banner lists as the options in force.
	device bool
	// bind returns the option's field of a config. It is nil for what is not
	// in a config: see commandLine.value.
	bind func(*config) value
}

// options are all options, grouped by category. Names, short letters and
// meanings are those of SCST's fileio_tgt where it has the option, but for -f.
var options = []option{
	{
		name: "file", short: "f", category: catDisk, arg: "FILE", def: "none",
		usage: "Image file or block device to export. Its base name becomes the export's name, and the first export " +
			"is also the default one, for clients that ask for no name. Repeat the option for more files, or give " +
			"NAME FILE pairs behind the options to choose the names.",
	},
	{
		name: "read_only", short: "r", category: catDisk, device: true,
		usage: "Refuse everything that would change the disk. The file is opened for reading only.",
		bind:  func(c *config) value { return switchValue{&c.ReadOnly} },
	},
	{
		name: "block", short: "b", category: catDisk, arg: "BYTES", device: true,
		usage: "Size of a logical block: a power of two from 512 to 65536. What the file has behind its last whole " +
			"block is not exported.",
		bind: func(c *config) value { return powerValue{&c.BlockSize, fileio.MinBlockSize, fileio.MaxBlockSize} },
	},
	{
		name: "vdisk_id", short: "I", category: catDisk, arg: "NUMBER", device: true,
		usage: "Number that goes into the serial number and the identifiers of every disk. Give each server its own " +
			"where one client sees disks of the same name on several servers.",
		bind: func(c *config) value { return maskValue{&c.VdiskID, math.MaxInt32} },
	},
	{
		name: "nullio", short: "n", category: catDisk, device: true,
		usage: "Move no data: writes are forgotten, reads give zeroes. The file lends its size and is not touched. " +
			"Shows what everything but the storage costs.",
		bind: func(c *config) value { return switchValue{&c.NullIO} },
	},

	{
		name: "write_through", short: "t", category: catCache, device: true,
		usage: "Answer a write only when it is on stable storage, and report a disk without a volatile cache. " +
			"Without it writes are cached until the client flushes, as on any disk.",
		bind: func(c *config) value { return switchValue{&c.WriteThrough} },
	},
	{
		name: "direct", short: "o", category: catCache, device: true,
		usage: "Open the file with O_DIRECT, around the host's page cache. A flush still reaches the cache of the " +
			"device below.",
		bind: func(c *config) value { return switchValue{&c.Direct} },
	},
	{
		name: "nv_cache", short: "c", category: catCache, device: true,
		usage: "Take the host's cache for non-volatile: flushes and FUA writes do not wait for the storage. Right only " +
			"where a power failure cannot lose the host's memory; elsewhere it loses data.",
		bind: func(c *config) value { return switchValue{&c.NVCache} },
	},

	{
		name: "threads", short: "e", category: catCommand, arg: "COUNT", device: true,
		usage: "Handler threads of each device: how many commands can wait for the storage at once.",
		bind:  func(c *config) value { return intValue{&c.Threads, 1, 1024} },
	},
	{
		name: "inline", category: catCommand, device: true,
		usage: "Carry out what need not wait (data that is in the page cache) on the goroutine that received it " +
			"instead of handing it to a handler thread. --inline=false sends every command through the threads.",
		bind: func(c *config) value { return switchValue{&c.Inline} },
	},
	{
		name: "sendfile", category: catCommand, arg: "SIZE", device: true,
		usage: "Send reads of at least this many bytes, K, M or G that are in the page cache from there, without " +
			"copying them (sendfile(2)); not with TLS or --direct. 0: never.",
		bind: func(c *config) value {
			return byteCount{sizeValue{p: &c.SendFile, unit: 1, min: 0, max: 1 << 30, example: disk.DefaultFileRead}}
		},
	},
	{
		name: "parse", short: "p", category: catCommand, arg: "TYPE", device: true,
		usage: "Who works out what a command transfers: std, the target by the standard's rules; call, the handler for " +
			"each command (a PARSE subcommand); excpt, the handler where the rules have no answer.",
		bind: func(c *config) value {
			return choiceValue[parseType]{&c.Parse, []parseType{parseStd, parseCall, parseExcpt}}
		},
	},
	{
		name: "on_free", category: catCommand, arg: "TYPE", device: true,
		def: "ignore, but call unless --mem_reuse is all",
		usage: "Whether the handler is told when a command and its buffer are finished with: ignore, or call (an " +
			"ON_FREE_CMD subcommand for each). SCST's program calls this -f, which is the file here.",
		bind: func(c *config) value {
			return choiceValue[onFreeType]{&c.OnFree, []onFreeType{onFreeIgnore, onFreeCall}}
		},
	},
	{
		name: "non_blocking", short: "l", category: catCommand, device: true,
		usage: "Register the devices as non-blocking: a fetch that finds no command ready returns at once (EAGAIN) " +
			"and the handler waits for the device to become ready.",
		bind: func(c *config) value { return switchValue{&c.NonBlocking} },
	},
	{
		name: "multi_cmd", short: "M", category: catCommand, arg: "COUNT", device: true,
		usage: "How many commands one fetch may deliver: 0, one at a time; 1, several (32); a larger number, that many.",
		bind:  func(c *config) value { return intValue{&c.MultiCmd, 0, 1024} },
	},
	{
		name: "cmd_timeout", category: catCommand, arg: "TIME", device: true,
		usage: "Log each command that its handler has had for this long (10s, 1m30s, a bare number is seconds), once, " +
			"and do what --cmd_timeout_action says. 0: no limit.",
		bind: func(c *config) value {
			return durationValue{p: &c.CmdTimeout, min: 10 * time.Millisecond, max: 24 * time.Hour, zeroOK: true}
		},
	},
	{
		name: "cmd_timeout_action", category: catCommand, arg: "ACTION", device: true,
		usage: "What is done about a command that takes longer than --cmd_timeout: report, reset or kill. report logs it. " +
			"reset resets the disk: what waits fails at once, what hangs when the storage is through with it. kill gives " +
			"the disk up: its commands fail and its export is gone, the others go on; the program ends with status 1, at " +
			"once if no export is left.",
		bind: func(c *config) value {
			return choiceValue[cmdAction]{&c.CmdAction, []cmdAction{cmdReport, cmdReset, cmdKill}}
		},
	},

	{
		name: "mem_reuse", short: "m", category: catPool, arg: "TYPE", device: true,
		usage: "Which commands take their buffers from the device's pool and leave them there for later ones: all, " +
			"read, write or none.",
		bind: func(c *config) value {
			return choiceValue[memReuse]{&c.MemReuse, []memReuse{reuseAll, reuseRead, reuseWrite, reuseNone}}
		},
	},
	{
		name: "max_cached", category: catPool, arg: "MIB", device: true,
		usage: "The most memory that a device's pool keeps in idle buffers, in MiB.",
		bind: func(c *config) value {
			return sizeValue{p: &c.MaxCachedBytes, unit: 1 << 20, min: 1 << 20, max: 1 << 30, example: 64 << 20}
		},
	},
	{
		name: "flush", short: "F", category: catPool, arg: "SECONDS", device: true,
		usage: "Empty the pool this often. 0: never.",
		bind:  func(c *config) value { return secondsValue{&c.FlushInterval, 0, math.MaxInt32} },
	},
	{
		name: "sgv_purge_interval", short: "P", category: catPool, arg: "SECONDS", device: true,
		usage: "Free a buffer that has been idle for between one and two such intervals. 0 is the default, a negative " +
			"number never frees one for its age.",
		bind: func(c *config) value { return secondsValue{&c.SGVPurgeInterval, math.MinInt32, math.MaxInt32} },
	},
	{
		name: "sgv_shared", short: "s", category: catPool, device: true,
		usage: "One pool for all devices instead of one for each.",
		bind:  func(c *config) value { return switchValue{&c.SGVShared} },
	},
	{
		name: "sgv_single_cache", short: "S", category: catPool, arg: "PAGES", device: true,
		usage: "Give the pool one size of buffers, this many pages of 4 KiB (at most 1024). 0: a size for each " +
			"power of two.",
		bind: func(c *config) value { return intValue{&c.SGVSinglePages, 0, maxPoolPages} },
	},
	{
		name: "sgv_disable_clustered_pool", short: "D", category: catPool, device: true,
		usage: "Do without the second pool, for clustered buffers; its commands use the first one.",
		bind:  func(c *config) value { return switchValue{&c.SGVNoClustered} },
	},
	{
		name: "prealloc_buffers", short: "R", category: catPool, arg: "COUNT", device: true,
		usage: "Put this many buffers into each device's pool before the first command. Needs --prealloc_buffer_size.",
		bind:  func(c *config) value { return intValue{&c.PreallocBuffers, 0, 1 << 20} },
	},
	{
		name: "prealloc_buffer_size", short: "Z", category: catPool, arg: "KIB", device: true,
		usage: "Size of each of these buffers in KiB: a power of two from 4 to 4096, or just what --sgv_single_cache " +
			"makes.",
		bind: func(c *config) value {
			return sizeValue{p: &c.PreallocBufferSize, unit: 1 << 10, min: sgv.PageSize, max: maxPoolPages * sgv.PageSize,
				example: 64 << 10}
		},
	},

	{
		name: "listen", category: catNet, arg: "WHERE",
		usage: "Where clients connect: tcp:HOST:PORT, unix:/PATH, vsock:PORT, vsock:CID:PORT or stdin (a socket, as inetd " +
			"gives it). Repeat the option to listen in several places. Sockets that systemd has opened come in addition, " +
			"and instead of the default. Without --tls_verify_peer there is no authentication: whoever can connect can " +
			"read and, unless --read_only, write.",
		bind: func(c *config) value { return &listValue{p: &c.Listen} },
	},
	{
		name: "socket_mode", category: catNet, arg: "MODE", def: "by the umask",
		usage: "Permissions of the unix sockets that are made, in octal (0660). Who may write may connect.",
		bind:  func(c *config) value { return octalValue{&c.SocketMode} },
	},
	{
		name: "socket_owner", category: catNet, arg: "USER:GROUP", def: "the server's",
		usage: "Owner and group of the unix sockets that are made, as names or numbers; either may be left out.",
		bind:  func(c *config) value { return textValue{&c.SocketOwner} },
	},
	{
		name: "attach", category: catNet, arg: "DEVICE", def: "none",
		usage: "Also make the first export a block device of this machine, such as /dev/nbd0, by the kernel's NBD client, " +
			"and detach it at the end. Needs root and the kernel's module nbd. \"fileio_tgt attach\" does it for any server.",
		bind: func(c *config) value { return textValue{&c.Attach} },
	},
	{
		name: "tls", category: catNet, arg: "MODE",
		usage: "Whether clients use TLS: off, on (those that ask for it) or require (nobody gets in without).",
		bind: func(c *config) value {
			return choiceValue[tlsMode]{&c.TLS, []tlsMode{tlsOff, tlsOn, tlsRequire}}
		},
	},
	{
		name: "tls_certificates", category: catNet, arg: "DIR", def: "none",
		usage: "Directory with server-cert.pem and server-key.pem, and for --tls_verify_peer ca-cert.pem and perhaps " +
			"ca-crl.pem. SIGHUP reads them again.",
		bind: func(c *config) value { return textValue{&c.TLSCertificates} },
	},
	{
		name: "tls_verify_peer", category: catNet,
		usage: "Let only clients in that show a certificate which is signed by ca-cert.pem. Needs --tls require.",
		bind:  func(c *config) value { return switchValue{&c.TLSVerifyPeer} },
	},
	{
		name: "allow", category: catNet, arg: "WHO", def: "everybody",
		usage: "Serve only these clients: an IP address or CIDR range, uid:NUMBER (users of a unix socket) or cid:NUMBER " +
			"(virtual machines). Repeat the option for more of them. With it, who matches none is turned away, over " +
			"whatever socket.",
		bind: func(c *config) value { return &listValue{p: &c.Allow} },
	},
	{
		name: "device", category: catNet, arg: "NODE", def: "none",
		usage: "Register the disks with this scst_user node instead of serving them over NBD: the node of a running " +
			"fileio_tgt host, or /dev/scst_user of the kernel module. Its host offers them to clients. Options of the " +
			"network and of the host are refused with it.",
		bind: func(c *config) value { return textValue{&c.Device} },
	},
	{
		name: "device_version", category: catNet, arg: "STRING", def: "that of the recorded module",
		usage: "Interface version (DEV_USER_VERSION) to register with. A kernel module accepts only that of the headers " +
			"it was built with. Needs --device.",
		bind: func(c *config) value { return textValue{&c.DeviceVersion} },
	},
	{
		name: "max_connections", category: catNet, arg: "COUNT",
		usage: "The most clients connected at once, negotiating ones included. Further ones wait until one leaves.",
		bind:  func(c *config) value { return intValue{&c.MaxConnections, 1, 65536} },
	},
	{
		name: "max_inflight", category: catNet, arg: "COUNT",
		usage: "The most requests of one connection in work at once. Further ones wait in the socket.",
		bind:  func(c *config) value { return intValue{&c.MaxInflight, 1, 65536} },
	},
	{
		name: "max_inflight_bytes", category: catNet, arg: "SIZE",
		usage: "The most payload of one connection in work at once, in bytes or with a suffix K, M or G; at least " +
			"the longest payload, 32M.",
		bind: func(c *config) value {
			return byteCount{sizeValue{p: &c.MaxInflightBytes, unit: 1, min: maxPayload, max: 1 << 40, example: 64 << 20}}
		},
	},
	{
		name: "max_buffers", category: catNet, arg: "SIZE",
		usage: "The most memory in data buffers of all devices together, in bytes or with a suffix K, M or G. " +
			"Commands that find none free are tried again for some seconds, and then fail with ENOMEM.",
		bind: func(c *config) value {
			return byteCount{sizeValue{p: &c.MaxBufferBytes, unit: 1, min: 2 * maxPayload, max: 1 << 44, example: 1 << 30}}
		},
	},
	{
		name: "handshake_timeout", category: catNet, arg: "TIME",
		usage: "Drop a client that has not finished its negotiation after this time (10s, 1m30s, a bare number is " +
			"seconds).",
		bind: func(c *config) value { return durationValue{p: &c.HandshakeTimeout, min: time.Second, max: time.Hour} },
	},
	{
		name: "idle_timeout", category: catNet, arg: "TIME",
		usage: "Let a client go that has been silent for this long, with nothing of its own in work. 0: never.",
		bind: func(c *config) value {
			return durationValue{p: &c.IdleTimeout, min: time.Second, max: 30 * 24 * time.Hour, zeroOK: true}
		},
	},
	{
		name: "keepalive", category: catNet, arg: "TIME",
		usage: "Probe a TCP client that has been silent for this long, and give it up if it does not answer for as long " +
			"again. 0: never.",
		bind: func(c *config) value {
			return durationValue{p: &c.KeepAlive, min: 2 * time.Second, max: 9 * time.Hour, zeroOK: true}
		},
	},
	{
		name: "drain_timeout", category: catNet, arg: "TIME",
		usage: "After SIGTERM or SIGINT wait this long for commands in flight before connections are cut. 0: as long " +
			"as it takes.",
		bind: func(c *config) value {
			return durationValue{p: &c.DrainTimeout, min: time.Second, max: 24 * time.Hour, zeroOK: true}
		},
	},
	{
		name: "at_shutdown", category: catNet, arg: "HOW",
		usage: "What becomes of commands that come after SIGTERM or SIGINT: refuse answers them with ESHUTDOWN; hangup " +
			"leaves them unanswered, for clients that connect again and repeat them; auto hangs up on clients " +
			"without structured replies, which is the Linux kernel, and refuses the others' commands.",
		bind: func(c *config) value {
			return choiceValue[farewell]{&c.AtShutdown, []farewell{farewellAuto, farewellRefuse, farewellHangUp}}
		},
	},

	{
		name: "max_ucmds", category: catNet, arg: "COUNT",
		usage: "The most commands and idle buffers of one device at once. Commands beyond are tried again for some " +
			"seconds, and then fail.",
		bind: func(c *config) value { return intValue{&c.MaxUcmds, 64, 1 << 24} },
	},
	{
		name: "attach_timeout", category: catNet, arg: "TIME",
		usage: "How long a handler may take to admit a client to its device.",
		bind: func(c *config) value {
			return durationValue{p: &c.AttachTimeout, min: 100 * time.Millisecond, max: time.Hour}
		},
	},
	{
		name: "suspend_timeout", category: catNet, arg: "TIME",
		usage: "How long emptying a pool (--flush) waits for the device's commands to end.",
		bind: func(c *config) value {
			return durationValue{p: &c.SuspendTimeout, min: 100 * time.Millisecond, max: time.Hour}
		},
	},
	{
		name: "release_timeout", category: catNet, arg: "TIME",
		usage: "How long the release of a device may be without progress before what holds it is logged, given up " +
			"and left behind.",
		bind: func(c *config) value {
			return durationValue{p: &c.ReleaseTimeout, min: 100 * time.Millisecond, max: time.Hour}
		},
	},

	{
		name: "log-level", category: catLog, arg: "LEVEL",
		usage: "How much is logged: error, warn, info, debug (each command) or trace.",
		bind:  func(c *config) value { return levelValue{&c.LogLevel} },
	},
	{
		name: "log-format", category: catLog, arg: "FORMAT",
		usage: "How a log record looks: text, or json (one object a line).",
		bind: func(c *config) value {
			return choiceValue[logFormat]{&c.LogFormat, []logFormat{logText, logJSON}}
		},
	},
	{
		name: "log-file", category: catLog, arg: "FILE", def: "standard error",
		usage: "Append the log to this file. SIGHUP opens it anew, for log rotation.",
		bind:  func(c *config) value { return textValue{&c.LogFile} },
	},
	{
		name: "debug", short: "d", category: catLog, arg: "MASK",
		usage: "Any number but 0 logs every event in the life of every command, and sets --log-level to debug.",
		bind:  func(c *config) value { return maskValue{&c.Debug, math.MaxUint64} },
	},
	{
		name: "json", category: catLog,
		usage: "Print what is served as one JSON object on one line instead of as text, for programs.",
		bind:  func(c *config) value { return switchValue{&c.JSON} },
	},
	{
		name: "pid-file", category: catLog, arg: "FILE", def: "none",
		usage: "Write the process ID to this file once clients can connect, and remove it at the end.",
		bind:  func(c *config) value { return textValue{&c.PIDFile} },
	},
	{
		name: "control", category: catLog, arg: "PATH", def: "PID.sock in /run/fileio_tgt (root) or $XDG_RUNTIME_DIR/fileio_tgt",
		usage: "Socket on which \"fileio_tgt status\" and programs ask what goes on inside; only this user can connect. " +
			"none: there is none.",
		bind: func(c *config) value { return textValue{&c.Control} },
	},
	{
		name: "metrics", category: catLog, arg: "HOST:PORT", def: "none",
		usage: "Serve metrics for Prometheus at http://HOST:PORT/metrics. There is no authentication.",
		bind:  func(c *config) value { return textValue{&c.Metrics} },
	},
	{
		name: "record", category: catLog, arg: "FILE", def: "none",
		usage: "Record what crosses the interface between the target and the handler of the one device to this file, as JSON " +
			"lines; compressed when it ends in .gz or .zst. Every command then goes through the handler threads: " +
			"--inline is off. \"fileio_tgt trace\" shows and replays it.",
		bind: func(c *config) value { return textValue{&c.Record} },
	},

	{name: "help", short: "h", category: catInfo, usage: "Print this text and exit."},
	{
		name: "version", short: "v", category: catInfo,
		usage: "Print the version of the program and of the SCST interface that it follows, and exit.",
	},
}

// names returns every spelling of the option: the long name as it is and with
// the other kind of dash, so that nobody has to remember which one it is, and
// the letter.
func (o *option) names() []string {
	names := []string{o.name}
	for _, swap := range [][2]string{{"_", "-"}, {"-", "_"}} {
		if other := strings.ReplaceAll(o.name, swap[0], swap[1]); other != o.name {
			names = append(names, other)
		}
	}
	if o.short != "" {
		names = append(names, o.short)
	}
	return names
}

// isSwitch says that the option takes no argument.
func (o *option) isSwitch() bool { return o.arg == "" }

// defaultText is the default as --help shows it; "" is a switch that is off.
func (o *option) defaultText() string {
	if o.def != "" || o.bind == nil {
		return o.def
	}
	text := o.bind(defaultConfig()).String()
	if o.isSwitch() && text == "false" {
		return ""
	}
	return text
}

// lookupOption finds an option by any of its spellings.
func lookupOption(name string) *option {
	for i := range options {
		for _, n := range options[i].names() {
			if n == name {
				return &options[i]
			}
		}
	}
	return nil
}
