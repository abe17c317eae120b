package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

func sampleJob(id string) job.Job {
	at := time.UnixMilli(1_700_000_000_123).UTC()
	return job.Job{
		ID: id, Kind: "k", Title: "a title", Args: json.RawMessage(`{"a":"ü\n'"}`),
		Subjects:  []string{"servers/a", "servers/" + id},
		RequestID: "r-" + id, RequestHash: "h", Who: "ann", State: job.Queued, Mode: job.Forward,
		Created: at, Updated: at,
		Steps: []job.Step{
			{JobID: id, Seq: 0, Kind: "a", Title: "A", Section: "s", Phase: job.MainPhase,
				State: job.StepPending, Generation: 1},
			{JobID: id, Seq: 1, Kind: "b", Title: "B", Always: true,
				DeletesData: true, Phase: job.MainPhase, State: job.StepPending, Generation: 1},
		},
	}
}

func insert(t *testing.T, st *store.Store, j job.Job) {
	t.Helper()
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		return st.Jobs(tx).Insert(ctx,
			j)
	})
}

func get(t *testing.T, st *store.Store, id string) (j job.Job) {
	t.Helper()
	read(t, st, func(ctx context.Context, tx *store.Tx) (err error) {
		j, err = st.Jobs(tx).Get(ctx, id)
		return err
	})
	return j
}

func testJobRows(t *testing.T, open Open) {
	st := open(t)
	j := sampleJob("j1")
	insert(t, st, j)
	if got := get(t, st, "j1"); !reflect.DeepEqual(got, j) {
		t.Errorf("read %+v\nwant %+v", got, j)
	}
	at := j.Created.Add(time.Minute)
	j.State, j.Reason, j.Mode, j.Target, j.Return, j.From, j.To = job.Failed, "why", job.Unwind,
		job.Failed, job.Succeeded, 1, -1
	j.Cleaned, j.Owner, j.Started, j.Finished = true, "me", at, at
	s := &j.Steps[1]
	s.State, s.Reason, s.Generation, s.Attempts, s.Failures, s.Restarts, s.Spent = job.StepFailed,
		"r", 2, 3, 4, 5, 6*time.Millisecond
	s.Progress = job.Progress{Done: 1, Total: 2, Unit: "bytes", Text: "t", ETA: time.Second}
	s.Found, s.Changed, s.Failure = []string{"f"}, []string{"c"},
		&job.Failure{Message: "m", Reason: "R", Hint: errs.Hint{Text: "w"}, Permanent: true}
	s.Started, s.Finished = at, at
	j.Steps = append(j.Steps, job.Step{JobID: "j1", Seq: 2, Kind: "x", Title: "X",
		Phase: job.CleanupPhase, State: job.StepPending, Generation: 1})
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		return st.Jobs(tx).Update(ctx, &j,
			j.Steps[1:])
	})
	if got := get(t, st, "j1"); !reflect.DeepEqual(got, j) {
		t.Errorf("read %+v\nwant %+v", got, j)
	}
	err := st.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		_, err := st.Jobs(tx).Get(ctx, "nope")
		return err
	})
	if !errors.Is(err, errs.NotFound) {
		t.Errorf("no such job: %v", err)
	}
}

func testJobRequestIDs(t *testing.T, open Open) {
	st := open(t)
	insert(t, st, sampleJob("j1"))
	twin := sampleJob("j2")
	twin.RequestID = "r-j1"
	err := st.Write(t.Context(),
		func(ctx context.Context, tx *store.Tx) error { return st.Jobs(tx).Insert(ctx, twin) })
	if !errors.Is(err, job.ErrRequestTaken) {
		t.Errorf("the same request id: %v, want ErrRequestTaken", err)
	}
	read(t, st, func(ctx context.Context, tx *store.Tx) error {
		past, found, err := st.Jobs(tx).Requested(ctx, "r-j1")
		if !found || past != (job.PastRequest{RequestID: "r-j1", JobID: "j1", Hash: "h"}) {
			t.Errorf("of the creation = %+v, %t", past, found)
		}
		return err
	})
	change := job.PastRequest{RequestID: "r-change", JobID: "j1", Hash: "h2"}
	add := func() error {
		return st.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			return st.Jobs(tx).AddRequest(ctx, change)
		})
	}
	if err := add(); err != nil {
		t.Fatal(err)
	}
	if err := add(); !errors.Is(err, job.ErrRequestTaken) {
		t.Errorf("the same request id: %v, want ErrRequestTaken", err)
	}
	read(t, st, func(ctx context.Context, tx *store.Tx) error {
		past, found, err := st.Jobs(tx).Requested(ctx, "r-change")
		if !found || past != change {
			t.Errorf("of the change = %+v, %t", past, found)
		}
		_, found, err2 := st.Jobs(tx).Requested(ctx, "r-none")
		if found {
			t.Error("a request that never came was found")
		}
		return errors.Join(err, err2)
	})
}

