package main

import (
	"github.com/spf13/cobra"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newJobSkip(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.SkipStepRequest{}, &cobra.Command{
		Use: "skip JOB STEP --reason WHY", Short: "Go on without a step that failed",
		Long: `Mark a step that failed as skipped, with the reason, and go on with the next
one.

You answer for what the step makes true. Later steps still check what they rely
on, and refuse when it is not true.`,
		Example: `  understudy job skip JOB upgrade_mariadb --reason "upgraded by hand"
  understudy job skip JOB verify --reason "compared with pt-table-checksum"`,
	}, "name", "step")
	v.flag("reason", "reason", "`WHY`; it is recorded")
	return jobVerb(v, (*api).SkipStep, jobParts{})
}
