//go:build lab

package mariadbtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// CA is a throwaway authority.
type CA struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	// root is what cert is of where that is an intermediate; nil where it is the root itself.
	root *x509.Certificate
	// believed are the roots in what it issues beside its own.
	believed []*x509.Certificate
}

// NewCA makes one.
func NewCA(t testing.TB) *CA {
	t.Helper()
	return newCA(t, "test CA", nil)
}

// NewIntermediate is one with the name of NewCA's, whose certificate is of a root with another
// name.
func NewIntermediate(t testing.TB) *CA {
	t.Helper()
	return newCA(t, "test CA", newCA(t, "offline root", nil))
}

func newCA(t testing.TB, name string, by *CA) *CA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign}
	made := &CA{key: key}
	parent, signer := template, key
	if by != nil {
		made.root, parent, signer = by.cert, by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	must(t, err)
	made.cert, err = x509.ParseCertificate(der)
	must(t, err)
	return made
}

// Believing is the same one, whose roots stand in what it issues beside those of others.
func (c *CA) Believing(others ...*CA) *CA {
	both := *c
	for _, other := range others {
		both.believed = append(both.believed, other.top())
	}
	return &both
}

// top is its root.
func (c *CA) top() *x509.Certificate {
	if c.root != nil {
		return c.root
	}
	return c.cert
}

// Server is whose MariaDB signs in with the certificates of Issue.
const Server = "db2"

// Issue makes MariaDB's certificate for 127.0.0.1 and localhost, and writes it below the directory.
func (c *CA) Issue(t testing.TB, dir string) mariadb.TLSFiles {
	t.Helper()
	return c.IssueTo(t, dir, identity.MariaDB{Server: Server}.Subject())
}

// IssueTo is Issue for another subject.
func (c *CA) IssueTo(t testing.TB, dir string, subject pkix.Name) mariadb.TLSFiles {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject: subject, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, &key.PublicKey, c.key)
	must(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	files := mariadb.TLSFiles{CA: filepath.Join(dir, "ca.pem"),
		Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	write := func(path, kind string, all ...[]byte) {
		var data []byte
		for _, der := range all {
			data = append(data, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
		}
		must(t, os.WriteFile(path, data, 0o600))
	}
	roots, chain := [][]byte{c.top().Raw}, [][]byte{der}
	for _, other := range c.believed {
		roots = append(roots, other.Raw)
	}
	if c.root != nil {
		chain = append(chain, c.cert.Raw)
	}
	write(files.CA, "CERTIFICATE", roots...)
	write(files.Cert, "CERTIFICATE", chain...)
	write(files.Key, "PRIVATE KEY", keyDER)
	return files
}

// SameCA is the authority of that instance.
func SameCA(i *Instance) *CA { return i.ca }

// Certificate is the serial number of the certificate that the running server shows.
func (i *Instance) Certificate() string {
	i.t.Helper()
	config := mysql.NewConfig()
	config.User, config.Net, config.Addr = "nobody", "tcp", fmt.Sprintf("127.0.0.1:%d", i.Port)
	serial := ""
	config.TLS = &tls.Config{InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			serial = state.PeerCertificates[0].SerialNumber.String()
			return nil
		}}
	connector, err := mysql.NewConnector(config)
	must(i.t, err)
	// Nobody is refused, after the handshake.
	if conn, err := connector.Connect(context.Background()); err == nil {
		conn.Close()
	}
	return serial
}
