package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// all is a retention by which everything that is over is over for long enough.
var all = store.Retention{Jobs: -time.Hour, Events: -time.Hour, Identities: -time.Hour}

func endedJob(id string) job.Job {
	j := sampleJob(id)
	j.Subjects = []string{"servers/of-" + id}
	j.State, j.Finished = job.Succeeded, j.Created
	return j
}

// testRetention keeps what is open, what is young, and what those and existing things refer to.
func testRetention(t *testing.T, open Open) {
	st := open(t)
	old, now := time.UnixMilli(1000).UTC(), time.Now().UTC()
	jobs := map[string]func(*job.Job){
		"ended":      func(*job.Job) {},
		"cancelled":  func(j *job.Job) { j.State = job.Cancelled },
		"young":      func(j *job.Job) { j.Finished = now.Add(2 * time.Hour) },
		"open":       func(j *job.Job) { j.State, j.Finished = job.Waiting, time.Time{} },
		"asking":     func(j *job.Job) { j.State, j.Finished = job.ActionRequired, time.Time{} },
		"of-server":  func(*job.Job) {},
		"of-volume":  func(*job.Job) {},
		"of-shot":    func(*job.Job) {},
		"of-deleted": func(*job.Job) {},
	}
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		for id, change := range jobs {
			j := endedJob(id)
			change(&j)
			records := st.Jobs(tx)
			if err := records.Insert(ctx, j); err != nil {
				return err
			}
			if err := records.OpenAttempt(ctx, job.Attempt{JobID: id, Number: 1,
				State: job.AttemptDone}); err != nil {
				return err
			}
			if err := records.AddRequest(ctx, job.PastRequest{RequestID: "on-" + id,
				JobID: id}); err != nil {
				return err
			}
			if err := tx.Events().Add(ctx, inventory.Event{At: old, Job: id,
				Action: "job.succeeded"}); err != nil {
				return err
			}
		}
		return tx.Events().Add(ctx, inventory.Event{At: old, Action: "identity.revoke"})
	})
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		for _, s := range []inventory.Server{
			{Name: "live", State: inventory.ServerReady, Job: "of-server", DataVolume: "held"},
			{Name: "gone", State: inventory.ServerDeleted, Job: "of-deleted"},
			{Name: "source", State: inventory.ServerDeleted},
			{Name: "of-open", State: inventory.ServerDeleted}, // an open job's subject
		} {
			if err := tx.Servers().Insert(ctx, &s); err != nil {
				return err
			}
		}
		for _, v := range []inventory.Volume{
			{ID: "v", State: inventory.VolumeAvailable, Job: "of-volume", Snapshot: "origin"},
			{ID: "held", State: inventory.VolumeDeleted}, {ID: "copied",
				State: inventory.VolumeDeleted}, {ID: "gone", State: inventory.VolumeDeleted},
		} {
			if err := tx.Volumes().Insert(ctx, &v); err != nil {
				return err
			}
		}
		for _, s := range []inventory.Snapshot{
			{ID: "s", State: inventory.SnapshotReady, Job: "of-shot", Server: "source",
				Volume: "copied"},
			{ID: "origin", State: inventory.SnapshotDeleted},
			{ID: "gone", State: inventory.SnapshotDeleted},
		} {
			if err := tx.Snapshots().Insert(ctx, &s); err != nil {
				return err
			}
		}
		for serial, until := range map[string]time.Time{"1": old, "2": now.Add(2 * time.Hour)} {
			if err := tx.Certificates().Insert(ctx, inventory.Certificate{Serial: serial,
				NotAfter: until}); err != nil {
				return err
			}
			if err := tx.JoinTokens().Insert(ctx, inventory.JoinToken{Hash: serial,
				Expires: until}); err != nil {
				return err
			}
			if err := tx.AgentGrants().Insert(ctx, inventory.AgentGrant{ID: serial,
				Expires: until}); err != nil {
				return err
			}
		}
		for id, made := range map[string]time.Time{"1": old, "2": now.Add(2 * time.Hour)} {
			if err := tx.Requests().Put(ctx, inventory.Request{ID: id, Made: made}); err != nil {
				return err
			}
		}
		return tx.Certificates().Insert(ctx, inventory.Certificate{Serial: "3", KeyPrint: "stolen",
			NotAfter: old, RevokedAt: old})
	})
	if p, err := st.Prune(t.Context(), store.Retention{}); err != nil || p != (store.Pruned{}) {
		t.Errorf("keeping for ever: %+v, %v", p, err)
	}
	p, err := st.Prune(t.Context(), all)
	if want := (store.Pruned{Jobs: 3, Records: 3, Events: 4, Certificates: 1,
		Tokens: 1, Grants: 1, Requests: 1}); err != nil || p != want {
		t.Errorf("pruned %+v, %v, want %+v", p, err, want)
	}
	got := leftOver(t, st)
	want := []string{"asking", "of-server", "of-shot", "of-volume", "open", "young",
		"live", "of-open", "source", "copied", "held", "v", "origin", "s"}
	if !slices.Equal(got, want) {
		t.Errorf("left: %q, want %q", got, want)
	}
	read(t, st, func(ctx context.Context, tx *store.Tx) error {
		if revoked, err := tx.Certificates().KeyRevoked(ctx, "stolen"); err != nil || !revoked {
			t.Errorf("a revoked key is forgotten: %v", err)
		}
		attempts, err := st.Jobs(tx).Attempts(ctx, "ended")
		if _, found, _ := st.Jobs(tx).Requested(ctx, "on-ended"); found || len(attempts) > 0 {
			t.Errorf("attempts %v and requests (%v) of a job that is gone", attempts, found)
		}
		return err
	})
	if p, err := st.Prune(t.Context(), all); err != nil || p != (store.Pruned{}) {
		t.Errorf("a second time: %+v, %v", p, err)
	}
}

