package main

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"scstuser/internal/systemd"
	"scstuser/nbd"
	"scstuser/nbd/kernel"
	"scstuser/nbd/nbdtls"
)

// tlsMode says whether clients use TLS.
type tlsMode string

// The modes; nbd has them as TLSOff and so on.
const (
	tlsOff     tlsMode = "off"
	tlsOn      tlsMode = "on"
	tlsRequire tlsMode = "require"
)

var tlsModes = map[tlsMode]nbd.TLSMode{tlsOff: nbd.TLSOff, tlsOn: nbd.TLSOn, tlsRequire: nbd.TLSRequire}

// waysConfig is who gets in, and how, behind the places to listen on.
type waysConfig struct {
	TLS             tlsMode
	TLSCertificates string // directory; "": none
	TLSVerifyPeer   bool
	Allow           []string      // as --allow has it, checked; none: everybody
	IdleTimeout     time.Duration // 0: never
	KeepAlive       time.Duration // 0: never
	SocketMode      uint64        // of unix sockets; 0: by the umask
	SocketOwner     string        // of unix sockets, USER:GROUP; "": ours
	Attach          string        // device that the first export becomes; "": none
	// ListenGiven: there was a --listen, so the default one does not count.
	ListenGiven bool
}

// checkWays checks what can be told without opening anything.
func (c *config) checkWays() error {
	switch {
	case c.TLS == tlsOff && c.TLSCertificates != "":
		return usagef("--tls_certificates is of no use without --tls on, or --tls require")
	case c.TLS == tlsOff && c.TLSVerifyPeer:
		return usagef("--tls_verify_peer needs --tls require")
	case c.TLS != tlsOff && c.TLSCertificates == "":
		return usagef("--tls %s needs --tls_certificates DIR, with server-cert.pem and server-key.pem", c.TLS)
	case c.TLS == tlsOn && c.TLSVerifyPeer:
		return usagef("--tls_verify_peer with --tls on would keep nobody out, who can do without TLS; it needs --tls require")
	}
	if c.SocketMode > 0o777 || c.SocketMode != 0 && c.SocketMode&0o200 == 0 {
		return usagef("--socket_mode must be permissions in octal, such as 0660, that let at least the owner in")
	}
	if c.Attach != "" {
		if err := kernel.CheckDevice(c.Attach); err != nil {
			return usagef("--attach: %v", err)
		}
	}
	if _, err := nbd.ParseAllow(c.Allow); err != nil {
		return usagef("--allow: %v", err)
	}
	return nil
}

// authenticates says that a client has to prove who it is.
func (c *config) authenticates() bool { return c.TLS == tlsRequire && c.TLSVerifyPeer }

// frontEnd is where clients come in, of disks of our own and of handlers' alike.
type frontEnd struct {
	cfg      *config
	log      *logrus.Logger
	server   *nbd.Server
	opened   []net.Listener
	identity *nbdtls.Identity // nil without TLS
}

// newServer makes the NBD server; certificates have to be read for it.
func (p *frontEnd) newServer() error {
	cfg := p.cfg
	tls, err := p.openTLS()
	if err != nil {
		return err
	}
	allow, err := nbd.ParseAllow(cfg.Allow)
	if err != nil {
		return err
	}
	keepAlive := cfg.KeepAlive
	if keepAlive == 0 {
		keepAlive = -1
	}
	p.server = nbd.NewServer(nbd.Options{
		Handshake:      nbd.Limits{HandshakeTimeout: cfg.HandshakeTimeout},
		MaxConnections: cfg.MaxConnections, MaxInflight: cfg.MaxInflight, MaxInflightBytes: cfg.MaxInflightBytes,
		TLS: tls, Allow: allow, KeepAlive: keepAlive, IdleTimeout: cfg.IdleTimeout,
		Farewell: cfg.AtShutdown.option(),
		Log:      p.log,
	})
	return nil
}

// openTLS reads the certificates.
func (p *frontEnd) openTLS() (nbd.TLSOptions, error) {
	if p.cfg.TLS == tlsOff {
		return nbd.TLSOptions{}, nil
	}
	id, err := nbdtls.Load(nbdtls.Options{Dir: p.cfg.TLSCertificates, VerifyPeer: p.cfg.TLSVerifyPeer})
	if err != nil {
		return nbd.TLSOptions{}, fmt.Errorf("--tls_certificates: %w", err)
	}
	p.identity = id
	return nbd.TLSOptions{Mode: tlsModes[p.cfg.TLS], Config: id.Config()}, nil
}

