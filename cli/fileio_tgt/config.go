package main

import (
	"time"

	"scstuser/handlers/disk"
	"scstuser/handlers/fileio"
	"scstuser/nbd"
	"scstuser/ucmd/sgv"

	"github.com/sirupsen/logrus"
)

// parseType says who works out what a command transfers.
type parseType string

// The parse types (scst_user.md R43).
const (
	parseStd   parseType = "std"
	parseCall  parseType = "call"
	parseExcpt parseType = "excpt"
)

// onFreeType says whether the handler is told of finished commands.
type onFreeType string

// The on_free types (scst_user.md R22, R61). onFreeAuto stands for "not
// given" and is gone after config.resolve.
const (
	onFreeAuto   onFreeType = ""
	onFreeIgnore onFreeType = "ignore"
	onFreeCall   onFreeType = "call"
)

// memReuse says for which direction buffers are kept for later commands.
type memReuse string

// The mem_reuse types (scst_user.md R53).
const (
	reuseAll   memReuse = "all"
	reuseRead  memReuse = "read"
	reuseWrite memReuse = "write"
	reuseNone  memReuse = "none"
)

// cmdAction says what becomes of a command that its handler has for too long.
type cmdAction string

// The actions; ucmd has them as ActionReport and so on.
const (
	cmdReport cmdAction = "report"
	cmdReset  cmdAction = "reset"
	cmdKill   cmdAction = "kill"
)

// logFormat is how log records are written.
type logFormat string

// The log formats.
const (
	logText logFormat = "text"
	logJSON logFormat = "json"
)

// Bounds of the options, where a protocol or a pool sets them.
const (
	maxPayload     = 32 << 20               // NBD: the longest payload that clients may count on
	maxPoolPages   = 1 << (sgv.Classes - 1) // the largest class of the SGV pool
	multiCmdOn     = 32                     // what --multi_cmd 1 stands for
	defaultPurge   = 60 * time.Second
	neverPurge     = -1 * time.Second
	defaultAddress = "tcp:127.0.0.1:10809"
)

// config is everything that the command line decides. The options' own words
// are in flags.go; a field's zero value is what its option's zero means.
type config struct {
	// Exports are the files, in the order given. The first is also what a
	// client gets that asks for the export "". Never empty, names differ.
	Exports []exportConfig

	// The disks, alike for all exports.
	BlockSize    int    // bytes, a power of two
	VdiskID      uint64 // below 1<<31: the upper half of the disks' identifiers
	ReadOnly     bool
	NullIO       bool
	WriteThrough bool
	Direct       bool
	NVCache      bool

	// The life of a command.
	Threads     int // per device
	Parse       parseType
	OnFree      onFreeType // onFreeIgnore or onFreeCall
	MemReuse    memReuse
	NonBlocking bool
	MultiCmd    int // the most commands that one fetch delivers, at least 1
	Inline      bool
	SendFile    int64         // bytes from which on reads are sent from the page cache; 0: never
	CmdTimeout  time.Duration // 0: none
	CmdAction   cmdAction

	// The limits of each device.
	MaxUcmds       int
	AttachTimeout  time.Duration
	SuspendTimeout time.Duration
	ReleaseTimeout time.Duration

	// The buffer pool of each device.
	FlushInterval      time.Duration // 0: never
	SGVShared          bool
	SGVSinglePages     int           // 0: a class for each power of two
	SGVPurgeInterval   time.Duration // negative: never
	SGVNoClustered     bool
	PreallocBuffers    int
	PreallocBufferSize int64 // bytes
	MaxCachedBytes     int64 // idle, per pool

	// The network. Listen has the spelling of --listen, checked.
	Listen           []string
	Device           string // "": serve over NBD; else the node to register with
	DeviceVersion    string // "": abi.Version
	MaxConnections   int
	MaxInflight      int   // requests, per connection
	MaxInflightBytes int64 // payload, per connection
	MaxBufferBytes   int64 // data buffers of all devices
	HandshakeTimeout time.Duration
	waysConfig
	DrainTimeout time.Duration // 0: without end
	AtShutdown   farewell

	// The operator.
	LogLevel  logrus.Level
	LogFormat logFormat
	LogFile   string // "": stderr
	Debug     uint64 // non-zero: log every lifecycle event, at debug level
	JSON      bool   // the banner is one JSON object
	PIDFile   string // "": none
	Control   string // path, controlAuto or controlNone
	Metrics   string // HOST:PORT; "": none
	Record    string // "": nobody records

	Host hostConfig // of the subcommand host
}

