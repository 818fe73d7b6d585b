package proc

import (
	"fmt"
	"os/exec"
)

// packages says which Debian package has a tool that the tests or the
// benchmark run.
var packages = map[string]string{
	"fio":         "fio",
	"nbdcopy":     "libnbd-bin",
	"fusermount3": "fuse3",
	"nbddump":     "libnbd-bin",
	"nbdfuse":     "libnbd-bin",
	"nbdinfo":     "libnbd-bin",
	"nbdkit":      "nbdkit",
	"qemu-img":    "qemu-utils",
	"qemu-io":     "qemu-utils",
	"qemu-nbd":    "qemu-utils",
	"strace":      "strace",
}

// FindTool returns an error that says which package to install if the named
// tool is not in the PATH.
func FindTool(name string) error {
	if _, err := exec.LookPath(name); err != nil {
		pkg, ok := packages[name]
		if !ok {
			pkg = name
		}
		return fmt.Errorf("%s is not installed, run `apt-get install %s`: %w", name, pkg, err)
	}
	return nil
}
