package nbdtls

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// The names of the files; a pair's are behind its role.
const (
	caFile  = "ca-cert.pem"
	crlFile = "ca-crl.pem"
)

// errNoPair: there is neither a certificate nor a key of that role.
var errNoPair = errors.New("there is no certificate")

// readPair reads a role's certificate, with those that lead to the authority
// behind it, and its key.
func readPair(dir, role string) (tls.Certificate, error) {
	certFile, keyFile := role+"-cert.pem", role+"-key.pem"
	certPEM, certErr := readFile(dir, certFile)
	keyPEM, keyErr := readFile(dir, keyFile)
	if errors.Is(certErr, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist) {
		return tls.Certificate{}, fmt.Errorf("%w: %s and %s are missing", errNoPair, certFile, keyFile)
	}
	if err := errors.Join(certErr, keyErr); err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s and %s: %w", certFile, keyFile, err)
	}
	if now := time.Now(); now.After(pair.Leaf.NotAfter) {
		return tls.Certificate{}, fmt.Errorf("%s expired at %v: renew it", certFile, pair.Leaf.NotAfter.UTC())
	}
	return pair, nil
}

// readAuthorities reads ca-cert.pem.
func readAuthorities(dir string) ([]*x509.Certificate, error) {
	text, err := readFile(dir, caFile)
	if err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", caFile, err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("%s: there is no certificate in it", caFile)
	}
	return certs, nil
}

// revocations are the certificates that are not to be trusted any more, by
// issuer and serial number.
type revocations map[string]bool

func revocationKey(issuer []byte, serial string) string { return string(issuer) + "/" + serial }

// readRevoked reads a revocation list; a file that is not there revokes
// nothing. Each list has to be signed by one of the authorities, and not to be
// out of date: one that can't be told from an old one protects from nothing.
func readRevoked(path string, authorities []*x509.Certificate) (revocations, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	revoked, found := revocations{}, false
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "X509 CRL" {
			continue
		}
		found = true
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", crlFile, err)
		}
		if err := checkList(list, authorities); err != nil {
			return nil, fmt.Errorf("%s: %w", crlFile, err)
		}
		for _, e := range list.RevokedCertificateEntries {
			revoked[revocationKey(list.RawIssuer, e.SerialNumber.String())] = true
		}
	}
	if !found {
		return nil, fmt.Errorf("%s: there is no revocation list in it", crlFile)
	}
	return revoked, nil
}

func checkList(list *x509.RevocationList, authorities []*x509.Certificate) error {
	if !list.NextUpdate.IsZero() && time.Now().After(list.NextUpdate) {
		return fmt.Errorf("the list should have been renewed at %v", list.NextUpdate.UTC())
	}
	for _, a := range authorities {
		if list.CheckSignatureFrom(a) == nil {
			return nil
		}
	}
	return fmt.Errorf("it is not signed by an authority in %s", caFile)
}

// check refuses a connection whose every verified chain has a revoked
// certificate in it.
func (r revocations) check(chains [][]*x509.Certificate) error {
	var err error
	for _, chain := range chains {
		if err = r.checkChain(chain); err == nil {
			return nil
		}
	}
	return err
}

func (r revocations) checkChain(chain []*x509.Certificate) error {
	for _, c := range chain {
		if r[revocationKey(c.RawIssuer, c.SerialNumber.String())] {
			return fmt.Errorf("the certificate of %s has been revoked", c.Subject)
		}
	}
	return nil
}

// readFile reads a file of the directory, with an error that needs no path.
func readFile(dir, name string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(dir, name))
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return nil, fmt.Errorf("%s: %w", name, pathErr.Err)
	}
	return text, err
}
