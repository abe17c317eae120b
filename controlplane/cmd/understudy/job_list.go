package main

import (
	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newJobList(c *cli) *cobra.Command {
	req := &cpv1.ListJobsRequest{}
	v := newVerb(c, req, &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List jobs, newest first",
		Long: `List jobs without their steps, newest first: what was asked for, the state, when
it was asked for and how long it took.`,
		Example: `  understudy job list --active
  understudy job list --on servers/db2 --limit 5
  understudy job list --state failed --kind create_replica --since 7d
  understudy job list --state failed -o json | jq -r '.jobs[].name'`,
	})
	filters(v, "the title")
	v.flag("active_only", "active", "only those that have not ended")
	v.checks = append(v.checks, func() error {
		if req.GetActiveOnly() && len(req.GetStates()) > 0 {
			return usageError{message: "--active and --state exclude each other"}
		}
		return nil
	})
	l := list[*cpv1.ListJobsRequest, *cpv1.ListJobsResponse, *cpv1.Job]{
		call: (*api).ListJobs, rows: (*cpv1.ListJobsResponse).GetJobs, newest: true,
		empty: "no jobs", columns: func(jobs []*cpv1.Job) []column[*cpv1.Job] {
			short := shortIDs(jobs)
			return []column[*cpv1.Job]{
				{head: "NAME", path: "name",
					text: func(j *cpv1.Job) string { return short[show.ID(j.GetName())] }},
				{head: "KIND", path: "kind"}, {head: "STATE", path: "state"},
				{head: "ABOUT", path: "subject", text: (*cpv1.Job).GetSubject},
				{head: "ASKED", path: "create_time"},
				{head: "TOOK", path: "start_time",
					text: func(j *cpv1.Job) string { return took(c, j) }},
				{head: "TITLE", path: "title"},
				{head: "BY", path: "requested_by", wide: true,
					text: func(j *cpv1.Job) string { return show.Who(j.GetRequestedBy()) }},
			}
		}}
	return l.command(v)
}

func took(c *cli, j *cpv1.Job) string {
	switch {
	case j.GetStartTime() == nil:
	case j.GetEndTime() != nil:
		return show.Duration(j.GetEndTime().AsTime().Sub(j.GetStartTime().AsTime()))
	case show.Active(j.GetState()):
		return show.Duration(c.Now().Sub(j.GetStartTime().AsTime()))
	}
	return ""
}
