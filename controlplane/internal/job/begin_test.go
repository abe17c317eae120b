package job_test

import (
	"context"
	"errors"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// TestBeginIsPartOfTheRequest has a plan change something with the request: a job that is refused
// there is not made, and one that is cancelled before its first step settles what began.
func TestBeginIsPartOfTheRequest(t *testing.T) {
	t.Parallel()
	st := openStore(t)
	var begun []string
	refuse, settled := true, false
	e := newEngine(t, config{Store: st}, plan{
		Kind: "k",
		Begin: func(_ context.Context, _ *store.Tx, j job.Job) error {
			if refuse {
				return errors.New("not now")
			}
			begun = append(begun, j.ID)
			return nil
		},
		Steps: []step{{Kind: "work", Handler: done}, {Kind: "settle", Always: true,
			Handler: func(context.Context, *job.Run) (outcome, error) {
				settled = true
				return job.Done[*store.Tx](nil)
			}}},
	})
	req := job.Request{Kind: "k", Subjects: []string{"servers/db1"}, RequestID: "r1", Who: "tester"}
	if _, err := e.Create(t.Context(), req); err == nil {
		t.Error("a job is made that the plan refuses")
	}
	refuse = false
	j, err := e.Create(t.Context(), req)
	if err != nil {
		t.Fatalf("a refused request holds its subject or its id: %v", err)
	}
	if again, err := e.Create(t.Context(), req); err != nil || again.ID != j.ID ||
		len(begun) != 1 || begun[0] != j.ID {
		t.Errorf("job %s began as %v; repeated it is %s, %v", j.ID, begun, again.ID, err)
	}
	if j, err = e.Cancel(t.Context(), j.ID, job.ChangeRequest{Who: "tester"}); err != nil {
		t.Fatal(err)
	}
	start(t, e)
	if j = await(t, e, j.ID, atRest); j.State != job.Cancelled || !settled {
		t.Errorf("the job is %s, settled: %v", j.State, settled)
	}
}
