package nbd

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// testsIn are the names of the tests and conformance checks in the files that the
// pattern matches.
func testsIn(t *testing.T, patterns ...string) map[string]bool {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(|^\t\{"([A-Z]\w+)", `)
	names := map[string]bool{}
	for _, p := range patterns {
		files, err := filepath.Glob(p)
		if err != nil || len(files) == 0 {
			t.Fatalf("no files %s (%v)", p, err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range declared.FindAllStringSubmatch(string(text), -1) {
				names[m[1]+m[2]] = true
			}
		}
	}
	return names
}

// docs/protocol.md names a test for each feature that there is, and each of them
// exists.
func TestProtocolDocsNameTests(t *testing.T) {
	text, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	exists := testsIn(t, "*_test.go", "nbdtest/conformance*.go", "../internal/interop/*_test.go")
	rows := 0
	for _, line := range strings.Split(string(text), "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if !strings.HasPrefix(line, "| ") || len(cells) < 3 || strings.TrimSpace(cells[1]) == "since" {
			continue
		}
		rows++
		names := strings.TrimSpace(cells[len(cells)-1])
		if names == "" && strings.TrimSpace(cells[1]) != "never" {
			t.Errorf("no test is named for %q", cells[0])
		}
		for _, name := range strings.FieldsFunc(names, func(r rune) bool { return r == ',' || r == ' ' }) {
			if !exists[name] {
				t.Errorf("%q names %s, which does not exist", strings.TrimSpace(cells[0]), name)
			}
		}
	}
	if rows < 30 {
		t.Errorf("%d rows are found", rows)
	}
	// In the text, too.
	for _, name := range regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(string(text), -1) {
		if !exists[name] && name != "TestX" {
			t.Errorf("%s does not exist", name)
		}
	}
}

// The same for what docs/security.md says about requests and replies.
func TestSecurityDocsNameTests(t *testing.T) {
	text, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "### Requests and replies\n")
	section, _, _ = strings.Cut(section, "\n#")
	exists := testsIn(t, "*_test.go", "nbdtest/conformance*.go")
	names := regexp.MustCompile(`\b(Test[A-Z]|Row\d\d)\w+`).FindAllString(section, -1)
	for _, name := range names {
		if !exists[name] {
			t.Errorf("%s does not exist", name)
		}
	}
	if len(names) == 0 {
		t.Error("no test is named")
	}
}
