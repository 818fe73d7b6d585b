package nbdtls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// Options say what a server's identity is made of.
type Options struct {
	// Dir is the directory with the certificates.
	Dir string
	// VerifyPeer turns away clients that don't show a certificate of the
	// authority in ca-cert.pem.
	VerifyPeer bool
}

// Identity is what a server shows to its clients, and whom of them it trusts.
// Its methods may be called from any goroutine.
type Identity struct {
	opt Options
	// mu serialises Reload.
	mu sync.Mutex
	// now is what new connections get.
	now atomic.Pointer[tls.Config]
}

// Load reads the certificates. The error names the file, and says what is wrong
// with it or which one is missing.
func Load(opt Options) (*Identity, error) {
	i := &Identity{opt: opt}
	if err := i.Reload(); err != nil {
		return nil, err
	}
	return i, nil
}

// Reload reads the certificates again. After an error the old ones stay in use.
func (i *Identity) Reload() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	cfg, err := i.read()
	if err != nil {
		return fmt.Errorf("TLS certificates in %s: %w", i.opt.Dir, err)
	}
	i.now.Store(cfg)
	return nil
}

// Config returns a configuration that gives each connection what was read last.
func (i *Identity) Config() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return i.now.Load(), nil },
	}
}

// Describe says in a few words what is in use: whose certificate, until when.
func (i *Identity) Describe() string {
	cert := i.now.Load().Certificates[0].Leaf
	return fmt.Sprintf("certificate of %s, valid until %s", cert.Subject, cert.NotAfter.UTC().Format("2006-01-02 15:04:05Z"))
}

func (i *Identity) read() (*tls.Config, error) {
	cert, err := readPair(i.opt.Dir, "server")
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{cert},
		// Replies are gathered into whole records anyway.
		DynamicRecordSizingDisabled: true,
		SessionTicketsDisabled:      true,
	}
	if !i.opt.VerifyPeer {
		return cfg, nil
	}
	authorities, err := readAuthorities(i.opt.Dir)
	if err != nil {
		return nil, err
	}
	revoked, err := readRevoked(filepath.Join(i.opt.Dir, crlFile), authorities)
	if err != nil {
		return nil, err
	}
	cfg.ClientAuth = tls.RequireAndVerifyClientCert
	cfg.ClientCAs = poolOf(authorities)
	cfg.VerifyConnection = func(s tls.ConnectionState) error { return revoked.check(s.VerifiedChains) }
	return cfg, nil
}

// ClientConfig returns the configuration of a client: it verifies that the
// server is serverName, by ca-cert.pem in dir or, if dir is empty, by the
// system's authorities, and shows client-cert.pem if that is there. Certificates
// that ca-crl.pem lists are refused.
func ClientConfig(dir, serverName string) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: serverName, DynamicRecordSizingDisabled: true}
	if dir == "" {
		return cfg, nil
	}
	err := func() error {
		authorities, err := readAuthorities(dir)
		if err != nil {
			return err
		}
		revoked, err := readRevoked(filepath.Join(dir, crlFile), authorities)
		if err != nil {
			return err
		}
		cfg.RootCAs = poolOf(authorities)
		cfg.VerifyConnection = func(s tls.ConnectionState) error { return revoked.check(s.VerifiedChains) }
		cert, err := readPair(dir, "client")
		switch {
		case errors.Is(err, errNoPair):
			return nil
		case err != nil:
			return err
		}
		cfg.Certificates = []tls.Certificate{cert}
		return nil
	}()
	if err != nil {
		return nil, fmt.Errorf("TLS certificates in %s: %w", dir, err)
	}
	return cfg, nil
}

func poolOf(certs []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}
