package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// maxReason is as much of a reason as the audit keeps.
const maxReason = 500

// onJob sends a request about a job and shows the job until it rests.
func (c *cli) onJob(ctx context.Context, w waitFlags, good func(asked *cpv1.Job) ending,
	send func(context.Context, *api) (*cpv1.Job, error)) error {
	return c.call(ctx, func(ctx context.Context, a *api) error {
		job, err := send(ctx, a)
		if err != nil {
			return err
		}
		return c.finish(ctx, a, job, w, good(job), nil)
	})
}

func always(good ending) func(*cpv1.Job) ending { return func(*cpv1.Job) ending { return good } }

// reasonFlag adds the reason that the audit wants.
func reasonFlag(cmd *cobra.Command, reason *string) {
	cmd.Flags().StringVar(reason, "reason", "", "`WHY`, for the audit; required")
}

func checkReason(reason string) error {
	if strings.TrimSpace(reason) == "" {
		return usageError{message: "missing --reason",
			hint: "say why, in a sentence: the audit keeps it"}
	}
	if len(reason) > maxReason {
		return usageError{message: "--reason is too long", hint: "say it in at most 500 bytes"}
	}
	return nil
}

// jobAndStep reads both names.
func jobAndStep(args []string) (job, step string, err error) {
	if job, err = resourceName(jobKind, args[0]); err != nil {
		return "", "", err
	}
	step, err = stepName(args[1])
	return job, step, err
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

// cleanedUp is the ending of a clean-up: the steps that were to be done are, whatever became of the
// others before.
func cleanedUp(asked *cpv1.Job) ending {
	due := map[string]bool{}
	for _, s := range asked.GetSteps() {
		switch s.GetState() {
		case cpv1.Step_STATE_PENDING, cpv1.Step_STATE_RUNNING, cpv1.Step_STATE_WAITING:
			due[s.GetName()] = true
		}
	}
	return func(job *cpv1.Job) outcome {
		for _, s := range job.GetSteps() {
			if failed := s.GetState() == cpv1.Step_STATE_FAILED ||
				s.GetState() == cpv1.Step_STATE_ACTION_REQUIRED; failed && due[s.GetName()] {
				return outcome{line: fmt.Sprintf("not all that %s made was removed: step %s is %s",
					show.ID(job.GetName()), s.GetName(), stepWord(s))}
			}
		}
		return outcome{good: true, line: "what " + show.ID(job.GetName()) + " made was removed"}
	}
}

// cancelled is the ending of a cancel.
func cancelled(job *cpv1.Job) outcome {
	return outcome{good: job.GetState() == cpv1.Job_STATE_CANCELLED, line: show.Ended(job)}
}
