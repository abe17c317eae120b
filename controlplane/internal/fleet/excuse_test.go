package fleet

import (
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/job"
)

func TestAJobIsAnExcuseWhileItWorksOnTheStepThatStopped(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	on := func(state job.State, seq int, step job.StepState, failure *job.Failure) *job.Job {
		return &job.Job{State: state, Steps: []job.Step{{Seq: seq, State: step, Failure: failure}}}
	}
	works := on(job.Running, 3, job.StepRunning, nil)
	no := &job.Failure{Message: "no"}
	for _, test := range []struct {
		name  string
		looks []*job.Job
		age   time.Duration
		want  bool
	}{
		{"not looked up yet", nil, time.Second, true},
		{"not looked up for long", nil, presumed, false},
		{"works", []*job.Job{works}, time.Minute, true},
		{"works again", []*job.Job{works, on(job.Running, 3, job.StepRunning, no)}, 0, true},
		{"waits for the agent", []*job.Job{works, on(job.Waiting, 3, job.StepWaiting, nil)}, 0,
			true},
		{"works for too long", []*job.Job{works}, excuseLimit, false},
		{"not on record", []*job.Job{nil}, 0, false},
		{"waits for the next attempt", []*job.Job{works, on(job.Waiting, 3, job.StepWaiting, no)},
			0, false},
		{"waits for an operator", []*job.Job{works,
			on(job.ActionRequired, 3, job.StepActionRequired, no)}, 0, false},
		{"works on another step", []*job.Job{works, on(job.Running, 4, job.StepRunning, nil)}, 0,
			false},
		{"failed", []*job.Job{works, on(job.Failed, 3, job.StepFailed, no)}, 0, false},
		{"is queued", []*job.Job{{State: job.Queued}}, 0, false},
	} {
		e := excuse{job: "jobs/1", since: begin}
		for _, j := range test.looks {
			e.look(j)
		}
		if got := e.holds(begin.Add(test.age)); got != test.want {
			t.Errorf("%s: excuses %t, want %t", test.name, got, test.want)
		}
	}
	if (&excuse{works: true}).holds(begin) {
		t.Error("no job is an excuse")
	}
}
