package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// scstInterface is the release of SCST whose scst_user interface and
// fileio_tgt this program follows.
const scstInterface = "3.11"

// versionText is what --version prints.
func versionText() string {
	return fmt.Sprintf("%s %s, SCST interface %s\n", programName, version(), scstInterface)
}

// version names this build, as the Go tool recorded it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown) (" + runtime.Version() + ")"
	}
	return versionOf(info)
}

// versionOf is the module's version, the commit if it is known, and the Go
// release that built it: "v0.1.0 (1a2b3c4d5e6f, go1.26.0)".
func versionOf(info *debug.BuildInfo) string {
	number := info.Main.Version
	if number == "" {
		number = "(devel)"
	}
	var details []string
	settings := make(map[string]string, len(info.Settings))
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if commit := settings["vcs.revision"]; commit != "" {
		commit = commit[:min(len(commit), 12)]
		if settings["vcs.modified"] == "true" {
			commit += " with changes"
		}
		details = append(details, commit)
	}
	details = append(details, info.GoVersion)
	return number + " (" + strings.Join(details, ", ") + ")"
}
