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
		Files: []string{r.disk.path, r.healthy},
		Args:  append([]string{"--device", filepath.Join(dir, "scst_user")}, r.mode.args...),
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

// handlerStops is SIGTERM to the handler, whose disk hangs.
var handlerStops = step{"SIGTERM to the handler ends it after the time, status 1", func(r *rig) {
	r.t.Helper()
	if err := r.handler.Signal(syscall.SIGTERM); err != nil {
		r.t.Fatal(err)
	}
	r.waitFor("the handler gives its disk up", func() bool {
		return strings.Contains(r.handler.Output(), "device image: its handler did not finish")
	})
	if strings.Contains(r.handler.Output(), "device healthy") {
		r.t.Errorf("a healthy disk suffers:\n%s", r.handler.Output())
	}
	r.fault.Clear() // or the process could not end
	if !r.handler.WaitExit(15*time.Second) || r.handler.ExitCode() != 1 {
		r.t.Errorf("the handler did not end with status 1:\n%s", r.handler.Output())
	}
}}

var hostRows = []row{
	{
		name: "lun-hang-SIGTERM", fault: "SIGTERM to a handler's process while a command hangs",
		on: []medium{plain}, sizes: []int{4 << 10},
		modes: []mode{hosted.with("`host`, the handler with `--drain_timeout 1`", "--drain_timeout=1")},
		steps: []step{
			fails(hangRead), hangs(nbdtest.CmdRead, 0), handlerStops, answered(outcome{errno: nbdtest.ESHUTDOWN}),
		},
		says: []line{{"at the end", "shut down: not everything was finished within --drain_timeout 1s: " +
			"device image: its handler did not finish: context deadline exceeded"}},
	},
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
