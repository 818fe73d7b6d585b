package fusenode

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

// lastRule is the last rule of the interface.
const lastRule = 73

// ruleNumber finds rules in a name.
var ruleNumber = regexp.MustCompile(`R(\d+)`)

// rulesOf collects the rules in the names that form finds in files.
func rulesOf(t *testing.T, form *regexp.Regexp, files ...string) map[int]bool {
	t.Helper()
	rules := map[int]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range form.FindAllSubmatch(text, -1) {
			for _, m := range ruleNumber.FindAllSubmatch(name[1], -1) {
				n, _ := strconv.Atoi(string(m[1]))
				rules[n] = true
			}
		}
	}
	return rules
}

// Each rule has a named test in the suite of C programs and in that of the Go
// client, both at a node that is mounted. Of R65, EXT_COPY_REMAP, there is what a
// handler program can see here: nothing sends it, as EXTENDED COPY between two
// devices has no front end, and a reply to it is refused.
func TestEachRuleHasATest(t *testing.T) {
	goFiles, err := filepath.Glob("../client/*_test.go")
	if err != nil || len(goFiles) == 0 {
		t.Fatalf("the Go client has no tests: %v", err)
	}
	cFiles, err := filepath.Glob("testdata/*.[ch]")
	if err != nil || len(cFiles) == 0 {
		t.Fatalf("the C program is not there: %v", err)
	}
	for _, suite := range []struct {
		name  string
		rules map[int]bool
	}{
		{"C", rulesOf(t, regexp.MustCompile(`\{ "(R\w+)", \w+ \}`), cFiles...)},
		// Those in the client's package that are not at a node play it.
		{"Go", rulesOf(t, regexp.MustCompile(`(?m)^func Test(R\w+AtANode)\(`), goFiles...)},
	} {
		t.Run(suite.name, func(t *testing.T) {
			for n := 1; n <= lastRule; n++ {
				if !suite.rules[n] {
					t.Errorf("no test is named after R%d", n)
				}
			}
			if extra := len(suite.rules) - lastRule; extra > 0 {
				t.Errorf("%d names are of no rule", extra)
			}
		})
	}
}
