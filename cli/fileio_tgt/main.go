package main

import (
	"io"
	"os"
)

func main() {
	os.Exit(run(os.Args, apart(os.Stdout), apart(os.Stderr), serveWhat))
}

// run is the whole program except for the exit itself: it returns the exit
// status. The banner and the help go to stdout, logs and errors to stderr.
func run(args []string, stdout, stderr io.Writer, serve serveFunc) int {
	return report(stderr, runApp(args, stdout, stderr, serve))
}
