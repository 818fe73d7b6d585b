package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Options of the network and of the pools are the host's.
func TestDeviceRefusesTheHostsOptions(t *testing.T) {
	for _, args := range []string{
		"--listen tcp:localhost:1", "--max_connections 3", "--max_inflight 3", "--max_inflight_bytes 64M",
		"--handshake_timeout 3s", "--inline=false", "--record f", "--max_cached 64", "--debug 1",
	} {
		t.Run(args, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			line := append([]string{programName, "-f", "img", "--device", "/run/node"}, strings.Fields(args)...)
			status := run(line, &stdout, &stderr, nil)
			name, _, _ := strings.Cut(strings.Fields(args)[0], "=")
			if status != exitUsage || !strings.Contains(stderr.String(), name+" is for the host") || stdout.Len() != 0 {
				t.Errorf("status %d, %s", status, stderr.String())
			}
		})
	}
}

func TestDeviceVersionNeedsDevice(t *testing.T) {
	var stdout, stderr bytes.Buffer
	status := run([]string{programName, "-f", "img", "--device_version", "3.12"}, &stdout, &stderr, nil)
	if status != exitUsage || !strings.Contains(stderr.String(), "name it with --device") {
		t.Errorf("status %d, %s", status, stderr.String())
	}
}

// A node that can't be had is said in one line, and the start is undone.
func TestDeviceThatIsNoNode(t *testing.T) {
	dir := t.TempDir()
	image := filepath.Join(dir, "image")
	if err := os.WriteFile(image, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for node, want := range map[string]string{filepath.Join(dir, "none"): "start its host", image: "no scst_user node"} {
		var stdout, stderr bytes.Buffer
		status := run([]string{programName, "-f", image, "--device", node}, &stdout, &stderr, serve)
		text := stderr.String()
		if status != exitFailure || !strings.Contains(text, want) || strings.Count(text, "\n") != 1 || stdout.Len() != 0 {
			t.Errorf("status %d, %s%s", status, text, stdout.String())
		}
	}
}
