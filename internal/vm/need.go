package vm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// EnvEnable is the environment variable without which the tests do not boot
// machines. make test-vm sets it.
const EnvEnable = "SCSTUSER_VM"

// qemuProgram is what boots the machines.
const qemuProgram = "qemu-system-x86_64"

// Need skips the test if no machine can be booted because nobody asked for that,
// and fails it if somebody did and something is missing. Either way it says what
// to do.
func Need(t testing.TB) {
	t.Helper()
	if os.Getenv(EnvEnable) == "" {
		skip(t, "it boots a virtual machine; run `make test-vm`")
		return
	}
	if err := Available(); err != nil {
		t.Fatal(err)
	}
}

// skip skips a test so that one sees it without -v.
func skip(t testing.TB, why string) {
	t.Helper()
	fmt.Fprintf(os.Stderr, "NOT TESTED: %s: %s\n", t.Name(), why)
	t.Skip(why)
}

// Available returns an error that says what is missing for a machine, and how to
// get it.
func Available() error {
	_, err := exec.LookPath(qemuProgram)
	if err != nil {
		err = fmt.Errorf("there is no QEMU, run `make vm-deps`: %w", err)
	}
	_, busybox := findBusybox()
	_, kernel := findKernel()
	return errors.Join(err, busybox, kernel)
}

// findBusybox returns the path of a busybox that needs no libraries.
func findBusybox() (string, error) {
	path, err := findTool("busybox")
	if err != nil {
		return "", err
	}
	libs, err := libraries(path)
	if err == nil && len(libs) > 0 {
		err = errors.New("busybox is not static, run `make vm-deps`")
	}
	return path, err
}
