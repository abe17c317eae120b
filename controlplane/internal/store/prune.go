package store

import (
	"context"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// pruneBatch is how many rows one transaction removes at most.
const pruneBatch = 100

// supersededFor is how long a certificate of a host is kept after its end when it has a newer one.
const supersededFor = 7 * 24 * time.Hour

// Retention is how long is kept what is over. Zero keeps for ever.
type Retention struct {
	// Jobs is for jobs that have ended, with their steps, attempts and requests, and for records of
	// servers, volumes and snapshots that are gone.
	Jobs time.Duration
	// Events is for events of jobs that are not on record any more, and of no job.
	Events time.Duration
	// Identities is for certificates, join tokens and grants that have expired; certificates of
	// hosts that have a newer one are kept for a week at most. Those that were revoked stay. It is
	// as well for the requests that made them, from then on.
	Identities time.Duration
}

// Pruned is how many were removed.
type Pruned struct{ Jobs, Records, Events, Certificates, Tokens, Grants, Requests int64 }

// Prune removes what is over for longer than it is to be kept, in small transactions. It leaves
// what a job that has not ended, or a record of something that still exists, refers to. server_ids
// stay: none is ever used again.
func (s *Store) Prune(ctx context.Context, r Retention) (p Pruned, err error) {
	used, err := s.references(ctx)
	if err != nil {
		return p, err
	}
	before := func(kept time.Duration) time.Time { return s.now().Add(-kept) }
	for _, kind := range []struct {
		kept  time.Duration
		count *int64
		batch batch
	}{
		{r.Jobs, &p.Jobs, pruneJobs(before(r.Jobs), used)},
		{r.Jobs, &p.Records, pruneGone("servers/", (*Tx).Servers, before(r.Jobs), used)},
		{r.Jobs, &p.Records, pruneGone("volumes/", (*Tx).Volumes, before(r.Jobs), used)},
		{r.Jobs, &p.Records, pruneGone("snapshots/", (*Tx).Snapshots, before(r.Jobs), used)},
		{r.Events, &p.Events, pruneRows("events", "id", "at < ? AND (job = '' OR NOT EXISTS "+
			"(SELECT 1 FROM jobs WHERE jobs.id = events.job))", before(r.Events))},
		// One that was revoked says that its key is never certified again: see KeyRevoked.
		{r.Identities, &p.Certificates, pruneRows("certificates", "serial",
			"not_after < ? AND revoked_at = 0", before(r.Identities))},
		// Renewals come twice a day. One of an operator counts as long as its key may come back.
		{min(r.Identities, supersededFor), &p.Certificates, pruneRows("certificates", "serial",
			"not_after < ? AND revoked_at = 0 AND (identity LIKE '"+identity.Agent("").String()+
				"%' OR identity LIKE '"+inventory.MariaDBIdentity("")+"%') AND EXISTS (SELECT 1 "+
				"FROM certificates AS newer WHERE newer.identity = certificates.identity AND "+
				"newer.not_before > certificates.not_before)",
			before(min(r.Identities, supersededFor)))},
		{r.Identities, &p.Tokens, pruneRows("tokens", "hash", "expires_at < ?",
			before(r.Identities))},
		{r.Identities, &p.Grants, pruneRows("agent_grants", "id", "expires_at < ?",
			before(r.Identities))},
		{r.Identities, &p.Requests, pruneRows("requests", "id", "made_at < ?",
			before(r.Identities))},
	} {
		if kind.kept == 0 {
			continue
		}
		if err := s.inBatches(ctx, kind.batch, kind.count); err != nil {
			return p, err
		}
	}
	return p, nil
}

// batch removes some of the rows whose keys are greater than after. It gives the last key that it
// read, which is empty at the end.
type batch func(ctx context.Context, tx *Tx, after string) (last string, removed int64, err error)

func (s *Store) inBatches(ctx context.Context, remove batch, count *int64) error {
	for after := ""; ; {
		var last string
		var removed int64
		err := s.Write(ctx, func(ctx context.Context, tx *Tx) (err error) {
			last, removed, err = remove(ctx, tx, after)
			return err
		})
		if err != nil {
			return err
		}
		*count += removed
		if last == "" {
			return nil
		}
		after = last
	}
}

// keysAfter reads the next keys for which the condition holds.
func (tx *Tx) keysAfter(ctx context.Context, table, key, condition, after string,
	args ...any) (keys []string, last string, err error) {
	keys, err = rowsOf(ctx, tx, scanText, "SELECT "+key+" FROM "+table+" WHERE "+condition+
		" AND "+key+" > ? ORDER BY "+key+" LIMIT ?", append(args, after, pruneBatch)...)
	if len(keys) == pruneBatch {
		last = keys[len(keys)-1]
	}
	return keys, last, err
}

func pruneRows(table, key, condition string, before time.Time) batch {
	return func(ctx context.Context, tx *Tx, after string) (string, int64, error) {
		keys, last, err := tx.keysAfter(ctx, table, key, condition, after, millis(before))
		if err != nil || len(keys) == 0 {
			return "", 0, err
		}
		var where conditions
		in(&where, key, keys)
		removed, err := tx.exec(ctx, "DELETE FROM "+table+where.where(), where.args...)
		return last, removed, err
	}
}

// pruneJobs removes a job's row first, and only as it was read: a job that goes on meanwhile stays.
func pruneJobs(before time.Time, used map[string]bool) batch {
	const over = "active = 0 AND state IN (?, ?, ?) AND created_at < ? AND finished_at < ?"
	args := []any{job.Succeeded, job.Failed, job.Cancelled, millis(before), millis(before)}
	return func(ctx context.Context, tx *Tx, after string) (last string, removed int64, err error) {
		ids, last, err := tx.keysAfter(ctx, "jobs", "id", over, after, args...)
		if err != nil {
			return "", 0, err
		}
		for _, id := range ids {
			if used["jobs/"+id] {
				continue
			}
			n, err := tx.exec(ctx, "DELETE FROM jobs WHERE id = ? AND "+over,
				append([]any{id}, args...)...)
			if err != nil {
				return "", 0, err
			}
			if n == 0 {
				continue
			}
			for _, table := range []string{"job_steps", "job_attempts", "job_requests",
				"job_subjects"} {
				_, err := tx.exec(ctx, "DELETE FROM "+table+" WHERE job_id = ?", id)
				if err != nil {
					return "", 0, err
				}
			}
			removed++
		}
		return last, removed, nil
	}
}

// records is a kind of record, as far as it is pruned.
type records[R any] interface {
	Get(ctx context.Context, key string) (R, error)
	kind() table[R]
}

// pruneGone removes records of what was deleted.
func pruneGone[R any, S records[R]](prefix string, of func(*Tx) S, before time.Time,
	used map[string]bool) batch {
	return func(ctx context.Context, tx *Tx, after string) (last string, removed int64, err error) {
		repo := of(tx)
		t := repo.kind()
		keys, last, err := tx.keysAfter(ctx, t.name, t.key, "state = ?", after, gone)
		if err != nil {
			return "", 0, err
		}
		for _, key := range keys {
			rec, err := repo.Get(ctx, key)
			if err != nil {
				return "", 0, err
			}
			m := t.meta(&rec)
			if used[prefix+key] || !m.updated.Before(before) {
				continue
			}
			// a name that is taken again meanwhile has another rev
			n, err := tx.exec(ctx, "DELETE FROM "+t.name+" WHERE "+t.key+" = ? AND rev = ?", key,
				*m.rev)
			if err != nil {
				return "", 0, err
			}
			removed += n
		}
		return last, removed, nil
	}
}

func (r Repo[R]) kind() table[R] { return r.t }

// gone is the state of a record of something that does not exist any more.
const gone = string(inventory.ServerDeleted)

// references are what jobs that have not ended, and records of what exists, refer to.
func (s *Store) references(ctx context.Context) (map[string]bool, error) {
	used := map[string]bool{}
	err := s.Read(ctx, func(ctx context.Context, tx *Tx) error {
		for _, query := range []string{
			"SELECT subject FROM job_subjects WHERE job_id IN (SELECT id FROM jobs WHERE state " +
				"NOT IN ('succeeded', 'failed', 'cancelled'))",
			"SELECT CONCAT('jobs/', job_id) FROM subject_locks",
			"SELECT CONCAT('jobs/', job) FROM volumes WHERE state <> 'DELETED'",
			"SELECT CONCAT('servers/', server) FROM volumes WHERE state <> 'DELETED'",
			"SELECT CONCAT('snapshots/', snapshot) FROM volumes WHERE state <> 'DELETED'",
			"SELECT CONCAT('jobs/', job) FROM snapshots WHERE state <> 'DELETED'",
			"SELECT CONCAT('servers/', server) FROM snapshots WHERE state <> 'DELETED'",
			"SELECT CONCAT('servers/', primary_name) FROM servers WHERE state <> 'DELETED'",
		} {
			names, err := rowsOf(ctx, tx, scanText, query)
			if err != nil {
				return err
			}
			for _, name := range names {
				used[name] = true
			}
		}
		return tx.referencesInside(ctx, used)
	})
	return used, err
}

// referencesInside are those that no column has.
func (tx *Tx) referencesInside(ctx context.Context, used map[string]bool) error {
	servers, err := tx.Servers().All(ctx)
	if err != nil {
		return err
	}
	for _, srv := range servers {
		if srv.State == inventory.ServerDeleted {
			continue
		}
		used["jobs/"+srv.Job], used["volumes/"+srv.DataVolume] = true, true
		for _, m := range srv.Mounts {
			used["volumes/"+m.Volume] = true
		}
	}
	snapshots, err := tx.Snapshots().All(ctx)
	for _, snap := range snapshots {
		if snap.State != inventory.SnapshotDeleted {
			used["volumes/"+snap.Volume] = true
		}
	}
	return err
}
