package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newJobGet() *cobra.Command {
	return &cobra.Command{
		Use: "get JOB", Aliases: []string{"show"}, Short: "Show one job with all its steps",
		Args: words([]string{"JOB"}),
		Long: `Show one job with all its steps: what each found, what it changed, how long it
took, and its error with a hint.`,
		Example: `  understudy job get JOB
  understudy job get JOB -o json | jq -r '.job.steps[] | [.name, .state, .duration] | @tsv'`,
		ValidArgsFunction: c.complete(c.jobIDs),
		RunE: c.do(func(ctx context.Context, args []string) error {
			name, err := resourceName(jobKind, args[0])
			if err != nil {
				return err
			}
			return c.call(ctx, func(ctx context.Context, a *api) error {
				answer, err := a.jobs.GetJob(ctx, &cpv1.GetJobRequest{Name: name})
				if err != nil {
					return err
				}
				return c.print(answer,
					func(st show.Style) string { return c.jobRecord(st, answer.GetJob()) })
			})
		}),
	}
}

func (c *cli) jobRecord(st show.Style, j *cpv1.Job) string {
	screen := c.screen()
	screen.All = true
	fields := []show.Field{
		{Name: "about", Values: []string{show.Clean(j.GetSubject())}},
		{Name: "asked by", Values: []string{show.Who(j.GetRequestedBy())}},
		{Name: "asked at", Values: []string{stamp(j.GetCreateTime())}},
		{Name: "ended at", Values: []string{stamp(j.GetEndTime())}},
		{Name: "request", Values: []string{show.Clean(j.GetRequestId())}},
	}
	return show.Job(j, screen) + "\n" + show.Fields(st, fields)
}
