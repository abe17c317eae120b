package fleet

import (
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/job"
)

const (
	// presumed is how long a job that was not looked up yet is an excuse.
	presumed = 5 * time.Second
	// excuseLimit is how long replication may be stopped on purpose: a replica that is that far
	// behind is not healthy, whatever for.
	excuseLimit = 30 * time.Minute
)

// excuse is a job that stopped replication on purpose. It excuses no more than that, while it works
// on the step that did.
type excuse struct {
	job    string    // "jobs/{job}"; empty for none
	since  time.Time // when the agent reported it first
	looked bool      // the job was looked up
	step   int       // that the job worked on then
	works  bool      // the job works on that step
}

// look takes what the job does now; nil when there is none on record.
func (e *excuse) look(j *job.Job) {
	e.works = false
	if j == nil {
		e.looked = true
		return
	}
	step, there := j.Current()
	if !e.looked {
		e.looked, e.step = true, -1
		if there {
			e.step = step.Seq
		}
	}
	retries := there && step.State == job.StepWaiting && step.Failure != nil
	e.works = j.State.Active() && there && step.Seq == e.step && !retries
}

func (e *excuse) holds(now time.Time) bool {
	age := now.Sub(e.since)
	return e.job != "" && age < excuseLimit && (e.works || !e.looked && age < presumed)
}
