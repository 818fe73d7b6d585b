package nodehost

import (
	"bufio"
	"bytes"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Program is a program that a test runs beside a host, a handler mostly. It does
// not outlive the test, nor the test's process.
type Program struct {
	Cmd *exec.Cmd
	// Stderr is what it has said; all of it is there when it has ended.
	Stderr bytes.Buffer

	t testing.TB
}

// endTimeout is how long a program may take to end.
const endTimeout = 20 * time.Second

// StartProgram starts cmd, whose output is not set, and returns the first line
// that it prints, without its end. One that prints none fails the test.
func StartProgram(t testing.TB, cmd *exec.Cmd) (p *Program, line string) {
	t.Helper()
	p = &Program{Cmd: cmd, t: t}
	cmd.Stderr = &p.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	line, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = cmd.Wait()
		t.Fatalf("%s says %q: %v, %s", cmd.Path, line, err, p.Stderr.String())
	}
	return p, strings.TrimSuffix(line, "\n")
}

// End sends a signal, if it is one, and returns the exit status; -1 after a
// kill.
func (p *Program) End(sig syscall.Signal) int {
	p.t.Helper()
	if sig != 0 {
		_ = p.Cmd.Process.Signal(sig)
	}
	kill := time.AfterFunc(endTimeout, func() { _ = p.Cmd.Process.Kill() })
	defer kill.Stop()
	_ = p.Cmd.Wait()
	return p.Cmd.ProcessState.ExitCode()
}
