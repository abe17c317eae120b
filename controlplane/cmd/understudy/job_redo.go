package main

import (
	"context"

	"github.com/spf13/cobra"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newJobRedo(c *cli) *cobra.Command {
	req := &cpv1.RedoStepRequest{}
	v := newVerb(c, req, &cobra.Command{
		Use: "redo JOB STEP --reason WHY", Short: "Run a step again as if it had never run",
		Long: `Run a step again as if it had never run, and go on with the steps after it.

A retry finds what an earlier attempt made, such as a machine or a volume, and
goes on with it. Redo makes another one, because the step gets a new key. Use it
when what was made is of no use.

When that deletes data, the control plane refuses until --yes-delete names what
may be deleted.`,
		Example: `  understudy job redo JOB create_machine --reason "the machine's disk is broken"
  understudy job redo JOB swap_volume --reason "wrong snapshot" --yes-delete db2`,
	}, "name", "step")
	v.flag("reason", "reason", "`WHY`; it is recorded")
	confirm := confirms(v, func(what *cpv1.DeleteConfirmation) { req.ConfirmDelete = what })
	return jobVerb(v, (*api).RedoStep, jobParts{prepare: confirm,
		refused: func(ctx context.Context, a *api, err error) (*cpv1.Job, error) {
			return nil, unconfirmed(ctx, a, err, "RedoStep", "name", req.GetName(), "step",
				req.GetStep(), "reason", req.GetReason())
		}})
}
