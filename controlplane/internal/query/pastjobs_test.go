package query_test

import (
	"context"
	"errors"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/query"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// noJobs has pruned all of its jobs.
type noJobs struct{}

func (noJobs) Get(_ context.Context, id string) (job.Job, error) {
	return job.Job{}, job.NotFound(id)
}

func TestAPrunedJobHasEnded(t *testing.T) {
	t.Parallel()
	st, _ := filled(t, 0)
	events := query.Events{Store: st}
	for id, action := range map[string]string{"ended": "job.failed", "begun": "job.create"} {
		if err := events.Add(t.Context(), inventory.Event{Job: id, Action: action}); err != nil {
			t.Fatal(err)
		}
	}
	past := query.PastJobs{Jobs: noJobs{}, Events: events}
	if j, err := past.Get(t.Context(), "ended"); err != nil || !j.State.Ended() {
		t.Errorf("a job that has ended: %+v, %v", j, err)
	}
	for _, id := range []string{"begun", "unknown"} {
		if j, err := past.Get(t.Context(), id); !errors.Is(err, errs.NotFound) {
			t.Errorf("%s: %+v, %v", id, j, err)
		}
	}
}
