package vm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"scstuser/internal/vm/cpio"
)

// writeImage writes the initial root file system to a file.
func writeImage(ctx context.Context, file string, k *kernel, c Config) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b := bufio.NewWriterSize(f, 1<<20)
	i := image{w: cpio.NewWriter(b), has: make(map[string]bool)}
	for _, step := range []func() error{
		i.devices,
		func() error { return i.programs(ctx, c.Packages) },
		func() error { return i.tools(ctx, c.Tools) },
		func() error { return i.modules(k, c.Modules) },
		func() error { return i.files(c.Files) },
		i.w.Close,
		b.Flush,
	} {
		if err := step(); err != nil {
			return fmt.Errorf("make the guest's file system: %w", err)
		}
	}
	return nil
}

// image is an initial root file system that is being written.
type image struct {
	w   *cpio.Writer
	has map[string]bool // libraries that are in it
}

// devices adds what process 1 needs before it has mounted anything.
func (i *image) devices() error {
	for _, e := range []cpio.Entry{
		{Path: "/dev/console", Mode: cpio.TypeCharacter | 0o600, Major: 5, Minor: 1},
		{Path: "/mnt", Mode: cpio.TypeDirectory | 0o755},
		{Path: "/root", Mode: cpio.TypeDirectory | 0o700},
		{Path: "/etc/passwd", Mode: cpio.TypeFile | 0o644, Data: []byte("root:x:0:0:root:/root:/bin/sh\n")},
		{Path: "/etc/group", Mode: cpio.TypeFile | 0o644, Data: []byte("root:x:0:\n")},
		{Path: "/etc/mtab", Mode: cpio.TypeSymlink | 0o777, Data: []byte("/proc/self/mounts")},
	} {
		if err := i.w.Add(e); err != nil {
			return err
		}
	}
	return nil
}

// programs adds the agent and programs of this module.
func (i *image) programs(ctx context.Context, packages []string) error {
	agent, err := StaticProgram(ctx, agentPackage)
	if err != nil {
		return err
	}
	if err := i.w.Add(cpio.Entry{Path: "/init", Mode: cpio.TypeFile | 0o755, Data: agent}); err != nil {
		return err
	}
	for _, pkg := range packages {
		program, err := StaticProgram(ctx, pkg)
		if err != nil {
			return err
		}
		e := cpio.Entry{Path: path.Join("/usr/local/bin", path.Base(pkg)), Mode: cpio.TypeFile | 0o755, Data: program}
		if err := i.w.Add(e); err != nil {
			return err
		}
	}
	return nil
}

// tools adds busybox, a shell, and programs of this host. Those are all in
// /usr/sbin, where they come before busybox's own; the shell is dash, as
// busybox's would still take busybox's.
func (i *image) tools(ctx context.Context, names []string) error {
	busybox, err := findBusybox()
	if err != nil {
		return err
	}
	if err := i.copy(busybox, "/bin/busybox", 0o755); err != nil {
		return err
	}
	if err := i.tool("dash", "/bin/sh"); err != nil {
		return err
	}
	for _, name := range names {
		if err := i.tool(name, path.Join("/usr/sbin", filepath.Base(name))); err != nil {
			return err
		}
	}
	applets, err := exec.CommandContext(ctx, busybox, "--list").Output()
	if err != nil {
		return fmt.Errorf("list what busybox has: %w", err)
	}
	for _, applet := range strings.Fields(string(applets)) {
		if applet == "sh" || applet == "busybox" {
			continue
		}
		e := cpio.Entry{Path: path.Join("/bin", applet), Mode: cpio.TypeSymlink | 0o777, Data: []byte("busybox")}
		if err := i.w.Add(e); err != nil {
			return err
		}
	}
	return nil
}

// tool adds a program of this host, and the libraries that it needs.
func (i *image) tool(name, to string) error {
	program, err := findTool(name)
	if err != nil {
		return err
	}
	if err := i.copy(program, to, 0o755); err != nil {
		return err
	}
	libs, err := libraries(program)
	if err != nil {
		return err
	}
	for _, lib := range libs {
		if i.has[lib] {
			continue
		}
		i.has[lib] = true
		if err := i.copy(lib, lib, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// modules adds the kernel's modules and the list of them.
func (i *image) modules(k *kernel, wanted []string) error {
	modules, err := k.modules(slices.Concat(baseModules, wanted))
	if err != nil {
		return err
	}
	var list strings.Builder
	for _, m := range modules {
		to := path.Join("/lib/modules", filepath.Base(m.path))
		if err := i.copy(m.path, to, 0o644); err != nil {
			return err
		}
		fmt.Fprintln(&list, strings.TrimSpace(to+" "+m.params))
	}
	return i.w.Add(cpio.Entry{Path: "/etc/modules", Mode: cpio.TypeFile | 0o644, Data: []byte(list.String())})
}

// files adds what the caller wants.
func (i *image) files(files []File) error {
	for _, f := range files {
		mode := f.Mode & 0o7777
		if mode == 0 {
			mode = 0o755
		}
		if f.Source != "" {
			if err := i.copy(f.Source, f.Path, mode); err != nil {
				return err
			}
		} else if err := i.w.Add(cpio.Entry{Path: f.Path, Mode: cpio.TypeFile | mode, Data: f.Data}); err != nil {
			return err
		}
	}
	return nil
}

// copy adds a file of this host.
func (i *image) copy(from, to string, mode uint32) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return i.w.Add(cpio.Entry{Path: to, Mode: cpio.TypeFile | mode, Data: data})
}
