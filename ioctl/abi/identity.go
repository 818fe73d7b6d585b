package abi

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
)

// Version is the interface version (DEV_USER_VERSION) that these tables were
// checked against: a release, and the SHA-1 sums of two headers (rule R5).
const Version = "3.11.0-pre" + "230a30730ec749a9738ef33d6d17b1e6739bd195" + "f03678ef2265294f64bc9fca39567ca80671f7d8"

// StringMax is how much of version_str and license_str is read at most, in
// bytes: up to the NUL, or this many (rule R7, fact 2).
const StringMax = len(Version) + 1

// sumsLen is the length of the two sums.
const sumsLen = 80

// Versions says which interface versions are accepted (F9). The zero value is
// the default: every version of the release that the tables are for.
type Versions struct {
	// Releases are what the part in front of the two sums may begin with;
	// none: 3.11. .
	Releases []string
	// Exact, if not empty, is the whole list: strict mode.
	Exact []string
}

// Check says whether the version is accepted. known: it is the very one that
// the tables were checked against, or in the strict list; others are worth a
// line in the log. The error is EINVAL and names what to do.
func (v *Versions) Check(version string) (known bool, err error) {
	if len(v.Exact) > 0 {
		if slices.Contains(v.Exact, version) {
			return true, nil
		}
		return false, fmt.Errorf("interface version %q is not in the list of accepted ones; build the handler against the right scst_user.h or add it: %w", version, syscall.EINVAL)
	}
	if version == Version {
		return true, nil
	}
	releases := v.Releases
	if len(releases) == 0 {
		releases = []string{"3.11."}
	}
	release, sums := version[:max(len(version)-sumsLen, 0)], version[max(len(version)-sumsLen, 0):]
	if len(sums) == sumsLen && strings.Trim(sums, "0123456789abcdef") == "" {
		for _, r := range releases {
			if strings.HasPrefix(release, r) {
				return false, nil
			}
		}
	}
	return false, fmt.Errorf("interface version %q: want a release that begins with one of %q, followed by two SHA-1 sums; build the handler against that release's scst_user.h: %w", version, releases, syscall.EINVAL)
}

// licenses are those that the module accepts (rule R7).
var licenses = []string{"GPL", "GPL v2", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"}

// CheckLicense says whether a handler with this license may register (rule
// R7). The error is EPERM.
func CheckLicense(license string) error {
	if slices.Contains(licenses, license) {
		return nil
	}
	return fmt.Errorf("license %q: the interface wants one of %q: %w", license, licenses, syscall.EPERM)
}

// CheckIdentity judges what was read at license_str and version_str, up to
// StringMax bytes of each; the license first (rule R7). What is too long is
// cut, as the module does (fact 2). Results as Versions.Check; errors are
// EPERM and EINVAL.
func CheckIdentity(license, version []byte, v *Versions) (known bool, err error) {
	if err := CheckLicense(cutString(license)); err != nil {
		return false, err
	}
	return v.Check(cutString(version))
}

// cutString is b up to its NUL, or as much as goes in front of one.
func cutString(b []byte) string { return CString(b[:min(len(b), StringMax-1)]) }
