package interop

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"scstuser/internal/proc"
	"scstuser/nbd/nbdtest"
)

// tlsDirs are directories with certificates: the server's, and those of clients
// of several kinds.
type tlsDirs struct {
	ca                                          *nbdtest.Authority
	server, anonymous, known, stranger, expired string
}

func newTLSDirs(t *testing.T) tlsDirs {
	t.Helper()
	ca, other := nbdtest.NewAuthority(t, "authority"), nbdtest.NewAuthority(t, "other authority")
	dir := func(c *nbdtest.Certificate, role string) string {
		d := t.TempDir()
		c.Write(d, role, ca)
		return d
	}
	d := tlsDirs{
		ca: ca, anonymous: t.TempDir(),
		server:   dir(ca.Issue("server", nil), "server"),
		known:    dir(ca.Issue("client", nil), "client"),
		stranger: dir(other.Issue("client", nil), "client"),
		expired:  dir(ca.Issue("client", nbdtest.Expired), "client"),
	}
	if err := os.WriteFile(filepath.Join(d.anonymous, "ca-cert.pem"), ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

// serveTLS serves an image under TLS.
func serveTLS(t *testing.T, image, certificates string, args ...string) *proc.Server {
	t.Helper()
	fileioOnly(t)
	// proc waits for a greeting, which comes before TLS.
	return serve(t, proc.Config{Files: []string{image}, Args: append([]string{"--tls_certificates", certificates}, args...)})
}

// nbds is the URI of an export under TLS, for libnbd.
func nbds(s *proc.Server, image, certificates string) string {
	uri, with := s.URI(exportName(image)), "?"
	if strings.Contains(uri, with) {
		with = "&"
	}
	return "nbds" + strings.TrimPrefix(uri, "nbd") + with + "tls-certificates=" + certificates
}

// qemuTLS are the options and the image of a qemu program under TLS.
func qemuTLS(s *proc.Server, image, certificates string) (object, opts string) {
	return "tls-creds-x509,id=t,endpoint=client,dir=" + certificates,
		"driver=nbd,path=" + s.Endpoint(0).Addr + ",export=" + exportName(image) + ",tls-creds=t,tls-hostname=localhost"
}

// Who gets in, by the answers of libnbd and of qemu.
func TestTLSWhoGetsIn(t *testing.T) {
	d := newTLSDirs(t)
	image := randomImage(t, 1<<20)
	for _, tc := range []struct {
		name, mode string
		verify     bool
		client     string // "": plaintext
		want       bool
	}{
		{"require, plaintext", "require", false, "", false},
		{"require, without a certificate", "require", false, d.anonymous, true},
		{"on, plaintext", "on", false, "", true},
		{"on, TLS", "on", false, d.anonymous, true},
		{"off, TLS", "off", false, d.anonymous, false},
		{"verify, without a certificate", "require", true, d.anonymous, false},
		{"verify, with one", "require", true, d.known, true},
		{"verify, of another authority", "require", true, d.stranger, false},
		{"verify, expired", "require", true, d.expired, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := []string{"--tls", tc.mode, "--tls_certificates", d.server}
			if tc.verify {
				args = append(args, "--tls_verify_peer")
			}
			if tc.mode == "off" {
				args = nil
			}
			fileioOnly(t)
			s := serve(t, proc.Config{Files: []string{image}, Args: args})
			uri, qemu := s.URI(exportName(image)), []string{"info", "-f", "raw", s.URI(exportName(image))}
			if tc.client != "" {
				uri = nbds(s, image, tc.client)
				object, opts := qemuTLS(s, image, tc.client)
				qemu = []string{"info", "--object", object, "--image-opts", opts}
			}
			needTool(t, "nbdinfo")
			needTool(t, "qemu-img")
			if _, stderr, err := try(t, "nbdinfo", "--size", uri); (err == nil) != tc.want {
				t.Errorf("nbdinfo: %v, %s", err, stderr)
			}
			if _, stderr, err := try(t, "qemu-img", qemu...); (err == nil) != tc.want {
				t.Errorf("qemu-img: %v, %s", err, stderr)
			}
		})
	}
}

// A server that shows a certificate of the wrong authority, or of another name,
// is refused by clients, and serves the next one.
func TestTLSWrongServer(t *testing.T) {
	d := newTLSDirs(t)
	image := randomImage(t, 1<<20)
	other := nbdtest.NewAuthority(t, "other")
	dir := t.TempDir()
	other.Issue("server", nil).Write(dir, "server", d.ca)
	fileioOnly(t)
	// libnbd looks at a server's certificate over TCP only.
	s := serve(t, proc.Config{
		Files: []string{image}, Listen: []proc.Endpoint{proc.TCP("127.0.0.1:0")},
		Args: []string{"--tls", "require", "--tls_certificates", dir},
	})
	needTool(t, "nbdinfo")
	if _, _, err := try(t, "nbdinfo", "--size", nbds(s, image, d.anonymous)); err == nil {
		t.Error("nbdinfo trusts a server of another authority")
	}
	trusting := t.TempDir()
	if err := os.WriteFile(filepath.Join(trusting, "ca-cert.pem"), other.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "nbdinfo", "--size", nbds(s, image, trusting))
}

// Data in both directions under TLS, by nbdcopy with several connections and by
// qemu.
func TestTLSData(t *testing.T) {
	d := newTLSDirs(t)
	source, image := randomImage(t, 16<<20), emptyImage(t, 16<<20)
	s := serveTLS(t, image, d.server, "--tls", "require", "--tls_verify_peer")
	uri := nbds(s, image, d.known)
	back := filepath.Join(t.TempDir(), "back")
	run(t, "nbdcopy", "--connections=4", "--flush", source, uri)
	run(t, "nbdcopy", "--connections=4", uri, back)
	sameFiles(t, image, source)
	sameFiles(t, back, source)

	object, opts := qemuTLS(s, image, d.known)
	run(t, "qemu-io", "--object", object, "--image-opts", opts,
		"-c", "write -P 0x5a 1M 3M", "-c", "read -P 0x5a 1M 3M", "-c", "write -z 2M 64k", "-c", "read -P 0 2M 64k", "-c", "flush")
	run(t, "qemu-img", "compare", "--object", object, "--image-opts", opts, "driver=raw,file.driver=file,file.filename="+image)
}

// SIGHUP brings new certificates to new clients.
func TestTLSReload(t *testing.T) {
	d := newTLSDirs(t)
	image := randomImage(t, 1<<20)
	s := serveTLS(t, image, d.server, "--tls", "require", "--tls_verify_peer")
	run(t, "nbdinfo", "--size", nbds(s, image, d.known))

	next := nbdtest.NewAuthority(t, "next authority")
	next.Issue("server", nil).Write(d.server, "server", next)
	client := t.TempDir()
	next.Issue("client", nil).Write(client, "client", next)
	if err := s.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new certificates are in use", func() bool {
		_, _, err := try(t, "nbdinfo", "--size", nbds(s, image, client))
		return err == nil
	})
	if _, _, err := try(t, "nbdinfo", "--size", nbds(s, image, d.known)); err == nil {
		t.Error("a client of the old authority gets in")
	}
}
