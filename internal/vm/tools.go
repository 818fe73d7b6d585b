package vm

import (
	"debug/elf"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// toolDirs are where tools are that an ordinary user's PATH does not have.
var toolDirs = []string{"/usr/sbin", "/sbin"}

// libraryDirs are where the dynamic linker looks for libraries.
var libraryDirs = []string{
	"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib",
}

// findTool returns the path of a program of this host.
func findTool(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range toolDirs {
		if err == nil {
			break
		}
		path, err = exec.LookPath(filepath.Join(dir, name))
	}
	if err != nil {
		return "", fmt.Errorf("%s is not installed, run `make vm-deps`: %w", name, err)
	}
	return path, nil
}

// libraries returns the paths of what a program needs to run, the dynamic linker
// first, or nothing for a static one or a script.
func libraries(program string) ([]string, error) {
	l := library{found: make(map[string]bool)}
	if err := l.needs(program); err != nil {
		return nil, fmt.Errorf("libraries of %s: %w", program, err)
	}
	return l.paths, nil
}

// library collects libraries.
type library struct {
	found map[string]bool // names
	paths []string
}

// needs adds what a program or a library needs.
func (l *library) needs(path string) error {
	f, err := elf.Open(path)
	if err != nil {
		if script(path) {
			return nil
		}
		return err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		interpreter, err := io.ReadAll(p.Open())
		if err != nil {
			return err
		}
		l.add(strings.TrimRight(string(interpreter), "\x00"))
	}
	names, err := f.ImportedLibraries()
	if err != nil {
		return err
	}
	for _, name := range names {
		if l.found[name] {
			continue
		}
		path, err := findLibrary(name)
		if err != nil {
			return err
		}
		l.add(path)
		if err := l.needs(path); err != nil {
			return err
		}
	}
	return nil
}

func (l *library) add(path string) {
	if name := filepath.Base(path); !l.found[name] {
		l.found[name] = true
		l.paths = append(l.paths, path)
	}
}

// findLibrary finds a library by its name.
func findLibrary(name string) (string, error) {
	for _, dir := range libraryDirs {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is in none of %s", name, strings.Join(libraryDirs, ", "))
}

// script says whether a file begins as a script does.
func script(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var b [2]byte
	_, err = io.ReadFull(f, b[:])
	return err == nil && string(b[:]) == "#!"
}
