package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"scstuser/ioctl/abi"
)

// hostConfig is what only "fileio_tgt host" decides. The rest of its command
// line is in config, next to this.
type hostConfig struct {
	Mount      string // the mount point; "": not the host subcommand
	Link       string // a symlink to the node; "": none
	Mode       os.FileMode
	Owner      nodeOwner
	Versions   []string // accepted interface versions, as given
	Record     string   // a trace; "": none
	MaxDevices int
}

// defaultHostConfig is what an empty command line of host means; it has no
// mount point yet.
func defaultHostConfig() hostConfig {
	return hostConfig{Mode: 0o600, MaxDevices: 1024}
}

// nodeOwner is who may open the node, besides root.
type nodeOwner struct {
	given    bool
	text     string
	uid, gid uint32
}

// versions is the policy for interface versions: whole versions are a list of
// exact ones, everything else are beginnings of releases.
func (h *hostConfig) versions() abi.Versions {
	var v abi.Versions
	for _, s := range h.Versions {
		if wholeVersion(s) {
			v.Exact = append(v.Exact, s)
		} else {
			v.Releases = append(v.Releases, s)
		}
	}
	return v
}

// wholeVersion says whether s ends in the two SHA-1 sums of a version.
func wholeVersion(s string) bool {
	const sums = 80
	return len(s) > sums && strings.Trim(s[len(s)-sums:], "0123456789abcdef") == ""
}

// checkHost checks what one option of host alone cannot know.
func (c *config) checkHost() error {
	h := &c.Host
	if h.Mount == "" {
		return usagef("host needs --mount DIR, where handlers find the node as DIR/scst_user")
	}
	whole := 0
	for _, s := range h.Versions {
		if wholeVersion(s) {
			whole++
		}
	}
	if whole != 0 && whole != len(h.Versions) {
		return usagef("--user_versions takes whole versions, or beginnings of releases, not both")
	}
	if h.Link != "" {
		dir, err := filepath.Abs(h.Mount)
		link, err2 := filepath.Abs(h.Link)
		if err == nil && err2 == nil && (link == dir || strings.HasPrefix(link, dir+"/")) {
			return usagef("--link %s is inside of the mount", shellQuote(h.Link))
		}
	}
	return c.checkListen()
}

// modeValue is permission bits, octal.
type modeValue struct{ p *os.FileMode }

func (v modeValue) set(text string) error {
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil || n > 0o777 || n&0o600 == 0 {
		return errors.New("must be permissions in octal, like 0600 or 0660")
	}
	*v.p = os.FileMode(n)
	return nil
}

func (v modeValue) String() string { return fmt.Sprintf("%04o", uint32(*v.p)) }

// ownerValue is a user, or USER:GROUP, by name or number.
type ownerValue struct{ p *nodeOwner }

func (v ownerValue) set(text string) error {
	name, group, hasGroup := strings.Cut(text, ":")
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			n, nerr := strconv.ParseUint(name, 10, 32)
			if nerr != nil {
				return fmt.Errorf("there is no user %q", name)
			}
			u = &user.User{Uid: strconv.FormatUint(n, 10), Gid: strconv.FormatUint(n, 10)}
		}
	}
	gid := u.Gid
	if hasGroup {
		g, err := user.LookupGroup(group)
		if err == nil {
			gid = g.Gid
		} else if _, err := strconv.ParseUint(group, 10, 32); err == nil {
			gid = group
		} else {
			return fmt.Errorf("there is no group %q", group)
		}
	}
	un, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gn, err2 := strconv.ParseUint(gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	*v.p = nodeOwner{given: true, text: text, uid: uint32(un), gid: uint32(gn)}
	return nil
}

func (v ownerValue) String() string { return v.p.text }
