package job_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/store/storetest"
)

type (
	outcome = job.Outcome[*store.Tx]
	handler = job.Handler[*store.Tx]
	plan    = job.Plan[*store.Tx]
	step    = job.PlanStep[*store.Tx]
	config  = job.Config[*store.Tx]
)

// bubble runs a test on a clock of its own, which moves on when everything in it waits.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	if _, err := storetest.Empty(); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, test)
}

// bubbles is bubble for one case of several.
func bubbles(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { bubble(t, test) })
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openStore(t testing.TB) *store.Store { t.Helper(); return storetest.New(t) }

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
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
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

func failed(err error) (outcome, error) { return outcome{}, err }

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
