package kit

import (
	"context"
	"slices"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Unused refuses while an unfinished job uses the subject.
func (k *Kit) Unused(ctx context.Context, subject string) error {
	return k.unused(ctx, subject, "")
}

// Unused refuses while another unfinished job uses the subject.
func (c *Call) Unused(ctx context.Context, subject string) error {
	return c.unused(ctx, subject, c.JobID)
}

func (k *Kit) unused(ctx context.Context, subject, but string) error {
	for token := ""; ; {
		jobs, next, err := k.Jobs.List(ctx,
			job.Filter{States: job.UnendedStates(), PageToken: token})
		if err != nil {
			return err
		}
		for _, j := range jobs {
			if j.ID != but && slices.Contains(k.used(j), subject) {
				return Refuse(errorsv1.Reason_REASON_IN_USE, Hint("wait for the job, or cancel it",
					errs.Call("WatchJob", "name", "jobs/"+j.ID),
					errs.Call("CancelJob", "name", "jobs/"+j.ID)), "job %s uses %s", j.ID,
					subject)
			}
		}
		if token = next; token == "" {
			return nil
		}
	}
}

func (k *Kit) used(j job.Job) []string {
	kind, ok := k.kinds[j.Kind]
	if !ok {
		return nil
	}
	args, err := kind.Decode(j.Args)
	if err != nil {
		return nil
	}
	return uses(args)
}
