package fusenode

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

// lastRule is the last rule of the interface.
const lastRule = 73

// elsewhere are the rules that a suite has no test of, with the reason and the
// test that has it instead: a file of this module, relative to this directory,
// and a function.
type elsewhere map[int]struct{ reason, file, test string }

var notInC = elsewhere{}

var notInGo = elsewhere{
	1:  {"the client takes the numbers from package abi", "../abi/layout_test.go", "TestR1R2Numbers"},
	2:  {"the client takes the numbers from package abi", "../abi/layout_test.go", "TestR1R2Numbers"},
	3:  {"the client encodes and decodes with package abi", "../abi/layout_test.go", "TestR3LayoutIsTheCompilers"},
	4:  {"the client does not look behind the payload", "testdata/more.h", "R4_payload_only"},
	5:  {"which versions a host accepts is its option", "../abi/convert_test.go", "TestR7Identity"},
	6:  {"the client has no device before it is registered", "testdata/rules.c", "R6_unregistered"},
	27: {"the client's memory can always be written", "testdata/rules.c", "R27_readonly"},
	30: {"it is about what an error leaves in the argument, which the client's caller does not see", "testdata/more.h", "R29_R30_counts"},
	54: {"it is about the handler's buffers, which are those of package arena", "../../handlers/arena/fork_test.go", "TestR54BuffersAreNotInherited"},
	62: {"it is about commands that never come to the handler", "../../ucmd/onfree_test.go", "TestR62NeverSeen"},
	71: {"it is about the inside of a release", "../node/commands_test.go", "TestR71NothingLeft"},
}

// ruleNumber finds rules in a name: R7, or R7ToR13 for all of these.
var ruleNumber = regexp.MustCompile(`R(\d+)(?:ToR(\d+))?`)

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
				from, _ := strconv.Atoi(string(m[1]))
				to := from
				if m[2] != nil {
					to, _ = strconv.Atoi(string(m[2]))
				}
				for n := from; n <= to; n++ {
					rules[n] = true
				}
			}
		}
	}
	return rules
}

// Each rule has a named test in the suite of C programs at the mounted node and
// in that of the Go client, but for those that are tested elsewhere.
func TestEachRuleHasATest(t *testing.T) {
	goFiles, err := filepath.Glob("../client/*_test.go")
	if err != nil || len(goFiles) == 0 {
		t.Fatalf("the Go client has no tests: %v", err)
	}
	for _, suite := range []struct {
		name  string
		rules map[int]bool
		not   elsewhere
	}{
		{"C", rulesOf(t, regexp.MustCompile(`\{ "(R\w+)", \w+ \}`), "testdata/rules.c", "testdata/session.h", "testdata/more.h", "testdata/rest.h"), notInC},
		{"Go", rulesOf(t, regexp.MustCompile(`(?m)^func Test(R\w+)\(`), goFiles...), notInGo},
	} {
		t.Run(suite.name, func(t *testing.T) {
			var missing []int
			for n := 1; n <= lastRule; n++ {
				x, listed := suite.not[n]
				switch has := suite.rules[n]; {
				case has && listed:
					t.Errorf("R%d has a test: take it out of the list", n)
				case !has && !listed:
					missing = append(missing, n)
				case listed:
					text, err := os.ReadFile(x.file)
					found := err == nil && regexp.MustCompile(fmt.Sprintf(`\b%s\b`, regexp.QuoteMeta(x.test))).Match(text)
					if !found || x.reason == "" {
						t.Errorf("R%d: %s has no %s, %v", n, x.file, x.test, err)
					}
				}
			}
			if len(missing) > 0 {
				slices.Sort(missing)
				t.Errorf("no test is named after the rules %v", missing)
			}
		})
	}
}
