package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// restoredFact has when the records were backed up and when they were restored, in milliseconds.
const restoredFact = "restored"

// Schema is the newest version of the schema that this program knows.
func Schema() (newest int64, err error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		number, _, _ := strings.Cut(strings.TrimPrefix(name, "migrations/"), "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("the migration %s has no number: %w", name, err)
		}
		newest = max(newest, version)
	}
	return newest, nil
}

// Copy writes a consistent copy of the SQLite store in a file to a new file, while others use it,
// and answers with the version of its schema. It changes nothing.
func Copy(ctx context.Context, path, into string) (schema int64, err error) {
	if _, err := os.Stat(path); err != nil { // which would be made
		return 0, err
	}
	db, err := sqliteDB(path, 1, "")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	// before SQLite makes it readable to others
	file, err := os.OpenFile(into, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	if err := file.Close(); err != nil {
		return 0, err
	}
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", into); err != nil {
		return 0, fmt.Errorf("copy the store: %w", err)
	}
	made, err := sqliteDB(into, 1, "")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, made.Close()) }()
	err = made.QueryRowContext(ctx,
		"SELECT MAX(version_id) FROM goose_db_version WHERE is_applied").Scan(&schema)
	return schema, err
}

// Restored makes records that were backed up at that time fit to go on. Agents refuse an epoch of a
// job that is lower than one that they saw, and they have seen those of after the backup: epochs go
// up to the time of now in milliseconds, which no earlier restore can have reached. So do the
// control plane's generation and the numbers of the lists that agents are told. Join tokens and
// grants end, since those that were used or revoked since are good again.
func (tx *Tx) Restored(ctx context.Context, backedUp time.Time) error {
	now := millis(tx.now)
	for _, change := range []struct {
		query string
		args  []any
	}{
		{"UPDATE jobs SET epoch = CASE WHEN epoch < ? THEN ? ELSE epoch + 1 END, rev = rev + 1",
			[]any{now, now}},
		{"UPDATE tokens SET expires_at = ? WHERE expires_at > ?", []any{now, now}},
		{"UPDATE agent_grants SET revoked_at = ? WHERE revoked_at = 0", []any{now}},
	} {
		if _, err := tx.exec(ctx, change.query, change.args...); err != nil {
			return err
		}
	}
	for _, list := range []string{denyCounter, grantCounter} {
		if err := tx.raise(ctx, list, now); err != nil {
			return err
		}
	}
	if err := tx.replace(ctx, restoredFact, fmt.Sprintf("%d %d", millis(backedUp),
		now)); err != nil {
		return err
	}
	before, err := tx.Generation(ctx)
	if err != nil {
		return err
	}
	if err := tx.replace(ctx, generationFact,
		strconv.FormatInt(max(now, before+1), 10)); err != nil {
		return err
	}
	return tx.Events().Add(ctx, inventory.Event{Actor: identity.ControlPlane().String(),
		Action: "controlplane.restore", Subject: "controlplane",
		Message: "restored a backup of " + backedUp.UTC().Format(time.RFC3339)})
}

// raise takes the counter of a list above what agents have seen: they refuse a list whose number is
// lower than that of one that they have.
func (tx *Tx) raise(ctx context.Context, counter string, now int64) error {
	last, err := tx.counter(ctx, counter)
	if err != nil {
		return err
	}
	if _, err := tx.exec(ctx, "DELETE FROM counters WHERE name = ?", counter); err != nil {
		return err
	}
	_, err = tx.Next(ctx, counter, max(now, last+1))
	return err
}

// Lost says whether a certificate of that identity which was issued at that time may be missing
// from the records, and none of the identity was revoked since, after the restore above all. The
// time lies between a backup and its restore. That time and the backup's are by the clock of the
// host before, the restore's is by another one, which may be behind: by less than certificates are
// backdated, since nobody could use those of a clock that was further ahead.
func (tx *Tx) Lost(ctx context.Context, of string, at time.Time) (bool, error) {
	from, to, err := tx.restored(ctx)
	end := max(from, to) + identity.Backdate.Milliseconds()
	if err != nil || from == 0 || millis(at) < from || millis(at) > end {
		return false, err
	}
	revoked, err := rowsOf(ctx, tx, scanText, "SELECT serial FROM certificates WHERE identity = ? "+
		"AND revoked_at <> 0 AND (revoked_at >= ? OR revoked_at >= ?) LIMIT 1", of, millis(at), to)
	return err == nil && len(revoked) == 0, err
}

// RestoredAt is when the records were last restored; zero for never.
func (tx *Tx) RestoredAt(ctx context.Context) (time.Time, error) {
	_, at, err := tx.restored(ctx)
	if err != nil || at == 0 {
		return time.Time{}, err
	}
	return time.UnixMilli(at), nil
}

// restored is when the records were backed up and restored, in milliseconds; zero for never.
func (tx *Tx) restored(ctx context.Context) (from, to int64, err error) {
	known, err := rowsOf(ctx, tx, scanText, "SELECT value FROM facts WHERE name = ?", restoredFact)
	if err != nil || len(known) == 0 {
		return 0, 0, err
	}
	if _, err := fmt.Sscanf(known[0], "%d %d", &from, &to); err != nil {
		return 0, 0, fmt.Errorf("the fact %q cannot be read: %w", restoredFact, err)
	}
	return from, to, nil
}
