package fleet

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
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

// TestStoppedByAJobThatDoesNotWorkNamesIt has a job wait for an operator.
func TestStoppedByAJobThatDoesNotWorkNamesIt(t *testing.T) {
	t.Parallel()
	f := judged(t, MonitorConfig{})
	f.meet(inventory.Server{Name: "db1", Address: "192.0.2.1", Port: 3306},
		replication.Status{Answers: true, BinlogHistory: "one"})
	paused := f.last
	paused.PausedBy, paused.Connections[0].SQLRunning = "jobs/7", "No"
	f.take(paused)
	if found := f.judge(); len(found) > 0 {
		t.Errorf("not looked up yet: %+v", found)
	}
	f.excused("jobs/7", &job.Job{State: job.ActionRequired})
	found := f.judge()
	if len(found) != 1 || !strings.Contains(found[0].Text, "jobs/7 stopped it") ||
		found[0].Hint.Actions[0].Args["name"] != "jobs/7" {
		t.Errorf("it waits for an operator: %+v", found)
	}
	paused.PausedBy = "jobs/7; reboot"
	f.take(paused)
	f.excused(paused.PausedBy, nil)
	if found := f.judge(); len(found) != 1 || strings.Contains(found[0].Text, "reboot") {
		t.Errorf("an agent's own words: %+v", found)
	}
}
