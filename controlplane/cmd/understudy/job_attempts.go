package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newJobAttempts(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.ListAttemptsRequest{}, &cobra.Command{
		Use: "attempts JOB", Short: "Show every attempt of a job's steps, oldest first",
		Long: `Show every attempt of a job's steps, oldest first: when it began, how long it
took, how it ended, and its error. With -o json also what it found and changed,
and which worker made it.`,
		Example: `  understudy job attempts JOB
  understudy job attempts JOB --step start_mariadb
  understudy job attempts JOB -o json | jq -r '.attempts[] | [.step, .state, .worker] | @tsv'`,
	}, "name")
	v.flag("step", "step", "only attempts of this `STEP`")
	l := list[*cpv1.ListAttemptsRequest, *cpv1.ListAttemptsResponse, *cpv1.Attempt]{
		call: (*api).ListAttempts, rows: (*cpv1.ListAttemptsResponse).GetAttempts,
		empty: "no attempts",
		columns: func([]*cpv1.Attempt) []column[*cpv1.Attempt] {
			return []column[*cpv1.Attempt]{
				{head: "STEP", path: "step"},
				{head: "ATTEMPT", text: attemptNumber}, {head: "STATE", path: "state"},
				{head: "BEGAN", path: "start_time", text: func(a *cpv1.Attempt) string {
					return stamp(a.GetStartTime().AsTime())
				}},
				{head: "TOOK", path: "end_time", text: func(a *cpv1.Attempt) string {
					end := c.Now()
					if a.GetEndTime() != nil {
						end = a.GetEndTime().AsTime()
					}
					return show.Duration(end.Sub(a.GetStartTime().AsTime()))
				}},
				{head: "ERROR", path: "error.message"},
				{head: "WORKER", path: "worker", wide: true},
			}
		}}
	return l.command(v)
}

func attemptNumber(a *cpv1.Attempt) string {
	if a.GetGeneration() > 1 {
		return fmt.Sprintf("%d (redo %d)", a.GetNumber(), a.GetGeneration()-1)
	}
	return fmt.Sprint(a.GetNumber())
}
