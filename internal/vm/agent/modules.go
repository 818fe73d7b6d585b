package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// loadModules loads the modules that a list names, one on a line, a path and
// perhaps parameters, each after those that it needs.
func loadModules(list string) error {
	text, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		path, params, _ := strings.Cut(strings.TrimSpace(line), " ")
		if err := loadModule(path, params); err != nil {
			return fmt.Errorf("load the module %s: %w", path, err)
		}
	}
	return nil
}

// loadModule loads one module, unless it is there.
func loadModule(path, params string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.FinitModule(int(f.Fd()), params, 0)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}
