package wire_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestCollectFillsAPageFromParts(t *testing.T) {
	t.Parallel()
	read := func(size int, token string) ([]int, string, error) {
		from := len(token)
		var part []int
		for i := from; i < min(from+size, 1200); i++ {
			part = append(part, i)
		}
		if from+size >= 1200 {
			return part, "", nil
		}
		return part, strings.Repeat("x", from+size), nil
	}
	first, token, err := wire.Collect(wire.Page{Size: 800}, read)
	if err != nil || len(first) != 800 || first[799] != 799 || len(token) != 800 {
		t.Errorf("%d, last %d, token of %d, %v", len(first), first[len(first)-1], len(token), err)
	}
	rest, token, err := wire.Collect(wire.Page{Size: 1000, Token: token}, read)
	if err != nil || len(rest) != 400 || rest[0] != 800 || token != "" {
		t.Errorf("%d, %q, %v", len(rest), token, err)
	}
}

func TestCutGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	all := []string{"a", "c", "e", "g"}
	same := func(s string) string { return s }
	first, token, err := wire.Cut(wire.Page{Size: 2}, all, "letters", same)
	if err != nil || !slices.Equal(first, []string{"a", "c"}) || token == "" {
		t.Fatalf("%v, %q, %v", first, token, err)
	}
	// One was removed and one was added meanwhile.
	rest, next, err := wire.Cut(wire.Page{Size: 5, Token: token}, []string{"a", "d", "e", "g"},
		"letters", same)
	if err != nil || !slices.Equal(rest, []string{"d", "e", "g"}) || next != "" {
		t.Errorf("%v, %q, %v", rest, next, err)
	}
	if none, next, err := wire.Cut(wire.Page{Size: 5, Token: token}, []string{"a"}, "letters",
		same); err != nil || none != nil || next != "" {
		t.Errorf("%v, %q, %v", none, next, err)
	}
	for _, bad := range []string{"!", "YQ", token + "x"} {
		if _, _, err := wire.Cut(wire.Page{Size: 5, Token: bad}, all, "numbers",
			same); errs.ReasonOf(err) != errorsv1.Reason_REASON_PAGE_TOKEN_INVALID {
			t.Errorf("token %q: %v", bad, err)
		}
	}
}

func TestEveryStateHasItsWord(t *testing.T) {
	t.Parallel()
	for _, s := range []job.State{job.Queued, job.Running, job.Waiting, job.ActionRequired,
		job.Failed, job.Cancelling, job.Cancelled, job.Succeeded} {
		if got := wire.JobHead(job.Job{ID: "1", State: s}).GetState().String(); got != "STATE_"+
			strings.ToUpper(string(s)) {
			t.Errorf("job %s became %s", s, got)
		}
	}
	for _, s := range []job.StepState{job.StepPending, job.StepRunning, job.StepWaiting,
		job.StepSucceeded, job.StepSkipped, job.StepFailed, job.StepActionRequired,
		job.StepCancelled} {
		made := wire.Job(job.Job{ID: "1", Steps: []job.Step{{State: s}}}, time.Now())
		if got := made.GetSteps()[0].GetState().String(); got != "STATE_"+
			strings.ToUpper(string(s)) {
			t.Errorf("step %s became %s", s, got)
		}
	}
}

func TestJobShowsItsErrorAndTimes(t *testing.T) {
	t.Parallel()
	now := time.Now()
	j := job.Job{
		ID: "1", State: job.Failed, Subjects: []string{"snapshotting/db1", "snapshots/s1"},
		Steps: []job.Step{
			{Kind: "quiesce", State: job.StepSucceeded, Started: now.Add(-9 * time.Second),
				Finished: now.Add(-4 * time.Second)},
			{Kind: "snapshot", State: job.StepFailed, Started: now.Add(-3 * time.Second),
				Progress: job.Progress{Done: 1, Total: 2, ETA: time.Second},
				Failure: &job.Failure{Message: "no", Reason: "PROVIDER_ERROR",
					Hint: errs.Hint{Text: "yes"}}},
			{Kind: "resume", State: job.StepPending},
		},
	}
	got := wire.Job(j, now)
	if e := got.GetError(); e.GetMessage() != "no" || e.GetReason() != "PROVIDER_ERROR" ||
		e.GetHint().GetText() != "yes" || got.GetSubject() != "snapshots/s1" {
		t.Errorf("%v", got)
	}
	var took []time.Duration
	for _, s := range got.GetSteps() {
		took = append(took, s.GetDuration().AsDuration())
	}
	if !slices.Equal(took, []time.Duration{5 * time.Second, 3 * time.Second, 0}) ||
		got.GetSteps()[1].GetProgress().GetRemaining().AsDuration() != time.Second {
		t.Errorf("durations %v, %v", took, got.GetSteps()[1].GetProgress())
	}
	j.ID, j.State = "", job.Queued
	if plan := wire.Job(j, now); plan.GetName() != "" ||
		plan.GetState() != cpv1.Job_STATE_UNSPECIFIED ||
		plan.GetSteps()[2].GetState() != cpv1.Step_STATE_UNSPECIFIED {
		t.Errorf("plan %v", plan)
	}
}
