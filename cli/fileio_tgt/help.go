package main

import (
	"fmt"
	"strings"
)

// helpWidth is the width that --help and the banner are laid out for.
const helpWidth = 79

const helpHead = `fileio_tgt exports disk images and block devices over NBD

usage: fileio_tgt [OPTIONS] -f FILE [-f FILE]...
       fileio_tgt [OPTIONS] NAME FILE [NAME FILE]...
       fileio_tgt status [--json] [--commands] [--watch SECONDS] [PID|SOCKET]
       fileio_tgt host --mount DIR ...   handlers in own processes: host --help
       fileio_tgt trace VERB ...   recordings of the interface: trace --help
       fileio_tgt attach [OPTIONS] URI DEVICE
       fileio_tgt detach DEVICE

Every request is a SCSI command that lives the life of a command of SCST's
scst_user; the options are those of SCST's fileio_tgt, and a few more.

For a try: fileio_tgt -f image.img, then nbdinfo nbd://127.0.0.1
`

const helpTail = `
"fileio_tgt status" tells what a running one does: who is connected, what
commands did and how long they took, buffers, ucmds; status --help tells more.
"fileio_tgt attach" makes an export of any NBD server a block device of this
machine, and "fileio_tgt detach" ends that; attach --help tells more.

A disk that fails: each request gets its own error. After a failure to make
data durable every flush and every durable write fails until the program is
started again, since the kernel forgets what was lost; see docs/faults.md.

Signals: SIGTERM and SIGINT finish the commands in flight and exit, a second
one exits at once; SIGUSR1 looks at the size of the files again; SIGHUP opens
the log file anew and reads the TLS certificates again.

Exit status: 0 after a signal, 1 after a failure, 2 for a wrong command line.

Option names may be written with _ or -. Letters may be run together (-tr) and
have their argument attached (-b4096).
`

// helpText is what --help prints.
func helpText() string {
	var b strings.Builder
	b.WriteString(helpHead)
	for _, cat := range categories {
		fmt.Fprintf(&b, "\n%s\n", cat)
		for i := range options {
			if options[i].category == cat {
				writeOption(&b, &options[i])
			}
		}
	}
	b.WriteString(helpTail)
	return b.String()
}

// writeOption writes one entry of the help.
func writeOption(b *strings.Builder, opt *option) {
	short := "    "
	if opt.short != "" {
		short = "-" + opt.short + ", "
	}
	b.WriteString("  " + short + "--" + opt.name)
	if opt.arg != "" {
		b.WriteString(" " + opt.arg)
	}
	b.WriteByte('\n')
	text := opt.usage
	if def := opt.defaultText(); def != "" {
		text += " (default: " + def + ")"
	}
	writeWrapped(b, "          ", text)
}

// writeWrapped writes text in lines of at most helpWidth columns, each behind
// indent. Words longer than that stay whole.
func writeWrapped(b *strings.Builder, indent, text string) {
	column := 0
	for _, word := range strings.Fields(text) {
		switch {
		case column == 0:
			b.WriteString(indent)
			column = len(indent)
		case column+1+len(word) > helpWidth:
			b.WriteString("\n" + indent)
			column = len(indent)
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	b.WriteByte('\n')
}
