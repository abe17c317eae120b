package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newJobList() *cobra.Command {
	var on string
	var active bool
	limit := count{n: defaultLimit}
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List jobs, newest first", Args: words(nil),
		Long: "List jobs without their steps, newest first: what was asked for, how far it is, " +
			"when it was asked for and how long it took.",
		Example: `  understudy job list --active
  understudy job list --on servers/db2 --limit 5
  understudy job list -o json | jq -r '.jobs[] | select(.state == "STATE_FAILED") | .name'`,
		RunE: c.do(func(ctx context.Context, _ []string) error {
			req := &cpv1.ListJobsRequest{ActiveOnly: active}
			var err error
			if on != "" {
				if req.Subject, err = subjectName(on); err != nil {
					return err
				}
			}
			return c.printJobs(ctx, req, limit.n)
		}),
	}
	cmd.Flags().StringVar(&on, "on", "",
		"only those about `SUBJECT`: servers/NAME or snapshots/NAME")
	cmd.Flags().BoolVar(&active, "active", false, "only those that have not ended")
	cmd.Flags().Var(&limit, "limit", "at most so many")
	c.completeFlag(cmd, "on", c.subjectNames)
	return cmd
}

func (c *cli) printJobs(ctx context.Context, req *cpv1.ListJobsRequest, limit int) error {
	return c.call(ctx, func(ctx context.Context, a *api) error {
		answer, err := listJobs(ctx, a, req, limit)
		if err != nil {
			return err
		}
		head := []string{"NAME", "KIND", "STATE", "ABOUT", "ASKED", "TOOK", "TITLE"}
		err = c.list(answer, head, func(st show.Style) [][]string {
			short := shortIDs(answer.GetJobs())
			return rows(answer.GetJobs(),
				func(j *cpv1.Job) []string { return c.jobRow(st, j, short) })
		}, "no jobs")
		c.sayMore(answer.GetNextPageToken() != "", limit)
		return err
	})
}

// sayMore tells that a list was cut off.
func (c *cli) sayMore(more bool, limit int) {
	if more && !c.flags.output.json() {
		fmt.Fprintf(c.Stderr, "there are more: the newest %d are shown, --limit shows others\n",
			limit)
	}
}
