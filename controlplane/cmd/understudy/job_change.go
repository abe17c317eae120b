package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// maxReason is how long a reason may be, in bytes.
const maxReason = 500

// changeFlags are those of every request on a job.
type changeFlags struct {
	waitFlags
	requestFlags
	confirm string
}

func (f *changeFlags) add(cmd *cobra.Command) {
	f.waitFlags.add(cmd)
	f.requestFlags.add(cmd)
}

// addConfirm adds the flag that confirms the loss of data.
func (f *changeFlags) addConfirm(c *cli, cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.confirm, "yes-delete", "",
		"confirm that the data of the server `NAME`, or of snapshots/NAME, may be deleted")
	c.completeFlag(cmd, "yes-delete", c.serverIDs)
}

// change sends a request on a job and shows the job until it rests.
func (c *cli) change(ctx context.Context, f *changeFlags, good func(asked *cpv1.Job) ending,
	send func(ctx context.Context, a *api, requestID string) (*cpv1.Job, error)) error {
	requestID, err := f.id()
	if err != nil {
		return err
	}
	return c.call(ctx, func(ctx context.Context, a *api) error {
		job, err := send(ctx, a, requestID)
		if err != nil {
			return f.lost(err)
		}
		return c.finish(ctx, a, job, f.waitFlags, good(job), nil)
	})
}

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

func always(good ending) func(*cpv1.Job) ending { return func(*cpv1.Job) ending { return good } }

// stepVerb is a verb about one step of a job that needs a reason.
func (c *cli) stepVerb(f *changeFlags, cmd *cobra.Command,
	send func(ctx context.Context, a *api, req *cpv1.RedoStepRequest) (*cpv1.Job, error)) {
	req := &cpv1.RedoStepRequest{}
	cmd.Args = words([]string{"JOB", "STEP"})
	cmd.ValidArgsFunction = c.complete(c.jobIDs, c.stepNames)
	cmd.RunE = c.do(func(ctx context.Context, args []string) (err error) {
		if req.Name, err = resourceName(jobKind, args[0]); err != nil {
			return err
		}
		if req.Step, err = stepName(args[1]); err != nil {
			return err
		}
		if err := checkReason("reason", req.Reason, maxReason); err != nil {
			return err
		}
		return c.change(ctx, f, always(succeeded),
			func(ctx context.Context, a *api, requestID string) (*cpv1.Job, error) {
				req.RequestId = requestID
				return send(ctx, a, req)
			})
	})
	reasonFlag(cmd, &req.Reason)
	f.add(cmd)
}

// reasonFlag adds the reason that is recorded with a request.
func reasonFlag(cmd *cobra.Command, reason *string) {
	cmd.Flags().StringVar(reason, "reason", "", "`WHY`; it is recorded (required)")
}

func checkReason(flag, reason string, most int) error {
	if strings.TrimSpace(reason) == "" {
		return usageError{message: "--" + flag + " is required"}
	}
	if len(reason) > most {
		return usageError{message: fmt.Sprintf("--%s must be at most %d bytes", flag, most)}
	}
	return nil
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
