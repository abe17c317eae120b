package query

import (
	"context"
	"fmt"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/workflow"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Cleanups tells what the cleanup of a job would remove.
type Cleanups struct {
	Engine   *job.Engine[*store.Tx]
	Provider provider.Provider
	Fleet    string
}

// removedBy is the step of a cleanup that removes each kind of object of the provider.
var removedBy = map[string]string{"machine": "remove_machine", "volume": "remove_volumes",
	"snapshot": "remove_snapshot"}

// PlanCleanup is the job with the steps of its cleanup, and what each would remove.
func (c Cleanups) PlanCleanup(ctx context.Context, id string) (job.Job, error) {
	j, err := c.Engine.Get(ctx, id)
	if err != nil {
		return job.Job{}, err
	}
	plan, _ := c.Engine.Plan(j.Kind)
	rests := j.State.Ended() || j.State == job.ActionRequired
	if !rests || j.State == job.Succeeded || len(plan.Cleanup) == 0 {
		return job.Job{}, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_JOB_WRONG_STATE,
			fmt.Sprintf("job %s is %s: there is nothing to clean up", id, j.State),
			errs.WithHint("cancel it first, or delete what it made",
				errs.Call("CancelJob", "name", "jobs/"+id)))
	}
	left, err := c.leftovers(ctx, id)
	if err != nil {
		return job.Job{}, err
	}
	for _, step := range plan.Cleanup {
		if _, there := j.Step(step.Kind); !there {
			j.Steps = append(j.Steps, job.Step{
				Kind: step.Kind, Title: step.Title, Phase: job.CleanupPhase, State: job.StepPending,
				Changed: left[step.Kind],
			})
		}
	}
	return j, nil
}

// leftovers are the things at the provider that the job made, by the cleanup's step that removes
// them.
func (c Cleanups) leftovers(ctx context.Context, id string) (map[string][]string, error) {
	filter := provider.Filter{Tags: map[string]string{workflow.TagJob: id,
		workflow.TagFleet: c.Fleet}}
	left := map[string][]string{}
	add := func(kind, id string) {
		step := removedBy[kind]
		left[step] = append(left[step], "remove "+kind+" "+id)
	}
	machines, err := c.Provider.ListMachines(ctx, filter)
	if err != nil {
		return nil, err
	}
	for _, m := range machines {
		if m.State != provider.MachineTerminated {
			add("machine", m.ID)
		}
	}
	volumes, err := c.Provider.ListVolumes(ctx, filter)
	if err != nil {
		return nil, err
	}
	for _, v := range volumes {
		add("volume", v.ID)
	}
	taken, err := c.Provider.ListSnapshots(ctx, filter)
	for _, s := range taken {
		add("snapshot", s.ID)
	}
	return left, err
}
