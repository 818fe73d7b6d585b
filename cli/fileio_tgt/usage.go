package main

import "strings"

// What package flag says about a command line that it cannot read.
const (
	flagUnknown     = "flag provided but not defined: -"
	flagNeedsArg    = "flag needs an argument: -"
	flagBadSpelling = "bad flag syntax: "
)

// explainFlagError puts an error of package flag into our words.
func explainFlagError(msg string) string {
	if name, ok := strings.CutPrefix(msg, flagUnknown); ok {
		return "unknown option " + dashed(name) + suggest(name) + "; " + programName + " --help lists the options"
	}
	if name, ok := strings.CutPrefix(msg, flagNeedsArg); ok {
		if opt := lookupOption(name); opt != nil {
			return dashed(name) + " needs an argument: " + dashed(name) + " " + opt.arg
		}
	}
	if word, ok := strings.CutPrefix(msg, flagBadSpelling); ok {
		return word + " is not an option; " + programName + " --help lists the options"
	}
	return msg
}

// dashed is an option's name as one types it.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// obsoleteOptions are options of SCST's program that have no meaning here.
var obsoleteOptions = map[string]string{
	"u":                  " (a device always leaves in order here, so there is no --unreg_before_close)",
	"unreg_before_close": " (a device always leaves in order here)",
}

// suggest names an option that was perhaps meant.
func suggest(name string) string {
	if why, ok := obsoleteOptions[name]; ok {
		return why
	}
	best, closest := "", 2+len(name)/4 // further away is another word
	for i := range options {
		for _, spelling := range options[i].names() {
			if d := editDistance(name, spelling); d < closest && len(spelling) > 1 {
				best, closest = options[i].name, d
			}
		}
	}
	if best == "" {
		return ""
	}
	return " (did you mean --" + best + "?)"
}

// editDistance is how many bytes have to be inserted, removed or replaced to
// make b of a.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1) // distances of a[:i] to each b[:j]
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
