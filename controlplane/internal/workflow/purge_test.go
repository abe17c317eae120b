package workflow_test

import (
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
)

type purging = workflowtest.Purging

// written is a world with a replica that has applied all that its primary wrote since: more than
// one binary log.
func written(t *testing.T) (*world, *process) {
	t.Helper()
	w, p, _ := withReplica(t)
	writes(w)
	p.Must(verification{Replica: "db2", Level: inventory.VerifyPosition})
	return w, p
}

// writes makes the primary write some binary logs.
func writes(w *world) {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	db1 := w.Hosts["db1"].Running
	for range 45 {
		db1.Disk.Data.Write(db1.Conf.ServerID, "shop.orders", 7)
	}
}

func oldest(w *world) uint64 {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	return w.Hosts["db1"].Running.Disk.Data.Oldest
}

func purgeStep(t *testing.T, j job.Job) job.Step {
	t.Helper()
	s, ok := j.Step("purge")
	if !ok {
		t.Fatalf("no step purge in %+v", j)
	}
	return *s
}

func TestPurgeDeletesWhatIsApplied(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := written(t)
		before, mark := oldest(w), w.Mark()
		plan, err := p.Flow.DryRun(t.Context(), kit.Request{Args: purging{Server: "db1"}.Args()})
		if err != nil {
			t.Fatal(err)
		}
		if s := purgeStep(t, plan); len(s.Changed) != 1 || !strings.Contains(s.Changed[0],
			"delete 9 binary logs of db1 (9MiB)") || oldest(w) != before {
			t.Errorf("the plan is %+v", s)
		}
		s := purgeStep(t, p.Must(purging{Server: "db1"}))
		if oldest(w) <= before || len(s.Changed) != 1 || !strings.Contains(s.Changed[0],
			"deleted 9 binary logs of db1 (9MiB)") || len(s.Found) == 0 {
			t.Errorf("they begin at %d, the step is %+v", oldest(w), s)
		}
		checkReplicates(t, w)
		if s := purgeStep(t, p.Must(purging{Server: "db1"})); s.State != job.StepSkipped {
			t.Errorf("again: %+v", s)
		}
		if changes := w.Changes(mark); len(changes) != 1 {
			t.Errorf("it changed %v", changes)
		}
	})
}

func TestPurgeKeepsWhatIsReservedOrNotApplied(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		keeps func(w *world)
		from  uint64
	}{
		"mariadb-bin.000005 stays: db2 has applied no more than 0-1001-44": {func(w *world) {
			w.Hosts["db2"].Running.Disk.Data.Conn.SQL = false
		}, 40},
		"mariadb-bin.000001 stays: reservation keep-1 keeps it": {func(w *world) {
			w.Hosts["db1"].Running.Disk.Data.Reserved["keep-1"] = replication.Reservation{
				ID: "keep-1"}
		}, 0},
	} {
		bubbles(t, name, func(t *testing.T) {
			w, p, _ := withReplica(t)
			w.Mu.Lock()
			test.keeps(w)
			w.Mu.Unlock()
			writes(w)
			s := purgeStep(t, p.Must(purging{Server: "db1"}))
			if said := strings.Join(append(s.Found, s.Reason), " "); oldest(w) != test.from ||
				!strings.Contains(said, name) {
				t.Errorf("they begin at %d, the step is %+v", oldest(w), s)
			}
		})
	}
}

func TestPurgeRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for want, breaks := range map[string]func(h *host){
		"no route":                      func(h *host) { h.Down = true },
		"MariaDB does not answer":       func(h *host) { h.Running = nil },
		"replication is not configured": func(h *host) { h.Running.Disk.Data.Conn = nil },
	} {
		bubbles(t, want, func(t *testing.T) {
			w, p := written(t)
			before := oldest(w)
			w.Mu.Lock()
			breaks(w.Hosts["db2"])
			w.Mu.Unlock()
			j := p.End(p.Ask(purging{Server: "db1"}).ID)
			s := purgeStep(t, j)
			if j.State != job.Failed || s.Failure == nil || s.Attempts != 1 ||
				s.Failure.Reason != "BINLOGS_NEEDED" || oldest(w) != before ||
				!strings.Contains(s.Failure.Message, "what db2 has applied") {
				t.Errorf("job %s, step %+v, failure %+v", j.State, s, s.Failure)
			}
			s = purgeStep(t, p.Must(purging{Server: "db1", Ignored: []string{"db2"}}))
			if oldest(w) <= before || !strings.Contains(strings.Join(s.Found, " "),
				"db2 is ignored") {
				t.Errorf("ignored: they begin at %d, the step is %+v", oldest(w), s)
			}
		})
	}
}

func TestPurgeIgnoresReplicasOfTheServerAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, p := written(t)
		_, err := p.Flow.DryRun(t.Context(), kit.Request{Args: purging{Server: "db1",
			Ignored: []string{"db9"}}.Args()})
		if err == nil || !strings.Contains(err.Error(), "ignore_replicas") {
			t.Errorf("error %v", err)
		}
	})
}
