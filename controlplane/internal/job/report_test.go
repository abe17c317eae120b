package job_test

import (
	"context"
	"slices"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

type slowly struct{}

// slow is a store whose reads of a context with slowly end long after the rows were read.
type slow struct {
	*store.Store
	read, end chan struct{}
}

func (s slow) Read(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error {
	err := s.Store.Read(ctx, fn)
	if ctx.Value(slowly{}) != nil {
		close(s.read)
		<-s.end
	}
	return err
}

// What a step has reported stays with its row, though the job is at the next step meanwhile.
func TestAReportIsNotTakenBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := slow{openStore(t), make(chan struct{}), make(chan struct{})}
		goOn := make(chan struct{})
		waits := func(ctx context.Context, run *job.Run) (outcome, error) {
			run.Found("something")
			select {
			case <-goOn:
			case <-ctx.Done():
			}
			return job.Done[*store.Tx](nil)
		}
		e := newEngine(t, config{Store: st}, plan{Kind: "k", Steps: []step{
			{Kind: "a", Handler: waits}, {Kind: "b", Handler: waits}}})
		defer start(t, e)()
		j := create(t, e, job.Request{Kind: "k"})
		at := func(seq int) func(job.Job) bool {
			return func(j job.Job) bool { return len(j.Steps[seq].Found) > 0 }
		}
		await(t, e, j.ID, at(0))
		seen := make(chan job.Job)
		go func() {
			late, err := e.Get(context.WithValue(t.Context(), slowly{}, true), j.ID)
			if err != nil {
				t.Error(err)
			}
			seen <- late
		}()
		<-st.read
		goOn <- struct{}{}
		await(t, e, j.ID, at(1))
		close(st.end)
		if late := <-seen; !slices.Equal(late.Steps[0].Found, []string{"something"}) {
			t.Errorf("step a: %s, found %q", late.Steps[0].State, late.Steps[0].Found)
		}
		close(goOn)
		await(t, e, j.ID, inState(job.Succeeded))
	})
}
