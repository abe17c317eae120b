package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// Certificates keeps issued certificates, by serial.
type Certificates struct{ tx *Tx }

// Certificates gives the issued certificates.
func (tx *Tx) Certificates() Certificates { return Certificates{tx: tx} }

const certificateColumns = "serial, identity, key_print, not_before, not_after, revoked_at, reason"

// Lock makes other transactions that lock wait until this one ends. Who issues a certificate
// because another one is good locks before it looks, or a revocation in between would leave the new
// one.
func (c Certificates) Lock(ctx context.Context) error {
	_, err := c.tx.Next(ctx, "certificates", 1)
	return err
}

// Insert adds a certificate, or answers errs.AlreadyExists.
func (c Certificates) Insert(ctx context.Context, cert inventory.Certificate) error {
	_, err := c.tx.exec(ctx, insertSQL("certificates", certificateColumns), cert.Serial,
		cert.Identity, cert.KeyPrint,
		millis(cert.NotBefore), millis(cert.NotAfter), millis(cert.RevokedAt), cert.Reason)
	if c.tx.engine.duplicate(err) {
		return inventory.Taken("certificate", cert.Serial,
			"ask again: the next serial number is another one")
	}
	return err
}

// Get reads a certificate by its serial, or answers inventory.ErrNotFound.
func (c Certificates) Get(ctx context.Context, serial string) (inventory.Certificate, error) {
	row := c.tx.sql.QueryRowContext(ctx,
		"SELECT "+certificateColumns+" FROM certificates WHERE serial = ?", serial)
	cert, err := scanCertificate(row)
	if errors.Is(err, sql.ErrNoRows) {
		return cert, inventory.NotFound(errs.WithHint("a server that does not exist has no "+
			"certificate", errs.Call("ListServers")), "there is no certificate %s", serial)
	}
	return cert, err
}

// Of reads the certificates of an identity, the newest first.
func (c Certificates) Of(ctx context.Context, identity string) ([]inventory.Certificate, error) {
	query := "SELECT " + certificateColumns +
		" FROM certificates WHERE identity = ? ORDER BY not_before DESC, serial"
	return rowsOf(ctx, c.tx, scanCertificate, query, identity)
}

// Ends reads until when the newest certificate of each identity is good; revoked ones do not count.
func (c Certificates) Ends(ctx context.Context) (map[string]time.Time, error) {
	type end struct {
		identity string
		at       time.Time
	}
	all, err := rowsOf(ctx, c.tx, func(row scanner) (e end, err error) {
		err = row.Scan(&e.identity, moment{&e.at})
		return e, err
	}, "SELECT identity, MAX(not_after) FROM certificates WHERE revoked_at = 0 GROUP BY identity")
	ends := make(map[string]time.Time, len(all))
	for _, e := range all {
		ends[e.identity] = e.at
	}
	return ends, err
}

// Newest reads the newest certificate of each identity that begins so, by identity.
func (c Certificates) Newest(ctx context.Context, prefix string) ([]inventory.Certificate, error) {
	return rowsOf(ctx, c.tx, scanCertificate, "SELECT "+certificateColumns+" FROM (SELECT "+
		certificateColumns+", ROW_NUMBER() OVER (PARTITION BY identity ORDER BY not_before DESC, "+
		"serial) AS place FROM certificates WHERE SUBSTR(identity, 1, ?) = ?) AS placed "+
		"WHERE place = 1 ORDER BY identity", len(prefix), prefix)
}

// KeyRevoked says whether a certificate for the key of that fingerprint was revoked.
func (c Certificates) KeyRevoked(ctx context.Context, print string) (bool, error) {
	serials, err := rowsOf(ctx, c.tx, scanText,
		"SELECT serial FROM certificates WHERE key_print = ? AND revoked_at <> 0 LIMIT 1", print)
	return len(serials) > 0, err
}

func scanCertificate(row scanner) (c inventory.Certificate, err error) {
	err = row.Scan(&c.Serial, &c.Identity, &c.KeyPrint, moment{&c.NotBefore}, moment{&c.NotAfter},
		moment{&c.RevokedAt}, &c.Reason)
	return c, err
}

// denyCounter numbers the lists of revoked certificates.
const denyCounter = "deny list"

// Revoke revokes the certificates of an identity, and returns the serials of those that were good.
// Those that have expired are marked too, for their keys: see KeyRevoked. Grants of an operator end
// with them, and so do those on an agent: another machine may take its name. It locks.
func (c Certificates) Revoke(ctx context.Context, identity, reason string) ([]string, error) {
	if err := c.Lock(ctx); err != nil {
		return nil, err
	}
	now := millis(c.tx.now)
	serials, err := rowsOf(ctx, c.tx, scanText,
		"SELECT serial FROM certificates WHERE identity = ? AND revoked_at = 0 AND not_after > ? "+
			"ORDER BY serial", identity, now)
	if err != nil {
		return nil, err
	}
	n, err := c.tx.exec(ctx, "UPDATE certificates SET revoked_at = ?, reason = ? WHERE identity = "+
		"? AND revoked_at = 0", now, reason, identity)
	if err == nil && n > 0 {
		_, err = c.tx.Next(ctx, denyCounter, 1)
	}
	if err == nil {
		err = c.tx.AgentGrants().endOf(ctx, identity)
	}
	return serials, err
}

// Revoked reads the revoked certificates that have not expired, those that expire last first, and
// the number of that list: it is greater after each revocation, and after a restore.
func (c Certificates) Revoked(ctx context.Context) (sequence int64, all []inventory.Certificate,
	err error) {
	sequence, err = c.tx.counter(ctx, denyCounter)
	if err != nil {
		return 0, nil, err
	}
	all, err = rowsOf(ctx, c.tx, scanCertificate, "SELECT "+certificateColumns+
		" FROM certificates WHERE revoked_at <> 0 AND not_after > ? "+
		"ORDER BY not_after DESC, serial", millis(c.tx.now))
	return sequence, all, err
}
