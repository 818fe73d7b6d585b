package vm

import (
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// baseModules are loaded always: what the machine consists of.
var baseModules = []string{"virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "virtio_rng", "crc32c_generic"}

// kernel is Debian's kernel as internal/ci/vm.sh unpacks it.
type kernel struct {
	image string            // the path of vmlinuz
	paths map[string]string // of the modules, by name
}

// cacheDir is where internal/ci/vm.sh puts the kernel.
func cacheDir() (string, error) {
	if dir := os.Getenv("SCSTUSER_VM_CACHE"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the kernel: %w", err)
	}
	return filepath.Join(dir, "scstuser", "vm"), nil
}

// findKernel finds the kernel in the cache.
func findKernel() (*kernel, error) {
	dir, err := cacheDir()
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "kernel")
	k := &kernel{image: filepath.Join(dir, "vmlinuz"), paths: make(map[string]string)}
	if _, err := os.Stat(k.image); err != nil {
		return nil, fmt.Errorf("there is no kernel, run `make vm-deps`: %w", err)
	}
	err = filepath.WalkDir(filepath.Join(dir, "modules"), func(path string, d fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok {
			k.paths[moduleName(name)] = path
		}
		return err
	})
	return k, err
}

// moduleName is how the kernel writes a module's name.
func moduleName(file string) string { return strings.ReplaceAll(file, "-", "_") }

// module is a module that is to be loaded.
type module struct {
	path   string
	params string
}

// modules returns what to load for modules that are wanted: each after those
// that it depends on, none twice. A wanted one may have parameters behind its
// name.
func (k *kernel) modules(wanted []string) ([]module, error) {
	r := resolver{paths: k.paths, depends: moduleDepends, seen: make(map[string]bool)}
	for _, w := range wanted {
		name, params, _ := strings.Cut(w, " ")
		if err := r.add(moduleName(name), params); err != nil {
			return nil, err
		}
	}
	return r.order, nil
}

// resolver brings modules into an order.
type resolver struct {
	paths   map[string]string
	depends func(path string) ([]string, error)
	seen    map[string]bool
	order   []module
}

// add adds a module behind what it depends on. The kernel's build made sure that
// there are no circles.
func (r *resolver) add(name, params string) error {
	if r.seen[name] {
		return nil
	}
	r.seen[name] = true
	path, ok := r.paths[name]
	if !ok {
		return fmt.Errorf("the kernel has no module %s: is it built in, or is it spelled differently", name)
	}
	needs, err := r.depends(path)
	if err != nil {
		return fmt.Errorf("module %s: %w", name, err)
	}
	for _, n := range needs {
		if err := r.add(n, ""); err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
	}
	r.order = append(r.order, module{path, params})
	return nil
}

// moduleDepends returns the names of what the module in a file depends on, as
// its section .modinfo says.
func moduleDepends(path string) ([]string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("%s is no kernel module: it has no section .modinfo", path)
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	return dependsOf(string(info)), nil
}

// dependsOf finds the field in the text of the section.
func dependsOf(info string) []string {
	for field := range strings.SplitSeq(info, "\x00") {
		list, ok := strings.CutPrefix(field, "depends=")
		if !ok || list == "" {
			continue
		}
		names := strings.Split(list, ",")
		for i, n := range names {
			names[i] = moduleName(n)
		}
		return names
	}
	return nil
}
