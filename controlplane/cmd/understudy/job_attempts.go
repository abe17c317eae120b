package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newJobAttempts() *cobra.Command {
	var step string
	cmd := &cobra.Command{
		Use: "attempts JOB", Short: "Show every attempt of a job's steps, oldest first",
		Args: words([]string{"JOB"}),
		Long: `Show every attempt of a job's steps, oldest first: when it began, how long it
took, how it ended, and its error. With -o json also what it found and changed,
and which worker made it.`,
		Example: `  understudy job attempts JOB
  understudy job attempts JOB --step start_mariadb
  understudy job attempts JOB -o json | jq -r '.attempts[] | [.step, .state, .worker] | @tsv'`,
		ValidArgsFunction: c.complete(c.jobIDs),
		RunE: c.do(func(ctx context.Context, args []string) error {
			return c.printAttempts(ctx, args[0], step)
		}),
	}
	cmd.Flags().StringVar(&step, "step", "", "only attempts of this `STEP`")
	c.completeFlag(cmd, "step", c.stepNames)
	return cmd
}

func (c *cli) printAttempts(ctx context.Context, job, step string) (err error) {
	req := &cpv1.ListAttemptsRequest{}
	if req.Name, err = resourceName(jobKind, job); err != nil {
		return err
	}
	if step != "" {
		if req.Step, err = stepName(step); err != nil {
			return err
		}
	}
	return c.call(ctx, func(ctx context.Context, a *api) error {
		all, _, err := pages(0, func(size int32, token string) ([]*cpv1.Attempt, string, error) {
			req.PageSize, req.PageToken = size, token
			page, err := a.jobs.ListAttempts(ctx, req)
			return page.GetAttempts(), page.GetNextPageToken(), err
		})
		if err != nil {
			return err
		}
		return c.list(&cpv1.ListAttemptsResponse{Attempts: all},
			[]string{"STEP", "ATTEMPT", "STATE", "BEGAN", "TOOK", "ERROR"},
			func(st show.Style) [][]string {
				return rows(all, func(a *cpv1.Attempt) []string { return c.attemptRow(st, a) })
			}, "no attempts")
	})
}

func (c *cli) attemptRow(st show.Style, a *cpv1.Attempt) []string {
	end := c.Now()
	if a.GetEndTime() != nil {
		end = a.GetEndTime().AsTime()
	}
	number := fmt.Sprint(a.GetNumber())
	if a.GetGeneration() > 1 {
		number += fmt.Sprintf(" (redo %d)", a.GetGeneration()-1)
	}
	return []string{
		show.Clean(a.GetStep()), number, st.State(strings.ToUpper(enum.Word(a.GetState()))),
		stamp(a.GetStartTime()), show.Duration(end.Sub(a.GetStartTime().AsTime())),
		show.Clean(a.GetError().GetMessage()),
	}
}
