package main

import (
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"scstuser/ucmd"

	"golang.org/x/sys/unix"
)

// exportConfig is one file under the name that clients ask for.
type exportConfig struct {
	Name string
	Path string
}

// exportsFrom names what is to be exported: each of files under its base name,
// then the pairs of a name and a path, as SCST's program takes them.
func exportsFrom(files, pairs []string) ([]exportConfig, error) {
	for _, arg := range pairs {
		if strings.HasPrefix(arg, "-") {
			return nil, usagef("%q comes after the first NAME: put options before the NAME FILE pairs "+
				"(a file whose name begins with - can be written ./-x)", arg)
		}
	}
	if len(pairs)%2 != 0 {
		last := pairs[len(pairs)-1]
		return nil, usagef("%q is half of a NAME FILE pair; to export a file under its own name use -f %s",
			last, shellQuote(last))
	}
	exports := make([]exportConfig, 0, len(files)+len(pairs)/2)
	for _, path := range files {
		exports = append(exports, exportConfig{Name: filepath.Base(path), Path: path})
	}
	for i := 0; i < len(pairs); i += 2 {
		exports = append(exports, exportConfig{Name: pairs[i], Path: pairs[i+1]})
	}
	return exports, nil
}

func (c *config) checkExports() error {
	if len(c.Exports) == 0 {
		return usagef("nothing to export: name a file with -f FILE, or give NAME FILE pairs (%s --help tells more)",
			programName)
	}
	byName := make(map[string]exportConfig, len(c.Exports))
	for _, e := range c.Exports {
		if e.Path == "" {
			return usagef("the file of export %q has an empty name", e.Name)
		}
		if why := badExportName(e.Name); why != "" {
			return usagef("export name %q of %s %s; choose another one with a NAME FILE pair", e.Name, e.Path, why)
		}
		device := e.Name[:min(len(e.Name), ucmd.MaxName)]
		switch first, dup := byName[device]; {
		case dup && first.Name == e.Name:
			return usagef("two exports would be called %q: %s and %s; choose the names with NAME FILE pairs",
				e.Name, first.Path, e.Path)
		case dup:
			return usagef("the export names %q and %q are alike in the %d bytes that count; choose shorter ones with NAME FILE pairs",
				first.Name, e.Name, ucmd.MaxName)
		}
		byName[device] = e
	}
	return nil
}

// badExportName says what is wrong with a name, or "". It becomes a device's
// name, which has no slash in SCST, and an NBD string, UTF-8 without NUL. It can
// be as long as a file's.
func badExportName(name string) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > unix.NAME_MAX:
		return "is longer than " + strconv.Itoa(unix.NAME_MAX) + " bytes"
	case !utf8.ValidString(name):
		return "is not UTF-8"
	case strings.ContainsFunc(name, unicode.IsControl):
		return "has control characters"
	case strings.Contains(name, "/"):
		return "has a slash"
	}
	return ""
}
