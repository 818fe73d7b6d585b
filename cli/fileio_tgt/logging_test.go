package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
)

func TestLogGoesToStderrByDefault(t *testing.T) {
	var stderr bytes.Buffer
	log, err := openLog(img(nil), &stderr)
	if err != nil {
		t.Fatal(err)
	}
	log.WithField("device", "img").Info("hello")
	log.Debug("not this")
	if got := stderr.String(); !strings.Contains(got, "level=info msg=hello device=img") || strings.Contains(got, "not this") {
		t.Errorf("got %q", got)
	}
	if err := log.Reopen(); err != nil {
		t.Error("reopen:", err)
	}
	if err := log.Close(); err != nil {
		t.Error("close:", err)
	}
}

func TestLogAsJSON(t *testing.T) {
	var stderr bytes.Buffer
	log, err := openLog(img(func(c *config) { c.LogFormat, c.LogLevel = logJSON, logrus.DebugLevel }), &stderr)
	if err != nil {
		t.Fatal(err)
	}
	log.WithField("handle", 7).Debug("exec")
	var record map[string]any
	if err := json.Unmarshal(stderr.Bytes(), &record); err != nil {
		t.Fatal(err)
	}
	if record["msg"] != "exec" || record["level"] != "debug" || record["handle"] != 7.0 {
		t.Errorf("got %v", record)
	}
}

func TestLogFileIsReopened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := openLog(img(func(c *config) { c.LogFile = path }), nil)
	if err != nil {
		t.Fatal(err)
	}
	log.Info("one")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	log.Info("two")
	if err := log.Reopen(); err != nil {
		t.Fatal(err)
	}
	log.Info("three")
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Error("second close:", err)
	}
	if old := readFile(t, path+".1"); !strings.HasPrefix(old, "before\n") || !strings.Contains(old, "one") ||
		!strings.Contains(old, "two") || strings.Contains(old, "three") {
		t.Errorf("old file: %q", old)
	}
	if fresh := readFile(t, path); !strings.Contains(fresh, "three") || strings.Contains(fresh, "two") {
		t.Errorf("new file: %q", fresh)
	}
}

// What can't be reopened stays in use.
func TestLogFileThatIsGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "log")
	log, err := openLog(img(func(c *config) { c.LogFile = path }), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	want := "open the log file " + path + ": no such file or directory"
	if err := log.Reopen(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	log.Info("still here")
	if got := readFile(t, filepath.Join(dir+".old", "log")); !strings.Contains(got, "still here") {
		t.Errorf("got %q", got)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
