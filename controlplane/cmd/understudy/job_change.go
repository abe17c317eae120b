package main

import (
	"context"
	"fmt"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// unconfirmed adds to a refusal to delete data the call that confirms it.
func unconfirmed(ctx context.Context, a *api, err error, method string, fields ...string) error {
	if err == nil || errs.ReasonOf(err) != errorsv1.Reason_REASON_DATA_LOSS_NOT_CONFIRMED {
		return err
	}
	job, unread := getJob(ctx, a, fields[1])
	if unread != nil {
		return err
	}
	fields = append(fields, "confirm_delete.name", job.GetSubject())
	return errs.New(errs.KindOf(err), 0, "", errs.Wrap(err),
		errs.WithHint("confirm that the data may be deleted", errs.Call(method, fields...)))
}

// stepEnded is the ending of a step that was run alone: the job itself goes back to what it was.
func stepEnded(name string) ending {
	return func(job *cpv1.Job) outcome {
		for _, s := range job.GetSteps() {
			if s.GetName() == name {
				return outcome{good: stepDone(s), line: fmt.Sprintf("step %s of %s is %s", name,
					show.ID(job.GetName()), stepWord(s))}
			}
		}
		return outcome{line: fmt.Sprintf("%s has no step %s", show.ID(job.GetName()), name)}
	}
}

func stepDone(s *cpv1.Step) bool {
	return s.GetState() == cpv1.Step_STATE_SUCCEEDED || s.GetState() == cpv1.Step_STATE_SKIPPED
}

func stepWord(s *cpv1.Step) string {
	if s.GetState() == cpv1.Step_STATE_SUCCEEDED {
		return "done"
	}
	return show.StepState(s.GetState())
}
