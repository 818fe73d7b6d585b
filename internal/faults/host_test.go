package faults

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"scstuser/internal/faultfs"
	"scstuser/internal/proc"
	"scstuser/nbd/nbdtest"
)

// hosted serves the disks by a handler in a process of its own, at the node of a
// host.
var hosted = mode{name: "host", text: "`host`"}

// hostProgram is the host.
type hostProgram struct{ bin, dir string }

// Name implements proc.Program.
func (hostProgram) Name() string { return "fileio_tgt host" }

// Argv implements proc.Program.
func (p hostProgram) Argv(c proc.Config) ([]string, error) {
	return append([]string{p.bin, "host", "--mount", p.dir, "--listen", c.Listen[0].String()}, c.Args...), nil
}

// startHosted is start for the mode hosted.
func (r *rig) startHosted() {
	r.t.Helper()
	dir := filepath.Join(r.dir, "mount")
	if err := os.Mkdir(dir, 0o700); err != nil {
		r.t.Fatal(err)
	}
	socket := filepath.Join(r.dir, "s")
	var err error
	r.server, err = proc.Start(context.Background(), hostProgram{r.bin, dir}, proc.Config{
		Listen: []proc.Endpoint{proc.Unix(socket)}, Args: []string{"--control=none"},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.handler, err = proc.Start(context.Background(), proc.FileioTgt{Bin: r.bin}, proc.Config{
		Files: []string{r.disk.path, r.healthy}, Args: []string{"--device", filepath.Join(dir, "scst_user")},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.waitFor("both disks are exported", func() bool {
		c := nbdtest.Dial(r.t, "unix", socket)
		defer c.Close()
		c.Hello()
		return len(c.List()) == 2
	})
}

// endHosted ends the handler, before the host.
func (r *rig) endHosted() {
	if r.handler == nil {
		return
	}
	_ = r.handler.Signal(os.Interrupt)
	if !r.handler.WaitExit(20 * time.Second) {
		r.t.Error("the handler did not end")
		r.handler.Kill()
	}
}

// lun is a step of a program that uses devices/NAME/lun. says is what it
// complains of.
func lun(text, script, says string) step {
	result := " ok"
	if says != "" {
		result = " **" + says + "**"
	}
	return step{text + " `lun`" + result, func(r *rig) {
		r.t.Helper()
		var errs strings.Builder
		cmd := exec.Command("sh", "-ec", script)
		cmd.Env = append(slices.Clone(os.Environ()), "LC_ALL=C", "L="+filepath.Join(r.dir, "mount", "devices", r.export(), "lun"))
		cmd.Stderr = &errs
		err := cmd.Run()
		if (err != nil) != (says != "") || !strings.Contains(errs.String(), errnoTexts[says]) {
			r.t.Errorf("%s: %v, %q, want %q", text, err, errs.String(), says)
		}
	}}
}

// errnoTexts are what programs say.
var errnoTexts = map[string]string{"": "", "EIO": "Input/output error", "ENOSPC": "No space left on device"}

// dd moves a block there.
var (
	ddRead  = fmt.Sprintf(`dd if="$L" of=/dev/null bs=4096 count=1 skip=%d status=none`, there/4096)
	ddWrite = fmt.Sprintf(`dd if=/dev/zero of="$L" bs=4096 count=1 seek=%d conv=notrunc status=none`, there/4096)
	ddSync  = `sync --data "$L"`
)

var hostRows = []row{
	{
		name: "lun-read-EIO", fault: "EIO on reading a range, through a handler's process",
		on: []medium{plain}, modes: []mode{hosted}, sizes: []int{4 << 10},
		steps: []step{
			fails(badRange(faultfs.Read, syscall.EIO)),
			read(readError), readElsewhere(ok), lun("read of", ddRead, "EIO"), repaired, read(ok), lun("read of", ddRead, ""),
		},
		logs: []line{readsFail},
	},
	{
		name: "lun-ENOSPC", fault: "ENOSPC on writing, through a handler's process",
		on: []medium{plain}, modes: []mode{hosted}, sizes: []int{4 << 10},
		steps: []step{
			fails(badRange(faultfs.Write, syscall.ENOSPC)),
			write(noSpace), lun("write to", ddWrite, "ENOSPC"), repaired, lun("write to", ddWrite, ""),
		},
		logs: []line{spaceFails},
	},
	{
		name: "lun-fsync-EIO", fault: "EIO on fsync, once, through a handler's process",
		on: []medium{plain}, modes: []mode{hosted}, sizes: []int{4 << 10},
		steps: []step{
			lun("write to", ddWrite, ""), lun("fsync of", ddSync, ""),
			fails(faultfs.Fault{Ops: faultfs.Sync, Times: 1, PerOpen: true, Err: syscall.EIO}),
			lun("fsync of", ddSync, "EIO"), lun("fsync of", ddSync, "EIO"), flush(lostError),
			lun("write to", ddWrite, ""), lun("read of", ddRead, ""), repaired, lun("fsync of", ddSync, "EIO"),
		},
		logs: []line{dataLost},
	},
}
