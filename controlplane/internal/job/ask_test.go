package job_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

func TestCreateIsIdempotent(t *testing.T) {
	t.Parallel()
	e := newEngine(t, config{Store: openStore(t)},
		plan{Kind: "k", Steps: []step{{Kind: "a", Handler: done}}})
	req := job.Request{Kind: "k", Args: map[string]int{"n": 1},
		Subjects: []string{"servers/b", "servers/a"}, RequestID: "r1", Who: "ann"}
	first := create(t, e, req)
	req.Subjects = []string{"servers/a", "servers/b"}
	if again := create(t, e, req); again.ID != first.ID {
		t.Errorf("the same request made another job")
	}
	req.Args = map[string]int{"n": 2}
	if _, err := e.Create(t.Context(), req); !errors.Is(err, job.ErrRequestReused) {
		t.Errorf("another body: %v, want ErrRequestReused", err)
	}
}

func TestCreateAtTheSameTime(t *testing.T) {
	t.Parallel()
	e := newEngine(t, config{Store: openStore(t)},
		plan{Kind: "k", Steps: []step{{Kind: "a", Handler: done}}})
	var wg sync.WaitGroup
	ids := make([]string, 8)
	for i := range ids {
		wg.Go(func() {
			j, err := e.Create(context.Background(),
				job.Request{Kind: "k", RequestID: "r", Subjects: []string{"servers/x"}})
			if err != nil {
				t.Error(err)
			}
			ids[i] = j.ID
		})
	}
	wg.Wait()
	if slices.Sort(ids); ids[0] != ids[7] {
		t.Errorf("several jobs were made: %v", ids)
	}
}

