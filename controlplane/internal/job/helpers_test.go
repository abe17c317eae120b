package job_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

type (
	outcome = job.Outcome[*store.Tx]
	handler = job.Handler[*store.Tx]
	plan    = job.Plan[*store.Tx]
	step    = job.PlanStep[*store.Tx]
	config  = job.Config[*store.Tx]
)

func openStore(t testing.TB) *store.Store {
	t.Helper()
	st, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "jobs.db"),
		Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newEngine(t testing.TB, cfg config, plans ...plan) *job.Engine[*store.Tx] {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = quiet()
	}
	cfg.Plans = plans
	e, err := job.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// start runs the engine until the returned function is called, which waits for its end.
func start(t testing.TB, e *job.Engine[*store.Tx]) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func create(t testing.TB, e *job.Engine[*store.Tx], req job.Request) job.Job {
	t.Helper()
	if req.Who == "" {
		req.Who = "tester"
	}
	j, err := e.Create(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// await watches the job until it is as wanted.
func await(t testing.TB, e *job.Engine[*store.Tx], id string, wanted func(job.Job) bool) job.Job {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	updates, err := e.Watch(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	var last job.Job
	for j := range updates {
		if last = j; wanted(j) {
			return j
		}
	}
	t.Fatalf("job %s stays %s (%s): %s", id, last.State, last.Reason, states(last))
	return last
}

func inState(s job.State) func(job.Job) bool {
	return func(j job.Job) bool { return j.State == s && j.Owner == "" }
}

func atRest(j job.Job) bool { return !j.State.Active() }

// states shows the job's steps in one line.
func states(j job.Job) string {
	var line string
	for _, s := range j.Steps {
		line += s.Kind + "=" + string(s.State) + " "
	}
	return line
}

func done(context.Context, *job.Run) (outcome, error) { return job.Done[*store.Tx](nil) }
