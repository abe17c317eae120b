package workflow_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

var fullOfDB2 = verification{Replica: "db2", Level: inventory.VerifyFull}

// doubted is a replica that lacks changes, perhaps.
func doubted(t *testing.T, w *world) {
	t.Helper()
	err := w.Store.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		srv, err := tx.Servers().Get(ctx, "db2")
		if err != nil {
			return err
		}
		srv.DoubtData("LOSSY_SETTINGS", "a filter", inventory.VerifyFull, time.Now())
		return tx.Servers().Update(ctx, &srv)
	})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Minute)
}

// TestATableThatNobodyCouldReadIsNotProved, though both sides say the same of it.
func TestATableThatNobodyCouldReadIsNotProved(t *testing.T) {
	t.Parallel()
	bubbles(t, "unread", func(t *testing.T) {
		w, p, _ := withReplica(t)
		doubted(t, w)
		problems := map[string]string{"shop.items": "Error 1030: got error 194 from InnoDB"}
		w.Mu.Lock()
		primary := w.Hosts["db1"].Running.Disk.Data
		replica := w.Hosts["db2"].Running.Disk.Data
		for name, value := range map[string]uint64{"shop.items": 1, "shop.orders": 2} {
			primary.Tables[name], replica.Tables[name] = value, value
		}
		primary.Problems, replica.Problems = problems, problems
		w.Mu.Unlock()
		j := p.Must(fullOfDB2)
		s, _ := j.Step("verify")
		if found := strings.Join(s.Found, "\n"); !strings.Contains(found,
			"1 tables were not compared: shop.items (cannot be read on the primary: Error 1030") {
			t.Error(found)
		}
		if u, is := w.Server("db2").UnprovedData(); !is || w.Server("db2").Verified.Open != 1 {
			t.Errorf("doubted: %+v, verified: %+v", u, w.Server("db2").Verified)
		}
		w.Mu.Lock()
		primary.Problems = nil
		w.Mu.Unlock()
		j = p.End(p.Ask(fullOfDB2).ID)
		if s, _ := j.Step("verify"); j.State != job.Failed || !strings.Contains(s.Failure.Message,
			"shop.items (cannot be read on the replica: Error 1030") {
			t.Errorf("the primary can read it, and the job is %s: %+v", j.State, s.Failure)
		}
		w.Mu.Lock()
		replica.Problems = nil
		w.Mu.Unlock()
		p.Must(fullOfDB2)
		if u, is := w.Server("db2").UnprovedData(); is {
			t.Errorf("one of all tables did not end it: %+v", u)
		}
	})
}

// TestARenamedTableIsCompared is under neither name when it is its turn.
func TestARenamedTableIsCompared(t *testing.T) {
	t.Parallel()
	bubbles(t, "renamed", func(t *testing.T) {
		w, p, _ := withReplica(t)
		w.Mu.Lock()
		for name, value := range map[string]uint64{"db1": 1, "db2": 2} {
			d := w.Hosts[name].Running.Disk.Data
			d.Tables["shop.items"], d.Tables["shop.new"] = 7, value
			d.Renames = map[string]string{"shop.new": "shop.items"}
		}
		w.Mu.Unlock()
		j := p.End(p.Ask(fullOfDB2).ID)
		if s, _ := j.Step("verify"); j.State != job.Failed || !strings.Contains(s.Failure.Message,
			"shop.items (1 on the primary, 2 on the replica)") {
			t.Errorf("the job is %s: %+v, found %v", j.State, s.Failure, s.Found)
		}
	})
}