func TestInvalidRequests(t *testing.T) {
	t.Parallel()
	e := newEngine(t, config{Store: openStore(t)},
		plan{Kind: "k", Steps: []step{{Kind: "a", Handler: done}}})
	for name, req := range map[string]job.Request{
		"unknown kind":     {Kind: "nope"},
		"args too large":   {Kind: "k", Args: strings.Repeat("x", 40<<10)},
		"args not JSON":    {Kind: "k", Args: func() {}},
		"long request id":  {Kind: "k", RequestID: strings.Repeat("x", 200)},
		"empty subject":    {Kind: "k", Subjects: []string{""}},
		"long subject":     {Kind: "k", Subjects: []string{strings.Repeat("x", 200)}},
		"long title":       {Kind: "k", Title: strings.Repeat("ä", 300)},
		"newline in title": {Kind: "k", Title: "a\nb"},
	} {
		if _, err := e.Create(t.Context(), req); !errors.Is(err, job.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

func TestOneChangingJobForEachSubject(t *testing.T) {
	t.Parallel()
	e := newEngine(t, config{Store: openStore(t)},
		plan{Kind: "k", Steps: []step{{Kind: "a", Handler: func(context.Context, *job.Run) (outcome,
			error) {
			return job.NeedPerson[*store.Tx]("look at it")
		}}}},
		plan{Kind: "repair", Repairs: true, Steps: []step{{Kind: "a", Handler: done}}})
	start(t, e)
	first := create(t, e, job.Request{Kind: "k", Subjects: []string{"servers/x", "servers/y"}})
	await(t, e, first.ID, inState(job.NeedsPerson))
	var busy *job.Busy
	if _, err := e.Create(t.Context(),
		job.Request{Kind: "k", Subjects: []string{"servers/y"}}); !errors.As(err, &busy) ||
		busy.JobID != first.ID || busy.Subject != "servers/y" {
		t.Errorf("second job: %v, want Busy", err)
	}
	repair := create(t, e, job.Request{Kind: "repair", Subjects: []string{"servers/y"}})
	await(t, e, repair.ID, inState(job.Succeeded))
	if _, err := e.Cancel(t.Context(), first.ID, job.Ask{Who: "ann"}); err != nil {
		t.Fatal(err)
	}
	await(t, e, first.ID, inState(job.Cancelled))
	second := create(t, e, job.Request{Kind: "k", Subjects: []string{"servers/y"}})
	if _, err := e.Retry(t.Context(), first.ID, job.Ask{Who: "ann"}); !errors.As(err, &busy) ||
		busy.JobID != second.ID {
		t.Errorf("retry beside another job: %v, want Busy", err)
	}
	if j, err := e.Get(t.Context(), first.ID); err != nil || j.State != job.Cancelled {
		t.Errorf("a refused retry left %s, %v", j.State, err)
	}
}

func TestCancelStopsTheHandlerAndReleases(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	var released atomic.Bool
	e := newEngine(t, config{Store: openStore(t)}, plan{Kind: "k", Steps: []step{
		{Kind: "hold", Section: "s", Handler: done},
		{Kind: "cut", Section: "s", Handler: func(ctx context.Context, _ *job.Run) (outcome,
			error) {
			close(entered)
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), job.ErrCancelled) {
				t.Errorf("cause = %v", context.Cause(ctx))
			}
			return job.Fail[*store.Tx](ctx.Err())
		}},
		{Kind: "release", Section: "s", Always: true,
			Handler: func(_ context.Context, run *job.Run) (outcome, error) {
				if !run.Unwinding {
					t.Error("the release does not know that the job is unwinding")
				}
				released.Store(true)
				return job.Done[*store.Tx](nil)
			}},
		{Kind: "rest", Handler: done},
	}})
	start(t, e)
	j := create(t, e, job.Request{Kind: "k", Subjects: []string{"servers/x"}})
	<-entered
	if _, err := e.Cancel(t.Context(), j.ID,
		job.Ask{Who: "ann", Reason: "changed my mind"}); err != nil {
		t.Fatal(err)
	}
	j = await(t, e, j.ID, inState(job.Cancelled))
	if want := "hold=succeeded cut=cancelled release=succeeded rest=cancelled "; states(
		j) != want || !released.Load() {
		t.Errorf("steps: %s, want %s", states(j), want)
	}
}

func TestCancelByAnotherProcess(t *testing.T) {
	t.Parallel()
	st := openStore(t)
	entered := make(chan struct{})
	p := plan{Kind: "k",
		Steps: []step{{Kind: "a", Handler: func(ctx context.Context, _ *job.Run) (outcome, error) {
			close(entered)
			<-ctx.Done()
			return job.Fail[*store.Tx](ctx.Err())
		}}}}
	worker := newEngine(t, config{Store: st}, p)
	other := newEngine(t, config{Store: st}, p)
	start(t, worker)
	j := create(t, other, job.Request{Kind: "k"})
	<-entered
	if _, err := other.Cancel(t.Context(), j.ID, job.Ask{Who: "ann"}); err != nil {
		t.Fatal(err)
	}
	await(t, other, j.ID, inState(job.Cancelled))
}

func TestRequestsAreAuditedAndIdempotent(t *testing.T) {
	t.Parallel()
	st := openStore(t)
	var fail atomic.Bool
	fail.Store(true)
	var runs atomic.Int32
	e := newEngine(t, config{Store: st},
		plan{Kind: "k", Title: "a title",
			Steps: []step{{Kind: "a", Handler: func(context.Context, *job.Run) (outcome, error) {
				runs.Add(1)
				if fail.Load() {
					return job.Fail[*store.Tx](job.Permanent(errors.New("no")))
				}
				return job.Done[*store.Tx](nil)
			}}}})
	start(t, e)
	j := create(t, e, job.Request{Kind: "k", Who: "ann", RequestID: "r0"})
	await(t, e, j.ID, inState(job.Failed))
	fail.Store(false)
	for range 2 {
		if _, err := e.Retry(t.Context(), j.ID,
			job.Ask{Who: "bob", Reason: "mended", RequestID: "r1"}); err != nil {
			t.Fatal(err)
		}
		await(t, e, j.ID, inState(job.Succeeded))
	}
	if runs.Load() != 2 {
		t.Errorf("the step ran %d times, want 2: one request id is one retry", runs.Load())
	}
	var audit []inventory.Event
	err := st.Read(t.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
		audit, _, err = tx.Events().List(ctx, store.EventFilter{Job: j.ID}, store.Page{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, ev := range slices.Backward(audit) {
		lines = append(lines, strings.Join([]string{ev.Actor, ev.Action, ev.Message, ev.RequestID},
			"|"))
	}
	want := []string{"ann|job.create|a title|r0", "controlplane|job.failed|a: no|",
		"bob|job.retry|mended|r1", "controlplane|job.succeeded||"}
	if !slices.Equal(lines, want) {
		t.Errorf("audit = %q\nwant %q", lines, want)
	}
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	t.Parallel()
	e := newEngine(t, config{Store: openStore(t)},
		plan{Kind: "k", Steps: []step{{Kind: "a", Handler: done}}})
	start(t, e)
	j := create(t, e, job.Request{Kind: "k"})
	await(t, e, j.ID, inState(job.Succeeded))
	ask := job.Ask{Who: "ann"}
	for name, err := range map[string]error{
		"cannot cancel job " + j.ID + ": job " + j.ID + " has succeeded already: nothing is left " +
			"to stop; delete what it made if it is not wanted (`understudy server delete`, " +
			"`understudy snapshot delete`)": second(e.Cancel(t.Context(), j.ID, ask)),
		"cannot retry job " + j.ID + ": job " + j.ID + " has succeeded: nothing is left to do: " +
			"to prove a step again name it (`understudy job retry " + j.ID +
			" --step STEP`)": second(e.Retry(t.Context(), j.ID, ask)),
		"cannot retry step x of job " + j.ID + ": job " + j.ID +
			" has no step \"x\": its steps are a": second(e.RetryStep(t.Context(), j.ID, "x", ask)),
		"cannot skip step a of job " + j.ID +
			": a reason is needed: say why (--reason)": second(e.Skip(t.Context(), j.ID, "a", ask)),
		"cannot retry job nope: there is no job nope: see which there are with `understudy job " +
			"list`": second(e.Retry(t.Context(), "nope", ask)),
	} {
		if err == nil || err.Error() != name {
			t.Errorf("got  %v\nwant %s", err, name)
		}
	}
}

func second(_ job.Job, err error) error { return err }

func TestRetryStepAloneAfterSuccess(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var keys []string
	note := func(_ context.Context, run *job.Run) (outcome, error) {
		mu.Lock()
		defer mu.Unlock()
		keys = append(keys, run.EffectKey[len(run.JobID):])
		return job.Done[*store.Tx](nil)
	}
	e := newEngine(t, config{Store: openStore(t)},
		plan{Kind: "k", Steps: []step{{Kind: "a", Handler: note}, {Kind: "b", Handler: note},
			{Kind: "c", Handler: note}}})
	start(t, e)
	j := create(t, e, job.Request{Kind: "k"})
	await(t, e, j.ID, inState(job.Succeeded))
	if _, err := e.RetryStep(t.Context(), j.ID, "b", job.Ask{Who: "ann"}); err != nil {
		t.Fatal(err)
	}
	await(t, e, j.ID, inState(job.Succeeded))
	if _, err := e.Redo(t.Context(), j.ID, "b", job.Ask{Who: "ann"}); err != nil {
		t.Fatal(err)
	}
	await(t, e, j.ID, inState(job.Succeeded))
	if want := []string{"/a/1", "/b/1", "/c/1", "/b/1", "/b/2", "/c/2"}; !slices.Equal(keys, want) {
		t.Errorf("effects = %v, want %v", keys, want)
	}
}

func TestStepLimits(t *testing.T) {
	t.Parallel()
	hang := func(ctx context.Context, _ *job.Run) (outcome, error) {
		<-ctx.Done()
		return job.Fail[*store.Tx](errors.New("interrupted"))
	}
	fast := job.Backoff{First: time.Millisecond, Max: time.Millisecond}
	for _, tt := range []struct {
		name     string
		step     step
		attempts int
		message  string
	}{
		{"attempts", step{Attempts: 3, Handler: func(context.Context, *job.Run) (outcome,
			error) {
			return job.Fail[*store.Tx](errors.New("no"))
		}}, 3, "no"},
		{"permanent", step{Handler: func(context.Context, *job.Run) (outcome, error) {
			return job.Fail[*store.Tx](job.Permanent(errors.New("never")))
		}}, 1, "never"},
		{"attempt timeout", step{Attempts: 2, AttemptTimeout: 20 * time.Millisecond, Handler: hang},
			2, "not done within 20ms: interrupted"},
		{"step timeout of a wait",
			step{Timeout: 50 * time.Millisecond, Handler: func(context.Context, *job.Run) (outcome,
				error) {
				return job.Again[*store.Tx](time.Millisecond, "still 40 %%")
			}}, 1, "not done within 50ms: still 40 %"},
		{"panic", step{Handler: func(context.Context, *job.Run) (outcome, error) { panic("oops") }},
			1, "the handler of step a panicked; the log of me has the details"},
		{"no outcome", step{Handler: func(context.Context, *job.Run) (outcome,
			error) {
			return outcome{}, nil
		}}, 1, "the step's handler answered with neither an outcome nor an error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.step.Kind, tt.step.Backoff = "a", fast
			e := newEngine(t, config{Store: openStore(t), Owner: "me"},
				plan{Kind: "k", Steps: []step{tt.step}})
			start(t, e)
			j := create(t, e, job.Request{Kind: "k"})
			j = await(t, e, j.ID, inState(job.Failed))
			if s := j.Steps[0]; s.Attempts != tt.attempts || s.Failure == nil ||
				s.Failure.Message != tt.message {
				t.Errorf("attempts = %d, failure = %+v", s.Attempts, s.Failure)
			}
		})
	}
}
