package proc

import (
	"errors"
	"fmt"
	"net"
	"strconv"
)

// ErrUnsupported is what Program.Argv returns, wrapped, for a Config that the
// program has no options for.
var ErrUnsupported = errors.New("not supported by this server")

// Config says what a server is to serve and how.
type Config struct {
	// Files are the images, one export each, named after the file's base name.
	Files []string
	// Listen are the endpoints, at least one.
	Listen []Endpoint
	// ReadOnly refuses writes.
	ReadOnly bool
	// Block is the logical block size in bytes; 0 leaves the server's default.
	Block int
	// Args are further options, in the program's own spelling.
	Args []string
	// Wrap is put before the command line, to run the server under another
	// program. That program must keep the server as the direct child (for
	// strace: -D), or Usage and the signals hit the wrapper instead.
	Wrap []string
	// Env are additions to the environment, KEY=value.
	Env []string
}

// Program knows the command line of one kind of server.
type Program interface {
	// Name is what messages and tables call the program.
	Name() string
	// Argv returns the command line for c, the executable first. It returns
	// ErrUnsupported, wrapped, for what the program can't do.
	Argv(c Config) ([]string, error)
}

// FileioTgt is this project's server.
type FileioTgt struct {
	// Bin is the binary's path; see Builder.
	Bin string
}

var _ Program = FileioTgt{}

// Name implements Program.
func (FileioTgt) Name() string { return "fileio_tgt" }

// Argv implements Program.
func (p FileioTgt) Argv(c Config) ([]string, error) {
	argv := []string{p.Bin}
	for _, f := range c.Files {
		argv = append(argv, "-f", f)
	}
	for _, e := range c.Listen {
		argv = append(argv, "--listen", e.String())
	}
	if c.ReadOnly {
		argv = append(argv, "--read_only")
	}
	if c.Block != 0 {
		argv = append(argv, "--block="+strconv.Itoa(c.Block))
	}
	return append(argv, c.Args...), nil
}

// Nbdkit is nbdkit with its file plugin and its default number of threads. It
// serves single bytes; a Block makes it refuse requests that are not whole
// blocks.
type Nbdkit struct{}

var _ Program = Nbdkit{}

// Name implements Program.
func (Nbdkit) Name() string { return "nbdkit" }

// Argv implements Program.
func (p Nbdkit) Argv(c Config) ([]string, error) {
	if err := peerSupports(p, c); err != nil {
		return nil, err
	}
	plugin := []string{"file", c.Files[0]}
	argv := []string{"nbdkit", "-f"}
	if c.Block != 0 {
		argv = append(argv, "--filter=blocksize-policy")
		plugin = append(plugin, "blocksize-error-policy=error",
			"blocksize-minimum="+strconv.Itoa(c.Block), "blocksize-preferred="+strconv.Itoa(max(c.Block, 512)))
	}
	switch e := c.Listen[0]; e.Network {
	case "unix":
		argv = append(argv, "-U", e.Addr)
	default:
		host, port, err := net.SplitHostPort(e.Addr)
		if err != nil {
			return nil, fmt.Errorf("address for nbdkit: %w", err)
		}
		argv = append(argv, "-i", host, "-p", port)
	}
	if c.ReadOnly {
		argv = append(argv, "-r")
	}
	argv = append(argv, c.Args...)
	return append(argv, plugin...), nil
}

// QemuNbd is qemu-nbd serving a raw image through the host's page cache, to up
// to 16 clients at a time. It listens on unix sockets only: there is no way to
// let it choose a port.
type QemuNbd struct {
	// AIO is how it reads and writes the file: "threads" or "io_uring".
	AIO string
}

var _ Program = QemuNbd{}

// Name implements Program.
func (p QemuNbd) Name() string { return "qemu-nbd/" + p.AIO }

// Argv implements Program.
func (p QemuNbd) Argv(c Config) ([]string, error) {
	if err := peerSupports(p, c); err != nil {
		return nil, err
	}
	if c.Listen[0].Network != "unix" || c.Block != 0 {
		return nil, fmt.Errorf("%s on %s with block size %d: %w", p.Name(), c.Listen[0], c.Block, ErrUnsupported)
	}
	argv := []string{"qemu-nbd", "-f", "raw", "--cache=writeback", "--aio=" + p.AIO,
		"--discard=unmap", "-e", "16", "-t", "-k", c.Listen[0].Addr}
	if c.ReadOnly {
		argv = append(argv, "-r")
	}
	argv = append(argv, c.Args...)
	return append(argv, c.Files[0]), nil
}

// GoNbd is the file server among go-nbd's examples. It serves one request at a
// time and ends with the signal that asks it to: see Server.Kill.
type GoNbd struct {
	// Bin is the binary's path; see Builder.GoNbd.
	Bin string
}

var _ Program = GoNbd{}

// Name implements Program.
func (GoNbd) Name() string { return "go-nbd" }

// Argv implements Program.
func (p GoNbd) Argv(c Config) ([]string, error) {
	if err := peerSupports(p, c); err != nil {
		return nil, err
	}
	if c.Block != 0 {
		return nil, fmt.Errorf("%s with block size %d: %w", p.Name(), c.Block, ErrUnsupported)
	}
	e := c.Listen[0]
	argv := []string{p.Bin, "-network", e.Network, "-laddr", e.Addr, "-name", "", "-file", c.Files[0]}
	if c.ReadOnly {
		argv = append(argv, "-read-only")
	}
	return append(argv, c.Args...), nil
}

// peerSupports refuses what none of the peers can do: they serve one file at
// one endpoint.
func peerSupports(p Program, c Config) error {
	if len(c.Files) != 1 || len(c.Listen) != 1 {
		return fmt.Errorf("%s with %d files and %d endpoints: %w",
			p.Name(), len(c.Files), len(c.Listen), ErrUnsupported)
	}
	return nil
}