// Reload implements reloader: it reads the certificates again. It logs what it
// finds.
func (p *frontEnd) Reload() {
	if p.identity == nil {
		return
	}
	if err := p.identity.Reload(); err != nil {
		p.log.WithError(err).Error("the old certificates stay in use")
		return
	}
	p.log.WithField("now", p.identity.Describe()).Info("the certificates were read again; new clients see them")
}

// Ping implements pinger: it comes back if the server does not hang.
func (p *frontEnd) Ping() { _, _ = p.server.Connections() }

// inherit returns listeners for the sockets that the process was started with.
func (p *frontEnd) inherit() ([]net.Listener, error) {
	files, err := systemd.Sockets()
	if err != nil {
		return nil, fmt.Errorf("sockets of the service manager: %w", err)
	}
	var listeners []net.Listener
	for i, f := range files {
		l, err := nbd.Inherit(f)
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
			for _, f := range files[i+1:] {
				f.Close()
			}
			return nil, fmt.Errorf("socket of the service manager: %w", err)
		}
		p.log.WithField("socket", f.Name()).WithField("address", nbd.ListenAddrOf(l)).Info("a socket was passed on to us")
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// listen opens every listener. Nobody is accepted yet. The default one is for
// who says nothing of where to listen: neither --listen nor a socket unit.
func (p *frontEnd) listen() ([]net.Listener, error) {
	inherited, err := p.inherit()
	p.opened = inherited
	if err != nil || len(inherited) > 0 && !p.cfg.ListenGiven {
		return inherited, err
	}
	for _, s := range p.cfg.Listen {
		a, err := nbd.ParseListen(s)
		if err != nil {
			return nil, err
		}
		l, err := p.listenOn(a)
		if err != nil {
			return nil, err
		}
		p.opened = append(p.opened, l)
	}
	return p.opened, nil
}

func (p *frontEnd) listenOn(a nbd.ListenAddr) (net.Listener, error) {
	if a.Network != "unix" {
		return nbd.Listen(a)
	}
	access := nbd.SocketAccess{Mode: fs.FileMode(p.cfg.SocketMode)}
	if p.cfg.SocketOwner != "" {
		uid, gid, err := lookupOwner(p.cfg.SocketOwner)
		if err != nil {
			return nil, fmt.Errorf("--socket_owner %s: %w", shellQuote(p.cfg.SocketOwner), err)
		}
		access.SetOwner, access.UID, access.GID = true, uid, gid
	}
	return nbd.ListenUnix(a.Address, access)
}

// lookupOwner reads USER, USER:GROUP or :GROUP, names or numbers.
func lookupOwner(text string) (uid, gid int, err error) {
	name, group, _ := strings.Cut(text, ":")
	find := func(name string, find func(string) (string, error)) (int, error) {
		if name == "" {
			return -1, nil
		}
		if id, err := find(name); err == nil {
			name = id
		} else if _, nerr := strconv.ParseUint(name, 10, 31); nerr != nil {
			return 0, err
		}
		return strconv.Atoi(name)
	}
	uid, err = find(name, func(s string) (string, error) {
		u, err := user.Lookup(s)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	})
	if err != nil {
		return 0, 0, err
	}
	gid, err = find(group, func(s string) (string, error) {
		g, err := user.LookupGroup(s)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
	return uid, gid, err
}

// uri is how a client reaches an export.
func uri(cfg *config, a nbd.ListenAddr, name string) string {
	text := a.URI(name)
	if cfg.TLS == tlsRequire {
		text = "nbds" + strings.TrimPrefix(text, "nbd")
	}
	return text
}

// apart returns f, unless that is what a client is connected to: inetd and
// systemd make one socket all three of a process's standard files, and a word
// of ours in between would break the protocol.
func apart(f *os.File) interface{ Write([]byte) (int, error) } {
	in, err := os.Stdin.Stat()
	if err != nil || in.Mode()&os.ModeSocket == 0 {
		return f
	}
	if out, err := f.Stat(); err == nil && os.SameFile(in, out) {
		return nowhere{}
	}
	return f
}

// nowhere takes everything and keeps nothing.
type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
