package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// portName is what internal/vm calls the serial port.
const portName = "agent"

// portTimeout is how long the kernel may take to find the port.
const portTimeout = 30 * time.Second

// openPort opens the host's serial port. The device's driver may still be at
// work when we come.
func openPort() (*os.File, error) {
	for end := time.Now().Add(portTimeout); ; {
		device, err := findPort("/sys/class/virtio-ports")
		if err == nil {
			return os.OpenFile(filepath.Join("/dev", device), os.O_RDWR, 0)
		}
		if time.Now().After(end) {
			return nil, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// findPort looks in the directory where the kernel says what the ports are
// called.
func findPort(class string) (string, error) {
	names, err := filepath.Glob(filepath.Join(class, "*", "name"))
	if err != nil {
		return "", err
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		if strings.TrimSpace(string(text)) == portName {
			return filepath.Base(filepath.Dir(name)), nil
		}
	}
	return "", fmt.Errorf("%s has no port %q: is virtio_console loaded?", class, portName)
}
