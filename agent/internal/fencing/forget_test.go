package fencing

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// full has as many jobs as are remembered, one a second; "jobs/0" is the oldest.
func full(t *testing.T) (e *Epochs, clock *time.Time) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	e, err := Open(filepath.Join(dir, "epochs.json"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.UnixMilli(1000).UTC()
	e.now = func() time.Time { return now }
	for i := range maxJobs {
		e.jobs[fmt.Sprintf("jobs/%d", i)] = seenEpoch{Epoch: 5,
			Since: now.Add(time.Duration(i) * time.Second)}
	}
	now = now.Add(maxJobs*time.Second + freshFor)
	return e, &now
}

func TestAJobThatGoesOnIsNotForgotten(t *testing.T) {
	t.Parallel()
	e, now := full(t)
	if err := e.Admit("jobs/0", 5); err != nil {
		t.Fatal(err)
	}
	*now = now.Add(time.Second)
	if err := e.Admit("jobs/new", 1); err != nil {
		t.Fatal(err)
	}
	if err := e.Admit("jobs/0", 4); !errors.Is(err, errs.Aborted) {
		t.Errorf("an old worker of a long job: %v", err)
	}
	if _, there := e.jobs["jobs/1"]; there || len(e.jobs) != maxJobs {
		t.Errorf("%d jobs, the oldest there: %v", len(e.jobs), there)
	}
	again, err := Open(e.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Admit("jobs/0", 4); !errors.Is(err, errs.Aborted) {
		t.Errorf("after a restart: %v", err)
	}
}

func TestNothingIsForgottenForAnEpochThatIsNotSaved(t *testing.T) {
	t.Parallel()
	e, now := full(t)
	if err := os.RemoveAll(filepath.Dir(e.path)); err != nil {
		t.Fatal(err)
	}
	if err := e.Admit("jobs/new", 1); !errors.Is(err, errs.Unavailable) {
		t.Fatal(err)
	}
	if err := e.Admit("jobs/0", 4); !errors.Is(err, errs.Aborted) {
		t.Errorf("an old worker of a job that was forgotten for nothing: %v", err)
	}
	*now = now.Add(freshFor)
	if err := e.Admit("jobs/0", 5); err != nil {
		t.Errorf("the owner of a job, while nothing can be written: %v", err)
	}
}
