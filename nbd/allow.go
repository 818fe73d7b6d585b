package nbd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// AllowList says which clients are served; the others are disconnected before
// they are greeted. A nil or empty list allows everybody. It does not change
// once it is in use.
type AllowList struct {
	nets []netip.Prefix
	uids map[uint32]bool
	cids map[uint32]bool
}

// ParseAllow reads the entries of an AllowList as a user writes them: an IP
// address or a range in CIDR notation for clients over TCP; uid:NUMBER for the
// users of a unix socket; cid:NUMBER for virtual machines over vsock. Who
// matches none of them is not served, over whatever socket.
func ParseAllow(entries []string) (*AllowList, error) {
	l := &AllowList{uids: map[uint32]bool{}, cids: map[uint32]bool{}}
	for _, s := range entries {
		if err := l.add(s); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *AllowList) add(s string) error {
	for prefix, set := range map[string]map[uint32]bool{"uid:": l.uids, "cid:": l.cids} {
		if text, ok := strings.CutPrefix(s, prefix); ok {
			n, err := strconv.ParseUint(text, 10, 32)
			if err != nil {
				return fmt.Errorf("%q is not a number; write %s1000, say", text, prefix)
			}
			set[uint32(n)] = true
			return nil
		}
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		if p.Masked() != p {
			return fmt.Errorf("%s has bits behind its prefix; write %s, or %s for one address", s, p.Masked(), p.Addr())
		}
		l.nets = append(l.nets, unmapped(p))
		return nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return fmt.Errorf("%q is no address; write 192.0.2.7, 192.0.2.0/24, 2001:db8::/32, uid:NUMBER or cid:NUMBER", s)
	}
	a = a.Unmap()
	l.nets = append(l.nets, netip.PrefixFrom(a.WithZone(""), a.BitLen()))
	return nil
}

// unmapped makes a range of IPv4 addresses that were written as IPv6 ones what
// clients' addresses are compared as.
func unmapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// errNotAllowed: the client is not on the list.
var errNotAllowed = errors.New("it is on no --allow")

// check says why a client is not served; nil: it is.
func (l *AllowList) check(c net.Conn) error {
	if l == nil || len(l.nets)+len(l.uids)+len(l.cids) == 0 {
		return nil
	}
	switch a := c.RemoteAddr().(type) {
	case *net.TCPAddr:
		if ip := a.AddrPort().Addr().Unmap().WithZone(""); l.hasIP(ip) {
			return nil
		}
	case *net.UnixAddr:
		uid, err := peerUID(c)
		if err != nil {
			return fmt.Errorf("its user can't be told: %w", err)
		}
		if l.uids[uid] {
			return nil
		}
		return fmt.Errorf("its user is %d: %w", uid, errNotAllowed)
	case vsockAddr:
		if l.cids[a.cid] {
			return nil
		}
	}
	return errNotAllowed
}

func (l *AllowList) hasIP(ip netip.Addr) bool {
	for _, p := range l.nets {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// peerUID returns the user at the other end of a unix socket, as it was when
// that connected.
func peerUID(c net.Conn) (uint32, error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	cerr := rc.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(cerr, err); err != nil {
		return 0, err
	}
	return cred.Uid, nil
}
