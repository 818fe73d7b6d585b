package kerneltest

import (
	"crypto/x509"
	"net"
	"strings"
	"testing"

	"scstuser/internal/proc"
	"scstuser/internal/vm"
	"scstuser/nbd/nbdtest"
)

// tlsRelay: the kernel does not speak TLS, so attach stays and does it.
func (g *guest) tlsRelay(t *testing.T) {
	ca := nbdtest.NewAuthority(t, "ca")
	cert := ca.Issue("server", func(c *x509.Certificate) { c.IPAddresses = append(c.IPAddresses, net.ParseIP(vm.HostAddress)) })
	dir := t.TempDir()
	cert.Write(dir, "server", ca)
	if err := g.WriteFile(t.Context(), "/etc/tls/ca-cert.pem", ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	img := image(t, 128<<20)
	s := serve(t, proc.Config{Files: []string{img}, Args: []string{"--tls=require", "--tls_certificates=" + dir}})
	where := strings.Replace(uri(t, s, img), "nbd:", "nbds:", 1)
	g.attachResident(t, "--tls_certificates", "/etc/tls", "--connections", "2", where)
	g.sizes(t, device{path: "/dev/nbd0", size: 128 << 20, block: 512})
	g.sh(t, "mkfs.ext4 -q /dev/nbd0; mount -t ext4 /dev/nbd0 /mnt; mkdir /mnt/load; fscheck -dir /mnt/load -seed 10 -ops 60; "+
		"umount /mnt; e2fsck -f -n /dev/nbd0")
}
