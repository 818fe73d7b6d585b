// Command fscheck puts a load on a file system and knows what has to be in it
// afterwards. internal/vm's guests run it on file systems whose disk we serve.
//
// What it does follows from its seed alone: files are created, overwritten in
// pieces, appended to, truncated and grown, renamed over each other, unlinked,
// synced and punched, and each is read back, around the page cache where the file
// system lets us, at random moments. With -verify nothing is done: it works out
// what is there after the same seed and number of operations, and compares. A
// difference is told with the file, the offset and both bytes, and is exit
// status 1.
//
//	main.go   the command line
//	model.go  what has to be there
//	plan.go   what is done, drawn from the seed
//	disk.go   doing it to a real directory
//	check.go  comparing
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	dir := flag.String("dir", "", "directory to work in; it has to be empty, unless -verify is given")
	seed := flag.Uint64("seed", 1, "what is done follows from this number")
	ops := flag.Int("ops", 400, "how many operations")
	verify := flag.Bool("verify", false, "only compare with what an earlier run has left")
	flag.Parse()
	if *dir == "" || flag.NArg() > 0 || *ops < 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*dir, *seed, *ops, *verify); err != nil {
		fmt.Fprintf(os.Stderr, "fscheck: seed %d: %v\n", *seed, err)
		os.Exit(1)
	}
	fmt.Printf("seed %d: %d operations, as they should be\n", *seed, *ops)
}

// run does the whole of it.
func run(dir string, seed uint64, ops int, verify bool) error {
	m := newModel()
	p := newPlan(seed)
	d := &disk{dir: dir}
	for i := range ops {
		op := p.next(m)
		if !verify {
			if err := d.do(op, m); err != nil {
				return fmt.Errorf("operation %d, %s: %w", i, op, err)
			}
		}
		m.do(op)
	}
	if !verify {
		if err := d.sync(); err != nil {
			return err
		}
	}
	return d.compare(m)
}
