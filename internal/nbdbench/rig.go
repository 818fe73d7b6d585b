package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"scstuser/internal/proc"
)

// ours is the contender that the others are compared with.
const ours = "fileio_tgt"

// stopTimeout is how long a server may take to end.
const stopTimeout = 10 * time.Second

// contender is one kind of server, running.
type contender struct {
	name string
	// read serves the image, write the scratch copy. A server of its own for
	// each keeps the peers, which serve one file, and ours alike.
	read, write *proc.Server
	// killed says that it knows no other end.
	killed bool
}

// serverFor returns the server that gets the load of p.
func (c *contender) serverFor(p Point) *proc.Server {
	if p.Write {
		return c.write
	}
	return c.read
}

// rig is everything that runs during the benchmark.
type rig struct {
	images     *images
	contenders []*contender
	// notes say what could not be had.
	notes []string

	dir string // sockets and the binary
}

// newRig makes the images and starts every contender on them. The caller must
// call close.
func newRig(ctx context.Context, s settings, progress io.Writer) (_ *rig, err error) {
	for _, tool := range []string{"nbdkit", "qemu-nbd", "nbdcopy"} {
		if err := proc.FindTool(tool); err != nil {
			return nil, err
		}
	}
	r := new(rig)
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if r.dir, err = os.MkdirTemp("", "nbdbench"); err != nil {
		return nil, err
	}
	bin := s.bin
	if bin == "" {
		fmt.Fprintln(progress, "building fileio_tgt")
		if bin, err = (&proc.Builder{Dir: r.dir}).Binary(ctx, false); err != nil {
			return nil, err
		}
	}
	fmt.Fprintf(progress, "making an image of %s in %s\n", formatSize(s.imageSize), s.dir)
	if r.images, err = makeImages(s.dir, s.imageSize); err != nil {
		return nil, err
	}
	for _, p := range []proc.Program{
		proc.FileioTgt{Bin: bin},
		proc.Nbdkit{},
		proc.QemuNbd{AIO: "threads"},
	} {
		if err := r.start(ctx, p); err != nil {
			return nil, err
		}
	}
	goNbd, err := (&proc.Builder{Dir: r.dir}).GoNbd(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.start(ctx, proc.GoNbd{Bin: goNbd}); err != nil {
		return nil, err
	}
	r.contenders[len(r.contenders)-1].killed = true
	// A kernel or a qemu-nbd without io_uring is no reason to stop.
	uring := proc.QemuNbd{AIO: "io_uring"}
	if err := r.start(ctx, uring); err != nil {
		reason, _, _ := strings.Cut(err.Error(), "\n")
		r.notes = append(r.notes, uring.Name()+" is left out: "+reason)
	}
	return r, nil
}

// start starts a contender.
func (r *rig) start(ctx context.Context, p proc.Program) error {
	c := &contender{name: p.Name()}
	for _, which := range []struct {
		file   string
		server **proc.Server
	}{
		{r.images.read, &c.read},
		{r.images.write, &c.write},
	} {
		socket := fmt.Sprintf("%d%s.sock", len(r.contenders), filepath.Base(which.file))
		s, err := proc.Start(ctx, p, proc.Config{
			Files:  []string{which.file},
			Listen: []proc.Endpoint{proc.Unix(filepath.Join(r.dir, socket))},
		})
		if err != nil {
			if c.read != nil {
				c.read.Kill()
			}
			return err
		}
		*which.server = s
	}
	r.contenders = append(r.contenders, c)
	return nil
}

// close stops the servers and removes the files. A server that does not end
// well is an error.
func (r *rig) close() error {
	var errs []error
	for _, c := range r.contenders {
		if c.killed {
			c.read.Kill()
			c.write.Kill()
			continue
		}
		errs = append(errs, c.read.Stop(stopTimeout), c.write.Stop(stopTimeout))
	}
	if r.images != nil {
		r.images.remove()
	}
	if r.dir != "" {
		os.RemoveAll(r.dir)
	}
	return errors.Join(errs...)
}

// check reads both files through every server, which warms them up, and
// compares each byte.
func (r *rig) check(ctx context.Context) error {
	for _, c := range r.contenders {
		for _, s := range []*proc.Server{c.read, c.write} {
			if err := checkServer(ctx, s, r.images.read); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	return nil
}

// checkServer compares what a server exports with a file.
func checkServer(ctx context.Context, s *proc.Server, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the copy if it is not read to its end
	cmd := exec.CommandContext(ctx, "nbdcopy", s.URI(""), "-")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	compared := sameBytes(out, f)
	if compared != nil {
		cancel()
	}
	if err := cmd.Wait(); err != nil && compared == nil {
		return fmt.Errorf("nbdcopy: %w\n%s", err, stderr.Bytes())
	}
	return compared
}

// peakRSS returns the most memory that each contender has needed in one of its
// servers, in bytes.
func (r *rig) peakRSS() (map[string]int64, error) {
	peak := make(map[string]int64, len(r.contenders))
	for _, c := range r.contenders {
		for _, s := range []*proc.Server{c.read, c.write} {
			u, err := s.Usage()
			if err != nil {
				return nil, err
			}
			peak[c.name] = max(peak[c.name], u.PeakRSS)
		}
	}
	return peak, nil
}
