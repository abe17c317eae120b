package job_test

import (
	"context"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/job"
)

// TestWatchOfAJobThatNobodyHasTaken: it has the revision that it was made with.
func TestWatchOfAJobThatNobodyHasTaken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEngine(t, config{Store: openStore(t)},
			plan{Kind: "k", Steps: []step{{Kind: "a", Handler: done}}})
		j := create(t, e, job.Request{Kind: "k"})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		updates, err := e.Watch(ctx, j.ID)
		if err != nil {
			t.Fatal(err)
		}
		for now := range updates {
			if now.Kind != "k" || now.State != job.Queued || len(now.Steps) != 1 {
				t.Errorf("watched %+v", now)
			}
		}
	})
}