// TestATableThatIsMadeAgainIsComparedAgain: MariaDB may read one that was made after the view was
// opened as an empty one, without an error.
func TestATableThatIsMadeAgainIsComparedAgain(t *testing.T) {
	t.Parallel()
	for _, level := range []inventory.VerifyLevel{inventory.VerifySample, inventory.VerifyFull} {
		bubbles(t, string(level), func(t *testing.T) {
			w, p, _ := withReplica(t)
			w.Mu.Lock()
			for _, name := range []string{"db1", "db2"} {
				d := w.Hosts[name].Running.Disk.Data
				d.Tables["shop.items"], d.Remade = 7, map[string]bool{"shop.items": true}
			}
			w.Mu.Unlock()
			ask := verification{Replica: "db2", Level: level}
			p.Must(ask)
			w.Mu.Lock()
			w.Hosts["db2"].Running.Disk.Data.Tables["shop.items"] = 8
			w.Mu.Unlock()
			j := p.End(p.Ask(ask).ID)
			if s, _ := j.Step("verify"); j.State != job.Failed || s.Failure == nil ||
				!strings.Contains(s.Failure.Message, "shop.items (7 on the primary, 8 on the") {
				t.Errorf("of a table that differs the job is %s: %+v", j.State, s.Failure)
			}
		})
	}
}

// TestVerificationOfAReplicaFarAway has an IO thread that takes longer to be served than an agent
// waits for it; each comparison of tables restarts it.
func TestVerificationOfAReplicaFarAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, _ := withReplica(t)
		w.Mu.Lock()
		w.Hosts["db2"].Far = 90 * time.Second
		w.Mu.Unlock()
		time.Sleep(time.Hour) // it is served by now
		j := p.Must(verification{Replica: "db2", Level: inventory.VerifySample})
		for _, s := range j.Steps {
			if s.Attempts > 1 {
				t.Errorf("%s took %d attempts", s.Kind, s.Attempts)
			}
		}
		checkReplicates(t, w)
	})
}

// TestADifferenceIsToldAtOnce though replication does not come up again.
func TestADifferenceIsToldAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, _ := withReplica(t)
		w.Mu.Lock()
		w.Hosts["db2"].Running.Disk.Data.Tables["shop.items"] = 2
		w.Hosts["db2"].Far = 50 * time.Minute
		w.Mu.Unlock()
		time.Sleep(time.Hour) // it is served by now
		began := time.Now()
		j := p.End(p.Ask(fullOfDB2).ID)
		if s, _ := j.Step("verify"); j.State != job.Failed || s.Failure == nil ||
			s.Failure.Reason != "DATA_MISMATCH" || s.Finished.Sub(began) > 5*time.Minute {
			t.Errorf("after %s the job is %s: %+v", s.Finished.Sub(began), j.State, s.Failure)
		}
		if u, is := w.Server("db2").UnprovedData(); !is {
			t.Errorf("it is not on record: %+v", u)
		}
	})
}

// TestVerificationWaitsForAReplicaThatConnects, as after a restart of its primary: nobody has to
// ask again. One that does not get there fails the job, with what it was waited for.
func TestVerificationWaitsForAReplicaThatConnects(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		takes time.Duration
		state job.State
	}{"in time": {2 * time.Minute, job.Succeeded}, "never": {time.Hour, job.Failed}} {
		bubbles(t, name, func(t *testing.T) {
			w, p, _ := withReplica(t)
			w.Mu.Lock()
			w.Hosts["db2"].Far = c.takes
			w.Mu.Unlock()
			mark := w.Mark()
			asked := verification{Replica: "db2", Level: inventory.VerifyPosition}
			preview, err := p.Flow.DryRun(t.Context(), kit.Request{Args: asked.Args()})
			if err != nil || !strings.Contains(strings.Join(preview.Steps[0].Changed, ""),
				"cannot connect to db1 yet") {
				t.Errorf("%+v %v", preview.Steps, err)
			}
			j := p.End(p.Ask(asked).ID)
			if s, _ := j.Step("check"); j.State != c.state || s.Failure != nil &&
				!strings.Contains(s.Failure.Message, "cannot connect to db1 yet") {
				t.Errorf("job is %s: %+v\n%s", j.State, s.Failure, states(j))
			}
			if changes := w.Changes(mark); c.state == job.Failed && len(changes) > 0 {
				t.Errorf("it changed %v\n%s", changes, states(j))
			}
		})
	}
}
