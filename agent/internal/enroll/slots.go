package enroll

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// slots are two folders, of which the link `current` names the one in use. A new identity is made
// in the other one, keys first, and then used by changing the link: at any moment there is a
// whole identity, or none.
type slots struct{ dir string }

const (
	linkName = "current"
	metaName = "meta.json"
)

// slot is one folder with an identity: the agent's files, and MariaDB's in a folder below.
type slot struct{ dir string }

// meta is what is known of the identity in a slot.
type meta struct {
	// Purpose is what the keys were made for: another purpose gets other keys.
	Purpose string `json:"purpose"`
	// Server is who the agent is.
	Server string `json:"server"`
	// ControlPlane are the addresses to renew at.
	ControlPlane []string `json:"control_plane"`
	// Token is the id of the proof that all began with: the hash of the join token.
	Token string `json:"token_sha256"`
	// Renewal is the key of the request that the identity came from; empty for none.
	Renewal string `json:"renewal,omitempty"`
}

// used says whether the identity came from that proof.
func (m meta) used(shown proof) bool {
	return subtle.ConstantTimeCompare([]byte(m.Token), []byte(shown.id)) == 1
}

func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func (s slots) current() slot { return slot{dir: filepath.Join(s.dir, linkName)} }

// spare is the slot that is not in use.
func (s slots) spare() slot {
	if used, err := os.Readlink(s.current().dir); err == nil && used == "a" {
		return slot{dir: filepath.Join(s.dir, "b")}
	}
	return slot{dir: filepath.Join(s.dir, "a")}
}

// prepare gives the spare slot keys for that purpose: those it has, when they were made for
// it, else new ones.
func (s slots) prepare(m meta) (slot, error) {
	spare := s.spare()
	if had, err := spare.meta(); err != nil || had.Purpose != m.Purpose {
		if err := os.RemoveAll(spare.dir); err != nil {
			return slot{}, err
		}
	}
	if err := os.MkdirAll(filepath.Join(spare.dir, "mariadb"), 0o700); err != nil {
		return slot{}, err
	}
	if err := spare.keepMeta(m); err != nil {
		return slot{}, err
	}
	for _, path := range []string{spare.files().Key, spare.mariadbFiles().Key} {
		if err := ensureKey(path); err != nil {
			return slot{}, err
		}
	}
	return spare, nil
}

// use makes the slot the current one.
func (s slots) use(chosen slot) error {
	link := filepath.Join(s.dir, ".next")
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(filepath.Base(chosen.dir), link); err != nil {
		return err
	}
	if err := os.Rename(link, s.current().dir); err != nil {
		return err
	}
	if err := atomicfile.SyncDir(s.dir); err != nil {
		return err
	}
	// Unused keys are not kept.
	return os.RemoveAll(s.spare().dir)
}

func (s slot) files() identity.FilesConfig { return filesIn(s.dir) }

func (s slot) mariadbFiles() identity.FilesConfig {
	return filesIn(filepath.Join(s.dir,
		"mariadb"))
}

func filesIn(dir string) identity.FilesConfig {
	return identity.FilesConfig{CA: filepath.Join(dir, "ca.pem"),
		Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
}

func (s slot) meta() (meta, error) {
	var m meta
	data, err := os.ReadFile(filepath.Join(s.dir, metaName))
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(data, &m)
}

func (s slot) keepMeta(m meta) error {
	return atomicfile.WriteJSON(filepath.Join(s.dir, metaName), m)
}

// loaded is an identity in a slot.
type loaded struct {
	meta
	cert    *x509.Certificate
	mariadb *x509.Certificate // nil when it has expired, or is of a root that went
}

// mariadbIsDue says whether MariaDB's certificate is to be renewed.
func (l loaded) mariadbIsDue(now time.Time) bool {
	return l.mariadb == nil || !now.Before(identity.RenewTime(l.mariadb))
}

// load reads the identity in the slot; an error says why there is none that is good now.
func (s slot) load(now time.Time) (loaded, error) {
	m, err := s.meta()
	if errors.Is(err, fs.ErrNotExist) {
		return loaded{}, errors.New("it has never enrolled")
	}
	if err != nil {
		return loaded{}, fmt.Errorf("%s: %w", metaName, err)
	}
	cert, err := check(s.files(), now, identity.Agent(m.Server))
	if err != nil {
		return loaded{}, err
	}
	// MariaDB's certificate carries no identity: who shows it is nobody to the fleet. One that has
	// expired, or whose root is believed no longer, keeps nobody from renewing it.
	mariadb, err := check(s.mariadbFiles(), now, identity.Identity{})
	if err != nil && !hasExpired(err) && !isForeign(err) {
		return loaded{}, fmt.Errorf("MariaDB's files: %w", err)
	}
	return loaded{meta: m, cert: cert, mariadb: mariadb}, nil
}

// hasExpired says whether a certificate was refused because this host's clock is past its end, or
// before its begin.
func hasExpired(err error) bool {
	var invalid x509.CertificateInvalidError
	return errors.As(err, &invalid) && invalid.Reason == x509.Expired
}

// isForeign says whether a certificate was refused because none of the roots beside it signed it.
func isForeign(err error) bool {
	var unknown x509.UnknownAuthorityError
	return errors.As(err, &unknown)
}

// check reads a certificate with its key and CA, and says whether it is good now, and whose it
// should be.
func check(files identity.FilesConfig, now time.Time,
	want identity.Identity) (*x509.Certificate, error) {
	cert, err := os.ReadFile(files.Cert)
	if err != nil {
		return nil, err
	}
	bundle, err := os.ReadFile(files.CA)
	if err != nil {
		return nil, err
	}
	good, err := verify(cert, bundle, files.Key, now, want)
	if err != nil {
		return nil, fmt.Errorf("the files in %s: %w", filepath.Dir(files.Cert), err)
	}
	return good, nil
}

// verify is check of what is not in files yet, but for the key.
func verify(certificate, bundle []byte, key string, now time.Time,
	want identity.Identity) (*x509.Certificate, error) {
	keyPEM, err := os.ReadFile(key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certificate, keyPEM)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		return nil, errors.New("no certificate of an authority")
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, err
	}
	intermediates := x509.NewCertPool()
	intermediates.AppendCertsFromPEM(certificate)
	options := x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if _, err := cert.Verify(options); err != nil {
		return nil, err
	}
	id, err := identity.FromCertificate(cert)
	if want == (identity.Identity{}) {
		return cert, nil
	}
	if err == nil && id != want {
		err = fmt.Errorf("the certificate is for %s, not for %s", id, want)
	}
	return cert, err
}

// mariadb is who signs in with MariaDB's certificate in the slot; nobody when there is none.
func (s slot) mariadb() identity.MariaDB {
	cert, err := identity.ReadCertificate(s.mariadbFiles().Cert)
	if err != nil {
		return identity.MariaDB{}
	}
	return identity.MariaDBOf(cert)
}

// generation is that of MariaDB's certificate in the slot.
func (s slot) generation() string { return s.mariadb().Generation }

// generationOf is generation when the slot is that server's, else a new one.
func (s slot) generationOf(server string) string {
	if who := s.mariadb(); who.Server == server {
		return who.Generation
	}
	return identity.NewGeneration()
}
