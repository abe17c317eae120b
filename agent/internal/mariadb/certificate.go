package mariadb

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// certificate is MariaDB's: the agent gets it, and MariaDB's user reads a copy.
type certificate struct {
	from, to TLSFiles
	user     string
}

// install puts the certificate where MariaDB reads it, with the ownership that MariaDB wants. It
// says whether that was another one.
func (c certificate) install() (changed bool, err error) {
	const what = "cannot install MariaDB's certificate"
	belongs, err := lookup(c.user)
	if err != nil {
		return false, err
	}
	// Its user reads, and replaces nothing: a CA of its own would be another trust.
	reader := &atomicfile.Owner{GID: belongs.GID}
	// MariaDB's own user has to get through, whatever the agent's umask is.
	dir := filepath.Dir(c.to.CA)
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, 0o755)); err != nil {
		return false, diskError(what, err)
	}
	var roots []byte
	for _, f := range []struct {
		from, to string
		mode     os.FileMode
	}{{c.from.CA, c.to.CA, 0o644}, {c.from.Cert, c.to.Cert, 0o644}, {c.from.Key, c.to.Key, 0o640}} {
		content, err := os.ReadFile(f.from)
		switch f.from {
		case c.from.CA:
			roots = content
		case c.from.Cert:
			content = withRoot(content, roots)
		}
		if errors.Is(err, os.ErrNotExist) || f.from == "" {
			return false, unsafe(errorsv1.Reason_REASON_MARIADB_SETTING,
				"cannot turn TLS on: the agent has no certificate for MariaDB",
				errs.WithHint("enrol the agent, or let it renew its certificate, then call again"))
		}
		wrote := false
		if err == nil {
			wrote, err = atomicfile.Ensure(f.to, content, f.mode, reader)
		}
		if err != nil {
			return false, diskError(what, err)
		}
		changed = changed || wrote
	}
	return changed, nil
}

// withRoot is a chain with its root behind it. Without an intermediate OpenSSL shows the root by
// itself. MariaDB's client of 11.8 wants to see it, where nobody told it which one to believe, and
// then goes by the password or the socket: without it nobody on the host gets in, root included.
func withRoot(chain, roots []byte) []byte {
	shown := parsed(chain)
	if len(shown) < 2 {
		return chain
	}
	for _, root := range parsed(roots) {
		if shown[len(shown)-1].CheckSignatureFrom(root) == nil {
			return append(slices.Clip(chain), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE",
				Bytes: root.Raw})...)
		}
	}
	return chain
}

// parsed are the certificates of a file; those that cannot be read are MariaDB's to refuse.
func parsed(data []byte) (all []*x509.Certificate) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			all = append(all, cert)
		}
	}
	return all
}

// lookup finds the user that MariaDB runs as.
func lookup(name string) (*atomicfile.Owner, error) {
	owner, err := atomicfile.OwnerNamed(name)
	if err != nil {
		return nil, fmt.Errorf("cannot find the user that MariaDB runs as: %w", err)
	}
	return owner, nil
}

// Certificate is what is known of the certificate that is installed for MariaDB.
type Certificate struct {
	// MariaDB is who signs in to another one with it; nobody when it is for a server alone.
	identity.MariaDB
	// Expires is when it ends; zero when there is no certificate.
	Expires time.Time
}

// certificate reads what is installed; nothing when there is none, or none that can be read.
func (s *Server) certificate() Certificate {
	cert, err := readCertificate(s.tls.Cert)
	if err != nil {
		return Certificate{}
	}
	return Certificate{MariaDB: identity.MariaDBOf(cert), Expires: cert.NotAfter}
}

// readCertificate reads the first certificate of one of the agent's own files.
func readCertificate(path string) (*x509.Certificate, error) {
	cert, err := identity.ReadCertificate(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, unsafe(errorsv1.Reason_REASON_MARIADB_SETTING,
			"MariaDB has no certificate of the fleet's CA",
			errs.WithHint("configure it with TLS first", errs.Call("SetConfiguration", "tls",
				"true")))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read MariaDB's certificate: %w", err)
	}
	return cert, nil
}