// leftOver is the keys of all jobs, servers, volumes and snapshots.
func leftOver(t *testing.T, st *store.Store) (left []string) {
	t.Helper()
	read(t, st, func(ctx context.Context, tx *store.Tx) error {
		list, _, err := st.Jobs(tx).List(ctx, job.Filter{PageSize: 500})
		for _, j := range list {
			left = append(left, j.ID)
		}
		slices.Sort(left)
		if err != nil {
			return err
		}
		servers, err := tx.Servers().All(ctx)
		for _, s := range servers {
			left = append(left, s.Name)
		}
		if err != nil {
			return err
		}
		volumes, err := tx.Volumes().All(ctx)
		for _, v := range volumes {
			left = append(left, v.ID)
		}
		if err != nil {
			return err
		}
		snapshots, err := tx.Snapshots().All(ctx)
		for _, s := range snapshots {
			left = append(left, s.ID)
		}
		return err
	})
	return left
}

// testRetentionOfMany removes more than one transaction does, past what has to stay.
func testRetentionOfMany(t *testing.T, open Open) {
	st := open(t)
	const many = 250
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		for i := range many {
			j := endedJob(fmt.Sprintf("j%03d", i))
			if err := st.Jobs(tx).Insert(ctx, j); err != nil {
				return err
			}
			if i < 120 { // more than a batch
				if err := tx.Servers().Insert(ctx, &inventory.Server{Name: j.ID, Job: j.ID,
					State: inventory.ServerReady}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if p, err := st.Prune(t.Context(), all); err != nil || p.Jobs != many-120 {
		t.Errorf("pruned %+v, %v", p, err)
	}
}

// testRestored restores twice at one time: everything is above what it was.
func testRestored(t *testing.T, open Open) {
	st := open(t)
	j := sampleJob("j")
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		return st.Jobs(tx).Insert(ctx, j)
	})
	epoch, generation := int64(0), int64(0)
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		if lost, err := tx.Lost(ctx, "agents/db-1", time.UnixMilli(0)); err != nil || lost {
			t.Errorf("lost without a restore: %v, %v", lost, err)
		}
		return nil
	})
	// the second one on a host whose clock is behind that of the host before
	for _, ago := range []time.Duration{time.Hour, -10 * time.Minute, time.Hour} {
		backedUp := time.Now().Add(-ago)
		write(t, st, func(ctx context.Context, tx *store.Tx) error {
			return tx.Restored(ctx, backedUp)
		})
		write(t, st, func(ctx context.Context, tx *store.Tx) error {
			held, err := st.Jobs(tx).Holdings(ctx)
			if err != nil || len(held) != 1 || held[0].Epoch <= epoch {
				t.Fatalf("epoch %d, then %+v, %v", epoch, held, err)
			}
			raised, err := tx.Generation(ctx)
			if err != nil || raised <= generation {
				t.Errorf("generation %d, then %d, %v", generation, raised, err)
			}
			epoch, generation = held[0].Epoch, raised
			lost, err := tx.Lost(ctx, "agents/db-1", backedUp.Add(time.Minute))
			if err != nil || !lost {
				t.Errorf("what a backup cannot know: %v, %v", lost, err)
			}
			return tx.Probe(ctx)
		})
	}
}

// testRetentionOfRenewals forgets soon what a host has renewed, and nothing else.
func testRetentionOfRenewals(t *testing.T, open Open) {
	st := open(t)
	const day = 24 * time.Hour
	now := time.Now().UTC()
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		for _, c := range []struct {
			identity, serial string
			begin, end       time.Duration
		}{
			{"spiffe://understudy/agent/db1", "renewed", -9 * day, -8 * day},
			{"spiffe://understudy/agent/db1", "in use", -day, day},
			{"mariadb/db1", "renewed too", -40 * day, -10 * day},
			{"mariadb/db1", "in use too", -20 * day, 10 * day},
			{"spiffe://understudy/agent/db2", "the newest", -9 * day, -8 * day},
			{"spiffe://understudy/agent/db3", "young", -7 * day, -6 * day},
			{"spiffe://understudy/agent/db3", "younger", -day, day},
			{"spiffe://understudy/viewer/ann", "on another computer", -9 * day, -8 * day},
			{"spiffe://understudy/viewer/ann", "on this one", -day, day},
		} {
			if err := tx.Certificates().Insert(ctx, inventory.Certificate{Serial: c.serial,
				Identity: c.identity, NotBefore: now.Add(c.begin),
				NotAfter: now.Add(c.end)}); err != nil {
				return err
			}
		}
		return nil
	})
	p, err := st.Prune(t.Context(), store.Retention{Identities: 90 * day})
	if err != nil || p != (store.Pruned{Certificates: 2}) {
		t.Errorf("pruned %+v, %v", p, err)
	}
	read(t, st, func(ctx context.Context, tx *store.Tx) error {
		for serial, stays := range map[string]bool{"renewed": false, "renewed too": false,
			"in use": true, "the newest": true, "young": true, "on another computer": true} {
			if _, err := tx.Certificates().Get(ctx, serial); (err == nil) != stays {
				t.Errorf("%s: %v", serial, err)
			}
		}
		return nil
	})
}
