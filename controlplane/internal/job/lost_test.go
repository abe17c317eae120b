package job_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// TestLostAnswersChangeNothing loses the answer to each committed transaction in turn: to a claim,
// to outcomes of every kind, to heartbeats, and to the one that ends the job.
func TestLostAnswersChangeNothing(t *testing.T) {
	t.Parallel()
	var want []string
	synctest.Test(t, func(t *testing.T) { want, _ = withoutAnswer(t, -1) })
	for k := 0; ; k++ {
		reached := false
		synctest.Test(t, func(t *testing.T) {
			var got []string
			got, reached = withoutAnswer(t, k)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("without the answer to write %d:\n%q, want\n%q", k, got, want)
			}
		})
		if t.Failed() || !reached {
			if k < 10 {
				t.Errorf("only %d writes", k)
			}
			return
		}
	}
}

// withoutAnswer runs a job whose k-th write is committed without an answer, and gives its attempts.
func withoutAnswer(t *testing.T, k int) (history []string, reached bool) {
	st, writes := openStore(t), 0
	e := newEngine(t, config{Store: &mortal{Store: st, fate: func() fate {
		writes++
		if writes-1 == k {
			return losesAnswer
		}
		return goesWell
	}}, Owner: "p"}, lossyPlan())
	j := create(t, newEngine(t, config{Store: st}, lossyPlan()), job.Request{Kind: "k"})
	stop := start(t, e)
	j = await(t, e, j.ID, inState(job.Succeeded))
	stop()
	attempts, err := e.Attempts(t.Context(), j.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range attempts {
		history = append(history, fmt.Sprint(j.Steps[a.Seq].Kind, " ", a.Number, " ", a.State))
	}
	err = st.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.Next(ctx, "commits", 0)
		history = append(history, fmt.Sprint(n, " commits"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return history, writes > k
}

func lossyPlan() plan {
	count := func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Next(ctx, "commits", 0)
		return err
	}
	seen := map[string]int{}
	once := func(first func() (outcome, error)) handler {
		return func(_ context.Context, run *job.Run) (outcome, error) {
			if seen[run.Step]++; seen[run.Step] == 1 {
				return first()
			}
			return job.Done(count)
		}
	}
	return plan{Kind: "k", Steps: []step{
		{Kind: "fails", Attempts: 2, Handler: once(func() (outcome, error) {
			return failed(errors.New("bad luck"))
		})},
		{Kind: "waits", Handler: once(func() (outcome, error) {
			o, err := job.Again[*store.Tx](5*time.Second, "for a while")
			return o.With(count), err
		})},
		{Kind: "goes_back", Section: "s", Handler: once(func() (outcome, error) {
			return job.Back[*store.Tx]("broken")
		})},
		{Kind: "ends", Handler: func(context.Context, *job.Run) (outcome, error) {
			return job.Done(count)
		}},
	}, Sections: map[string]job.Section{"s": {Attempts: 2}}}
}
