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
}

// NewCA makes one.
func NewCA(t testing.TB) *CA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return &CA{key, cert}
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
	write := func(path, kind string, der []byte) {
		must(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	}
	write(files.CA, "CERTIFICATE", c.cert.Raw)
	write(files.Cert, "CERTIFICATE", der)
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