func testJobList(t *testing.T, open Open) {
	st := open(t)
	for _, id := range []string{"j1", "j2", "j3"} {
		j := sampleJob(id)
		if id == "j3" {
			j.State, j.Kind, j.Created = job.Succeeded, "other", j.Created.Add(time.Hour)
			j.Title = "Replace Ätna 100%"
		}
		insert(t, st, j)
	}
	list := func(f job.Filter) (ids string) {
		read(t, st, func(ctx context.Context, tx *store.Tx) error {
			for {
				jobs, next, err := st.Jobs(tx).List(ctx, f)
				for _, j := range jobs {
					ids += j.ID + " "
					if len(j.Steps) != 2 || j.Steps[0].JobID != j.ID {
						t.Errorf("job %s has steps %+v", j.ID, j.Steps)
					}
				}
				if f.PageToken = next; err != nil || next == "" {
					return err
				}
			}
		})
		return ids
	}
	for want, f := range map[string]job.Filter{
		"j3 j2 j1 ": {PageSize: 1},
		"j2 j1 ":    {Kinds: []string{"k", "none"}},
		"j3 ":       {States: []job.State{job.Succeeded, job.Failed}},
		"j2 ":       {Subject: "servers/j2"},
		"":          {Subject: "servers/none"},
		"j1 ":       {Text: "SERVERS/J1"},
	} {
		if got := list(f); got != want {
			t.Errorf("list %+v = %q, want %q", f, got, want)
		}
	}
	late := sampleJob("").Created.Add(time.Hour)
	for want, f := range map[string]job.Filter{
		"j3 ":    {CreatedAfter: late},
		"j2 j1 ": {CreatedBefore: late, Text: "A title"},
		"":       {CreatedAfter: late, Text: "50%"},
	} {
		if got := list(f); got != want {
			t.Errorf("list %+v = %q, want %q", f, got, want)
		}
	}
	if got := list(job.Filter{Text: "replace Ätna 100%"}); got != "j3 " {
		t.Errorf("by the title = %q", got)
	}
}

func testAttempts(t *testing.T, open Open) {
	st := open(t)
	at := time.UnixMilli(5000).UTC()
	a := job.Attempt{JobID: "j1", Seq: 1, Number: 1, Generation: 1, Epoch: 2, Owner: "me",
		State: job.AttemptOpen, Started: at}
	end := a
	end.State, end.Found, end.Failure, end.Finished = job.AttemptFailed, []string{"f"},
		&job.Failure{Message: "m"}, at.Add(time.Second)
	late := a
	late.State, late.Finished = job.AttemptLost, at.Add(time.Hour)
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		r := st.Jobs(tx)
		return errors.Join(r.OpenAttempt(ctx, a), r.CloseAttempt(ctx, end),
			r.CloseAttempt(ctx, late))
	})
	read(t, st, func(ctx context.Context, tx *store.Tx) error {
		got, err := st.Jobs(tx).Attempts(ctx, "j1")
		if len(got) != 1 || !reflect.DeepEqual(got[0], end) {
			t.Errorf("attempts = %+v\nwant %+v: the first end counts", got, end)
		}
		return err
	})
}

func revOf(t *testing.T, st *store.Store, id string) (rev int64) {
	t.Helper()
	read(t, st, func(ctx context.Context, tx *store.Tx) (err error) {
		rev, err = st.Jobs(tx).Rev(ctx, id)
		return err
	})
	return rev
}
