package proc

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// chosenPort returns the i-th endpoint with the port that the kernel gave it:
// the first port that the process listens on at that address and that no other
// endpoint has. Reading it from /proc needs no agreement with the server on
// how it prints it.
func (s *Server) chosenPort(i int) (Endpoint, error) {
	host, _, err := net.SplitHostPort(s.endpoints[i].Addr)
	if err != nil {
		return Endpoint{}, err
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return Endpoint{}, fmt.Errorf("port 0 needs a numeric address: %w", err)
	}
	listening, err := listeningTCP(s.Pid())
	if err != nil {
		return Endpoint{}, err
	}
	for _, l := range listening {
		e := TCP(l.String())
		if l.Addr() == addr && !slices.Contains(s.endpoints, e) {
			return e, nil
		}
	}
	return Endpoint{}, fmt.Errorf("not listening on %s yet", addr)
}

// listeningTCP returns the TCP addresses that the process listens on, lowest
// port first.
func listeningTCP(pid int) ([]netip.AddrPort, error) {
	inodes, err := socketInodes(pid)
	if err != nil {
		return nil, err
	}
	var found []netip.AddrPort
	for _, table := range []string{"tcp", "tcp6"} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			continue // a kernel without IPv6 has no tcp6
		}
		addrs, err := parseListening(f, inodes)
		f.Close()
		if err != nil {
			return nil, err
		}
		found = append(found, addrs...)
	}
	slices.SortFunc(found, func(a, b netip.AddrPort) int { return int(a.Port()) - int(b.Port()) })
	return found, nil
}

// socketInodes returns the inodes of the sockets that the process holds open.
func socketInodes(pid int) (map[string]bool, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list open files: %w", err)
	}
	inodes := make(map[string]bool)
	for _, e := range entries {
		// A descriptor may be closed while we look.
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil {
			continue
		}
		if inode, ok := strings.CutPrefix(target, "socket:["); ok {
			inodes[strings.TrimSuffix(inode, "]")] = true
		}
	}
	return inodes, nil
}

// The columns of /proc/PID/net/tcp and tcp6 (proc_pid_net(5)).
const (
	colLocal = 1
	colState = 3
	colInode = 9

	stateListen = "0A"
)

// parseListening returns the local addresses of those sockets in a
// /proc/PID/net/tcp table that listen and whose inode is in inodes.
func parseListening(table io.Reader, inodes map[string]bool) ([]netip.AddrPort, error) {
	var found []netip.AddrPort
	lines := bufio.NewScanner(table)
	lines.Scan() // the heading
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) <= colInode || f[colState] != stateListen || !inodes[f[colInode]] {
			continue
		}
		addr, err := parseHexAddr(f[colLocal])
		if err != nil {
			return nil, fmt.Errorf("socket table: %w", err)
		}
		found = append(found, addr)
	}
	return found, lines.Err()
}

// parseHexAddr decodes an address of a socket table: the address as 32-bit
// words in the machine's byte order, a colon, the port, all in hex.
func parseHexAddr(s string) (netip.AddrPort, error) {
	host, port, ok := strings.Cut(s, ":")
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("address %q has no port", s)
	}
	raw, err := hex.DecodeString(host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("address %q: %w", s, err)
	}
	if len(raw) != 4 && len(raw) != 16 {
		return netip.AddrPort{}, fmt.Errorf("address %q is neither IPv4 nor IPv6", s)
	}
	for i := 0; i < len(raw); i += 4 {
		word := binary.BigEndian.Uint32(raw[i:])
		binary.NativeEndian.PutUint32(raw[i:], word)
	}
	addr, _ := netip.AddrFromSlice(raw)
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("address %q: %w", s, err)
	}
	return netip.AddrPortFrom(addr, uint16(n)), nil
}
