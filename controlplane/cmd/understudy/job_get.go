package main

import (
	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newJobGet(c *cli) *cobra.Command {
	return answer(newVerb(c, &cpv1.GetJobRequest{}, &cobra.Command{
		Use: "get JOB", Aliases: []string{"show"}, Short: "Show one job with all its steps",
		Long: `Show one job with all its steps: what each found, what it changed, how long it
took, and its error with a hint.`,
		Example: `  understudy job get JOB
  understudy job get JOB -o json | jq -r '.job.steps[] | [.name, .state, .duration] | @tsv'`,
	}, "name"), (*api).GetJob, func(st show.Style, answer *cpv1.GetJobResponse) string {
		screen := c.screen()
		screen.All = true
		return show.Job(answer.GetJob(), screen) + "\n" +
			record(st, answer.GetJob(), []column[*cpv1.Job]{
				{head: "about", text: (*cpv1.Job).GetSubject},
				{head: "asked by",
					text: func(j *cpv1.Job) string { return show.Who(j.GetRequestedBy()) }},
				{head: "asked at", path: "create_time"}, {head: "ended at", path: "end_time"},
				{head: "request", path: "request_id"},
			})
	})
}
