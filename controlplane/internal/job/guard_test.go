package job_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// guarded is a job whose step swap deletes data, as does the step wipe of its cleanup. Its guard
// agrees when the request names db1, and notes that in a record of its own.
type guarded struct {
	st     *store.Store
	e      *job.Engine[*store.Tx]
	broken atomic.Bool
	asked  []job.Deletion
	kinds  []string // of the steps it was asked about
}

func newGuarded(t *testing.T) *guarded {
	g := &guarded{st: openStore(t)}
	fragile := func(context.Context, *job.Run) (outcome, error) {
		if g.broken.Load() {
			return failed(job.Permanent(errors.New("broken")))
		}
		return job.Done[*store.Tx](nil)
	}
	g.e = newEngine(t, config{Store: g.st}, plan{
		Kind: "k", Guard: g.guard,
		Steps: []step{
			{Kind: "make", Handler: done}, {Kind: "swap", DeletesData: true, Handler: done},
			{Kind: "use", Handler: fragile},
		},
		Cleanup: []step{{Kind: "wipe", DeletesData: true, Handler: done}},
	})
	start(t, g.e)
	return g
}

func (g *guarded) guard(ctx context.Context, tx *store.Tx, what job.Deletion) error {
	g.asked = append(g.asked, what)
	for _, s := range what.Steps {
		g.kinds = append(g.kinds, s.Kind)
	}
	if err := tx.Servers().Insert(ctx, &inventory.Server{Name: what.Confirm.Etag}); err != nil {
		return err
	}
	if what.Confirm.Name != "db1" {
		return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_IN_USE, "db1 is in use")
	}
	return nil
}

func TestGuardRefusesARedoThatDeletesData(t *testing.T) {
	t.Parallel()
	for _, from := range []string{"make", "swap"} {
		bubbles(t, from, func(t *testing.T) {
			g := newGuarded(t)
			j := create(t, g.e, job.Request{Kind: "k"})
			j = await(t, g.e, j.ID, inState(job.Succeeded))

			_, err := g.e.Redo(t.Context(), j.ID, from, job.ChangeRequest{Who: "ann",
				Confirm: job.Confirm{Etag: "1"}, RequestID: "r1"})
			if !hasReason(err, errorsv1.Reason_REASON_IN_USE) {
				t.Fatalf("a redo that deletes data: %v", err)
			}
			if after, err := g.e.Get(t.Context(), j.ID); err != nil || after.Rev != j.Rev ||
				after.State != job.Succeeded || after.Steps[1].Generation != 1 {
				t.Errorf("a refused redo left %+v, %v", after, err)
			}
			if names := serverNames(t, g.st); len(names) != 0 {
				t.Errorf("the refused request's transaction left %v", names)
			}

			if _, err := g.e.Redo(t.Context(), j.ID, from, job.ChangeRequest{Who: "ann",
				Confirm: job.Confirm{Name: "db1", Etag: "2"}, RequestID: "r1"}); err != nil {
				t.Fatal(err)
			}
			j = await(t, g.e, j.ID, inState(job.Succeeded))
			if j.Steps[1].Generation != 2 {
				t.Errorf("the step was not done again: %+v", j.Steps[1])
			}
			if names := serverNames(t, g.st); !slices.Equal(names, []string{"2"}) {
				t.Errorf("records = %v: the guard is not in the request's transaction", names)
			}
			if !slices.Equal(g.kinds, []string{"swap", "swap"}) ||
				g.asked[0].Job.State != job.Succeeded || g.asked[0].Steps[0].Generation != 1 {
				t.Errorf("the guard was asked about %v: %+v", g.kinds, g.asked)
			}
		})
	}
}

func TestGuardIsNotAskedWhereNoDataGoes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGuarded(t)
		j := create(t, g.e, job.Request{Kind: "k"})
		await(t, g.e, j.ID, inState(job.Succeeded))
		for _, request := range []func() (job.Job, error){
			func() (job.Job, error) {
				return g.e.Redo(t.Context(), j.ID, "use", job.ChangeRequest{})
			},
			func() (job.Job, error) {
				return g.e.RetryStep(t.Context(), j.ID, "swap", job.ChangeRequest{})
			},
		} {
			if _, err := request(); err != nil {
				t.Fatal(err)
			}
			await(t, g.e, j.ID, inState(job.Succeeded))
		}
		if len(g.asked) != 0 {
			t.Errorf("the guard was asked about %v", g.kinds)
		}
	})
}

func TestGuardDecidesOnCleanup(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGuarded(t)
		g.broken.Store(true)
		j := create(t, g.e, job.Request{Kind: "k"})
		j = await(t, g.e, j.ID, inState(job.Failed))
		_, err := g.e.Cleanup(t.Context(), j.ID, job.ChangeRequest{})
		if after, getErr := g.e.Get(t.Context(), j.ID); !errors.Is(err, errs.FailedPrecondition) ||
			getErr != nil || after.Rev != j.Rev || len(after.Steps) != len(j.Steps) {
			t.Errorf("a cleanup without a confirmation: %v, left %+v, %v", err, after, getErr)
		}
		if _, err := g.e.Cleanup(t.Context(), j.ID, job.ChangeRequest{
			Confirm: job.Confirm{Name: "db1"}}); err != nil {
			t.Fatal(err)
		}
		j = await(t, g.e, j.ID, inState(job.Failed))
		if s, ok := j.Step("wipe"); !ok || s.State != job.StepSucceeded || !s.DeletesData {
			t.Errorf("step wipe = %+v", s)
		}
		if !slices.Equal(g.kinds, []string{"wipe", "wipe"}) {
			t.Errorf("the guard was asked about %v", g.kinds)
		}
	})
}

func TestAPlanThatDeletesDataNeedsAGuard(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, err := job.New(config{Store: openStore(t), Plans: []plan{{Kind: "k",
			Steps: []step{{Kind: "a", DeletesData: true, Handler: done}}}}})
		if err == nil {
			t.Error("a plan without a guard was registered")
		}
	})
}
