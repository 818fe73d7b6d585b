package main

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"scstuser/nbd"
)

// checkListen checks how the places to listen on are written. Whether they can
// be had is found out when they are bound.
func (c *config) checkListen() error {
	seen := make(map[nbd.ListenAddr]bool, len(c.Listen))
	for _, spec := range c.Listen {
		addr, err := nbd.ParseListen(spec)
		if err != nil {
			return usagef("--listen: %v", err)
		}
		if seen[addr] {
			return usagef("--listen %s is there twice", shellQuote(spec))
		}
		seen[addr] = true
	}
	return nil
}

// exposed says that other hosts may be able to connect to a bound address.
func exposed(a nbd.ListenAddr) bool {
	switch a.Network {
	case "unix", "stdin":
		return false
	}
	addr, err := netip.ParseAddrPort(a.Address)
	return err != nil || !addr.Addr().Unmap().IsLoopback()
}

// connectLines are commands that connect to an export, ready to be pasted into
// a shell on this host.
func connectLines(cfg *config, a nbd.ListenAddr, e servedExport) []string {
	uri := uri(cfg, a, e.Name)
	switch {
	case cfg.TLS == tlsRequire:
		// qemu and the kernel's client take more words than fit here.
		with := "?"
		if strings.Contains(uri, "?") {
			with = "&"
		}
		return []string{"nbdinfo " + shellQuote(uri+with+"tls-certificates=DIR") + "  # DIR has ca-cert.pem"}
	case a.Network == "vsock":
		return []string{"nbdinfo " + shellQuote(uri)}
	}
	drive := "file=" + strings.ReplaceAll(uri, ",", ",,") + ",format=raw,if=virtio"
	if e.ReadOnly {
		drive += ",readonly=on"
	}
	return []string{
		"nbdinfo " + shellQuote(uri),
		nbdClientLine(a, e),
		"qemu-system-x86_64 -drive " + shellQuote(drive),
	}
}

// nbdClientLine attaches the export to the kernel's /dev/nbd0.
func nbdClientLine(a nbd.ListenAddr, e servedExport) string {
	words := []string{"nbd-client", "-unix", shellQuote(a.Address)}
	if host, port, err := net.SplitHostPort(a.Address); a.Network != "unix" && err == nil {
		if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
			host = "localhost"
		}
		words = []string{"nbd-client", host, port}
	}
	words = append(words, "/dev/nbd0", "-N", shellQuote(e.Name))
	if e.BlockSize != 512 { // nbd-client's own default
		words = append(words, "-b", fmt.Sprint(e.BlockSize))
	}
	return strings.Join(words, " ") + "  # as root"
}

// shellQuote quotes a word for a POSIX shell where that is needed.
func shellQuote(word string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./_-"
	if word != "" && strings.Trim(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
