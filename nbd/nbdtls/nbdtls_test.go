package nbdtls

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scstuser/nbd/nbdtest"
)

// shake lets a client and a server meet, and returns what each of them says.
func shake(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	// A pipe has no room for two who speak at once.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	_ = a.SetDeadline(time.Now().Add(nbdtest.DefaultTimeout))
	_ = b.SetDeadline(time.Now().Add(nbdtest.DefaultTimeout))
	done := make(chan error, 1)
	go func() {
		s := tls.Server(a, server)
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("x"))
		}
		a.Close()
		done <- err
	}()
	c := tls.Client(b, client)
	clientErr = c.Handshake()
	if clientErr == nil {
		_, clientErr = c.Read(make([]byte, 1)) // TLS 1.3: the server's refusal comes now
	}
	b.Close()
	return <-done, clientErr
}

func mustLoad(t *testing.T, opt Options) *Identity {
	t.Helper()
	i, err := Load(opt)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func mustClient(t *testing.T, dir string) *tls.Config {
	t.Helper()
	cfg, err := ClientConfig(dir, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestBothSides(t *testing.T) {
	ca, other := nbdtest.NewAuthority(t, "ca"), nbdtest.NewAuthority(t, "other")
	good, revoked := ca.Issue("good", nil), ca.Issue("revoked", nil)
	dirOf := func(c *nbdtest.Certificate, role string, trusted *nbdtest.Authority) string {
		dir := t.TempDir()
		c.Write(dir, role, trusted)
		return dir
	}
	server := dirOf(ca.Issue("server", nil), "server", ca)
	if err := os.WriteFile(filepath.Join(server, "ca-crl.pem"), ca.Revoke(revoked), 0o600); err != nil {
		t.Fatal(err)
	}
	withoutCert := t.TempDir()
	if err := os.WriteFile(filepath.Join(withoutCert, "ca-cert.pem"), ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	careful := dirOf(good, "client", ca)
	if err := os.WriteFile(filepath.Join(careful, "ca-crl.pem"), ca.Revoke(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, client string
		verify       bool
		serverSays   string
		clientSays   string
	}{
		{"without a client certificate", withoutCert, false, "", ""},
		{"without, and it is needed", withoutCert, true, "didn't provide a certificate", "certificate required"},
		{"with one", dirOf(good, "client", ca), true, "", ""},
		{"with a revocation list of its own", careful, true, "", ""},
		{"revoked", dirOf(revoked, "client", ca), true, "CN=revoked has been revoked", "bad certificate"},
		{"revoked, but nobody asks", dirOf(revoked, "client", ca), false, "", ""},
		{"of another authority", dirOf(other.Issue("stranger", nil), "client", ca), true, "certificate", "certificate required"},
		{"that trusts another authority", dirOf(good, "client", other), true, "bad certificate", "unknown authority"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			i := mustLoad(t, Options{Dir: server, VerifyPeer: tc.verify})
			serverErr, clientErr := shake(t, i.Config(), mustClient(t, tc.client))
			for _, e := range []struct {
				err  error
				want string
			}{{serverErr, tc.serverSays}, {clientErr, tc.clientSays}} {
				if tc.serverSays == "" && e.err != nil || tc.serverSays != "" && (e.err == nil || !strings.Contains(e.err.Error(), e.want)) {
					t.Errorf("%v, want %q", e.err, e.want)
				}
			}
		})
	}
}

func TestServerOfAnotherNameIsRefused(t *testing.T) {
	ca := nbdtest.NewAuthority(t, "ca")
	dir := t.TempDir()
	ca.Issue("server", func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = []string{"elsewhere"}, nil }).Write(dir, "server", ca)
	_, err := shake(t, mustLoad(t, Options{Dir: dir}).Config(), mustClient(t, dir))
	if err == nil || !strings.Contains(err.Error(), "elsewhere") {
		t.Errorf("%v", err)
	}
}

// Reload: new connections get what is there now; what can't be read changes
// nothing.
func TestReload(t *testing.T) {
	ca, next := nbdtest.NewAuthority(t, "ca"), nbdtest.NewAuthority(t, "next")
	dir, oldClient, newClient := t.TempDir(), t.TempDir(), t.TempDir()
	ca.Issue("first", nil).Write(dir, "server", ca)
	ca.Issue("client", nil).Write(oldClient, "client", ca)
	next.Issue("client", nil).Write(newClient, "client", next)
	i := mustLoad(t, Options{Dir: dir, VerifyPeer: true})
	cfg := i.Config() // made once, as the server does
	works := func(dir string) bool {
		serverErr, clientErr := shake(t, cfg, mustClient(t, dir))
		return serverErr == nil && clientErr == nil
	}
	if !works(oldClient) || works(newClient) {
		t.Fatal("before the reload")
	}
	next.Issue("second", nil).Write(dir, "server", next)
	if !works(oldClient) {
		t.Error("new files count without a reload")
	}
	if err := i.Reload(); err != nil {
		t.Fatal(err)
	}
	if works(oldClient) || !works(newClient) || !strings.Contains(i.Describe(), "CN=second") {
		t.Errorf("after the reload: %s", i.Describe())
	}
	if err := os.WriteFile(filepath.Join(dir, "server-cert.pem"), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := i.Reload(); err == nil || !works(newClient) {
		t.Errorf("after a reload that failed (%v)", err)
	}
}

// A session is not resumed: after a reload a ticket would get a client in that
// is not trusted any more.
func TestNoResumption(t *testing.T) {
	ca := nbdtest.NewAuthority(t, "ca")
	dir := t.TempDir()
	ca.Issue("server", nil).Write(dir, "server", ca)
	cfg, client := mustLoad(t, Options{Dir: dir}).Config(), mustClient(t, dir)
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for range 2 {
		client.VerifyConnection = func(s tls.ConnectionState) error {
			if s.DidResume {
				t.Error("the session was resumed")
			}
			return nil
		}
		if a, b := shake(t, cfg, client); a != nil || b != nil {
			t.Fatal(a, b)
		}
	}
}

func TestWhatIsWrongWithTheFiles(t *testing.T) {
	ca, other := nbdtest.NewAuthority(t, "ca"), nbdtest.NewAuthority(t, "other")
	write := func(dir, name string, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(dir, name string) {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name  string
		spoil func(dir string)
		want  string
	}{
		{"nothing there", func(dir string) { remove(dir, "server-cert.pem"); remove(dir, "server-key.pem") }, "server-cert.pem and server-key.pem are missing"},
		{"no key", func(dir string) { remove(dir, "server-key.pem") }, "server-key.pem: no such file"},
		{"no authority", func(dir string) { remove(dir, "ca-cert.pem") }, "ca-cert.pem: no such file"},
		{"an empty authority", func(dir string) { write(dir, "ca-cert.pem", nil) }, "ca-cert.pem: there is no certificate in it"},
		{"a key of another certificate", func(dir string) {
			key := t.TempDir()
			ca.Issue("x", nil).Write(key, "server", ca)
			data, err := os.ReadFile(filepath.Join(key, "server-key.pem"))
			if err != nil {
				t.Fatal(err)
			}
			write(dir, "server-key.pem", data)
		}, "private key does not match"},
		{"expired", func(dir string) { ca.Issue("x", nbdtest.Expired).Write(dir, "server", ca) }, "server-cert.pem expired at"},
		{"a revocation list of somebody else", func(dir string) { write(dir, "ca-crl.pem", other.Revoke()) }, "not signed by an authority in ca-cert.pem"},
		{"an empty revocation list file", func(dir string) { write(dir, "ca-crl.pem", []byte("x")) }, "no revocation list in it"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			ca.Issue("server", nil).Write(dir, "server", ca)
			tc.spoil(dir)
			_, err := Load(Options{Dir: dir, VerifyPeer: true})
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}