// defaultConfig is what an empty command line means; it has no exports yet.
func defaultConfig() *config {
	return &config{
		BlockSize:        fileio.DefaultBlockSize,
		Threads:          7,
		Parse:            parseStd,
		OnFree:           onFreeAuto,
		MemReuse:         reuseAll,
		MultiCmd:         1,
		Inline:           true,
		SendFile:         disk.DefaultFileRead,
		CmdAction:        cmdReport,
		MaxUcmds:         65536,
		AttachTimeout:    5 * time.Second,
		SuspendTimeout:   90 * time.Second,
		ReleaseTimeout:   30 * time.Second,
		SGVPurgeInterval: defaultPurge,
		MaxCachedBytes:   32 << 20,
		Listen:           []string{defaultAddress},
		MaxConnections:   128,
		MaxInflight:      128,
		MaxInflightBytes: 64 << 20,
		MaxBufferBytes:   1 << 30,
		HandshakeTimeout: 30 * time.Second,
		waysConfig:       waysConfig{TLS: tlsOff, KeepAlive: 30 * time.Second},
		DrainTimeout:     30 * time.Second,
		AtShutdown:       farewellAuto,
		LogLevel:         logrus.InfoLevel,
		LogFormat:        logText,
		Host:             defaultHostConfig(),
	}
}

// resolve decides what follows from other options. given tells which options
// were on the command line.
func (c *config) resolve(given map[string]bool) {
	if c.OnFree == onFreeAuto {
		// A handler has to be told when a buffer that the pool does not
		// keep is free again; otherwise there is nothing to tell.
		c.OnFree = onFreeCall
		if c.MemReuse == reuseAll {
			c.OnFree = onFreeIgnore
		}
	}
	switch c.MultiCmd {
	case 0:
		c.MultiCmd = 1
	case 1:
		c.MultiCmd = multiCmdOn
	}
	switch {
	case c.SGVPurgeInterval == 0:
		c.SGVPurgeInterval = defaultPurge
	case c.SGVPurgeInterval < 0:
		c.SGVPurgeInterval = neverPurge
	}
	c.ListenGiven = given["listen"]
	if c.Debug != 0 && !given["log-level"] {
		c.LogLevel = logrus.DebugLevel
	}
}

// validate checks, on a resolved config, what one option alone cannot know.
// Each error is a usage error.
func (c *config) validate() error {
	for _, check := range []func() error{
		c.checkExports, c.checkBuffers, c.checkPrealloc, c.checkListen, c.checkDebug, c.checkCmdTimeout,
		c.checkMetrics, c.checkWays,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *config) checkBuffers() error {
	if c.MemReuse != reuseAll && c.OnFree == onFreeIgnore {
		return usagef("--mem_reuse %s with --on_free ignore: nobody would tell the handler when a buffer "+
			"that is not reused is free; leave --on_free out, or set it to call", c.MemReuse)
	}
	return nil
}

func (c *config) checkPrealloc() error {
	n, size := c.PreallocBuffers, c.PreallocBufferSize
	switch {
	case n == 0 && size == 0:
		return nil
	case size == 0:
		return usagef("--prealloc_buffers needs --prealloc_buffer_size, the size of each in KiB")
	case n == 0:
		return usagef("--prealloc_buffer_size needs --prealloc_buffers, how many to allocate")
	}
	if single := int64(c.SGVSinglePages) * sgv.PageSize; single != 0 && size != single {
		return usagef("--prealloc_buffer_size must be %d KiB, the one size that --sgv_single_cache %d has",
			single/1024, c.SGVSinglePages)
	}
	if c.SGVSinglePages == 0 && size&(size-1) != 0 {
		return usagef("--prealloc_buffer_size must be a power of two KiB: 4, 8 and so on to %d, the sizes the pool has",
			maxPoolPages*sgv.PageSize/1024)
	}
	if size > c.MaxCachedBytes/int64(n) {
		return usagef("--prealloc_buffers %d of %s each are more than --max_cached %s lets the pool keep; raise it",
			n, compactSize(size), compactSize(c.MaxCachedBytes))
	}
	return nil
}

func (c *config) checkCmdTimeout() error {
	if c.CmdTimeout == 0 && c.CmdAction != cmdReport {
		return usagef("--cmd_timeout_action %s needs --cmd_timeout, how long a handler may have a command", c.CmdAction)
	}
	return nil
}

func (c *config) checkMetrics() error {
	if c.Metrics == "" {
		return nil
	}
	if _, err := nbd.ParseListen("tcp:" + c.Metrics); err != nil {
		return usagef("--metrics %s: must be HOST:PORT, such as 127.0.0.1:9810", shellQuote(c.Metrics))
	}
	return nil
}

func (c *config) checkDebug() error {
	if c.Debug != 0 && c.LogLevel < logrus.DebugLevel {
		return usagef("--debug logs at level debug, which --log-level %s hides; leave --log-level out, or set it to debug",
			levelValue{&c.LogLevel})
	}
	return nil
}

// fileRead is SendFile as the disk takes it.
func (c *config) fileRead() int {
	if c.SendFile == 0 {
		return -1
	}
	return int(c.SendFile)
}
