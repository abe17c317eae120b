package workflow

import (
	"context"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// When people do the provider's work, its steps wait as long as a person may take, and a cut lasts
// until they said that it is complete.

// personTime is how long a step waits for a person.
const personTime = 7 * 24 * time.Hour

// cutTime is the least time that a person needs to copy a volume; false for a provider that cuts by
// itself.
func (w *Workflow) cutTime() (time.Duration, bool) {
	p, byHand := w.Cloud.(provider.Manual)
	if !byHand {
		return 0, false
	}
	return p.SnapshotTime(), true
}

// waitedFor are the steps that wait for what the provider does.
var waitedFor = map[string]bool{"create_machine": true, "await_agent": true, "swap_volume": true,
	"remove_machine": true, "remove_volumes": true}

// patiently gives the steps of a plan the time that people need. A hold that a person did not make
// it in is not taken again by itself: whether to hold the source up once more is theirs to say.
func (w *Workflow) patiently(p jobPlan) jobPlan {
	if _, byHand := w.cutTime(); !byHand {
		return p
	}
	for _, steps := range [][]stepPlan{p.steps, p.cleanup} {
		for i := range steps {
			switch {
			case waitedFor[steps[i].kind]:
				steps[i].timeout = personTime
			case steps[i].kind == "cut":
				steps[i].timeout = maxOfflineLimit + time.Hour
			}
		}
	}
	if p.sections != nil {
		p.sections = map[string]job.Section{holdSection: {Attempts: 1}}
	}
	return p
}

// checkCutTime refuses a hold that would end before a person is done.
func (s *step) checkCutTime() error {
	least, byHand := s.w.cutTime()
	if !byHand || s.args.HoldLimit >= least {
		return nil
	}
	return refuse(errorsv1.Reason_REASON_ACTION_REQUIRED,
		"ask with `understudy snapshot create "+s.args.Source+" --mode offline --quiesce-limit 30m` "+
			"(MariaDB is down until you are done, 30 minutes at most), "+
			"or online with --quiesce-limit 60s (commits are blocked so long); a replica is then "+
			"made with --from",
		"a person copies the volumes of provider %s, which takes %s at least, and the hold would "+
			"end after %s", s.w.Cloud.Name(), least, s.args.HoldLimit)
}

// awaitCut waits, under the hold, until a person has said that the copy is complete.
func (s *step) awaitCut(ctx context.Context, h *held) (outcome, error) {
	at, err := s.w.Cloud.GetSnapshot(ctx, h.cut)
	switch {
	case missing(err):
		return back("snapshot %s is gone at the provider", h.cut)
	case err != nil:
		return outcome{}, err
	case at.State == provider.SnapshotError:
		return outcome{}, refuse(errorsv1.Reason_REASON_PROVIDER_ERROR,
			"retry the job to be asked again", "snapshot %s was not made: %s", at.ID, at.Reason)
	case at.State == provider.SnapshotCompleted:
		return done(nil)
	}
	left := timeLeft(h.until.Sub(s.w.Now()))
	s.Progress(job.Progress{Text: left})
	return s.again("%s: %s", left, or(at.Reason, "snapshot "+at.ID+" is being made"))
}

// timeLeft says how long a person has, no more often than they care to read: each change of it is a
// line for whoever watches.
func timeLeft(left time.Duration) string {
	step := time.Second
	switch {
	case left > 10*time.Minute:
		step = 5 * time.Minute
	case left > 2*time.Minute:
		step = time.Minute
	case left > 20*time.Second:
		step = 10 * time.Second
	}
	return sprintf("at least %s left", max(0, left).Truncate(step))
}
