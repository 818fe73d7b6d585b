// Command fileio_tgt exports files and block devices over NBD. Every request
// travels as a SCSI command through the whole life of an scst_user command:
// parse, buffer, execution, response, on-free.
//
// This package decides and wires; it has no storage logic. Its way from the
// command line to a running server, a file for each step:
//
//	mainthread.go       why signals arrive though a disk hangs
//	main.go, app.go     entry; urfave/cli routes to an action
//	args.go             short options as getopt spells them
//	flags.go, values.go the table of options, and how their values are read
//	commandline.go      the table as flags of urfave/cli, read into a config
//	usage.go            what is wrong with a command line that can't be read
//	config.go           everything decided, in one plain struct, and checked
//	exports.go          which file has which name
//	listen.go           where to listen, and commands that connect there
//	supervise.go        logs, signals, serve, banner, in order
//	ways.go             TLS, inherited sockets, who may connect
//	service.go          what a service manager is told
//	serve.go            builds devices, handlers and listeners from a config
//	report.go           what devices report, as log records
//	faults.go           what the media fail to do, as log records
//	release.go          the end of the media, also of those that hang
//	cutoff.go           what follows when a handler is cut off
//	node.go             the same for disks that are registered with a node
//	host*.go            the subcommand host: its options, wiring and banner
//	banner.go           what the operator is told once, as text or JSON
//	help.go, version.go what --help and --version print
//	logging.go          logrus set-up and the log file that can be reopened
//	control.go          answers about the inside: control socket, metrics
//	attachlocal.go      the export as a block device of this machine
//	attachcmd.go        the subcommands that do that for any server
//	statuscmd.go        the subcommand that asks
//	pidfile.go          the file with the process ID
//	signals.go          one loop that turns signals into calls of a control
//	errors.go           exit statuses; each error is one line
//	trace*.go           the verbs of fileio_tgt trace
//
// Goroutines: the one of main runs serve; one more runs the signal loop, and
// one runs control.Shutdown while connections drain. The locks are
// startControl.mu (what signals act on) and logFile.mu (the open file); neither
// is ever taken while the other is held.
package main
