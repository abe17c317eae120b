package observe_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/observe"
)

func TestWhatIsCountedOfJobs(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	o, err := observe.NewJobs(registry)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	step := job.Step{Kind: "copy", Attempts: 1, Generation: 1}
	j := job.Job{ID: "j1", Kind: "make", State: job.Waiting, Created: began, Started: began}
	try := func(state job.State, after job.Step) {
		j.State, j.Steps, j.Finished = state, []job.Step{after}, began.Add(2*time.Second)
		o.Tried(&j, &step, began)
		step.Attempts++
	}
	failed, done := step, step
	failed.State, failed.Failure = job.StepWaiting, &job.Failure{Message: "no", Reason: "DISK_FULL"}
	done.State, done.Spent = job.StepSucceeded, 3*time.Second
	try(job.Waiting, failed)
	failed.Failure.Reason = ""
	try(job.Waiting, failed)
	try(job.Succeeded, done)
	if n, err := testutil.GatherAndCount(registry, "understudy_step_failures_total"); err != nil ||
		n != 2 {
		t.Errorf("%d series of failures, want one a reason; %v", n, err)
	}
	for _, name := range []string{"understudy_job_duration_seconds",
		"understudy_step_duration_seconds"} {
		if n, err := testutil.GatherAndCount(registry, name); err != nil || n != 1 {
			t.Errorf("%s has %d series, %v", name, n, err)
		}
	}
}
