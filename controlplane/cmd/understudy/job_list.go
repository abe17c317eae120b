package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

type jobList struct {
	filterFlags
	active bool
	states enums[cpv1.Job_State]
	kinds  enums[cpv1.Job_Kind]
}

func (c *cli) newJobList() *cobra.Command {
	f := &jobList{filterFlags: filterFlags{cli: c}}
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List jobs, newest first", Args: words(nil),
		Long: `List jobs without their steps, newest first: what was asked for, the state, when
it was asked for and how long it took.`,
		Example: `  understudy job list --active
  understudy job list --on servers/db2 --limit 5
  understudy job list --state failed --kind create_replica --since 7d
  understudy job list --state failed -o json | jq -r '.jobs[].name'`,
		RunE: c.do(func(ctx context.Context, _ []string) error { return c.printJobs(ctx, f) }),
	}
	f.addOn(cmd, "servers/NAME or snapshots/NAME")
	cmd.Flags().BoolVar(&f.active, "active", false, "only those that have not ended")
	addEnums(cmd, &f.states, "state")
	addEnums(cmd, &f.kinds, "kind")
	f.addTimes(cmd)
	f.addText(cmd, "the title")
	f.addLimit(cmd)
	return cmd
}

func (c *cli) printJobs(ctx context.Context, f *jobList) error {
	subject, err := f.subject()
	if err != nil {
		return err
	}
	if f.active && len(f.states.values) > 0 {
		return usageError{message: "--active and --state exclude each other"}
	}
	req := &cpv1.ListJobsRequest{Subject: subject, ActiveOnly: f.active, States: f.states.values,
		Kinds: f.kinds.values, Text: f.text, CreatedAfter: f.since.proto(),
		CreatedBefore: f.until.proto()}
	return c.call(ctx, func(ctx context.Context, a *api) error {
		jobs, next, err := listJobs(ctx, a.jobs, req, f.limit.n)
		if err != nil {
			return err
		}
		err = c.list(&cpv1.ListJobsResponse{Jobs: jobs, NextPageToken: next},
			[]string{"NAME", "KIND", "STATE", "ABOUT", "ASKED", "TOOK", "TITLE"},
			func(st show.Style) [][]string {
				short := shortIDs(jobs)
				return rows(jobs, func(j *cpv1.Job) []string { return c.jobRow(st, j, short) })
			}, "no jobs")
		f.sayMore(next)
		return err
	})
}

// listJobs are the newest jobs, at most limit; 0 means all.
func listJobs(ctx context.Context, client cpv1.JobServiceClient, req *cpv1.ListJobsRequest,
	limit int) ([]*cpv1.Job, string, error) {
	return pages(limit, func(size int32, token string) ([]*cpv1.Job, string, error) {
		req.PageSize, req.PageToken = size, token
		page, err := client.ListJobs(ctx, req)
		return page.GetJobs(), page.GetNextPageToken(), err
	})
}

func (c *cli) jobRow(st show.Style, j *cpv1.Job, short map[string]string) []string {
	took := ""
	switch {
	case j.GetStartTime() == nil:
	case j.GetEndTime() != nil:
		took = show.Duration(j.GetEndTime().AsTime().Sub(j.GetStartTime().AsTime()))
	case show.Active(j.GetState()):
		took = show.Duration(c.Now().Sub(j.GetStartTime().AsTime()))
	}
	return []string{
		short[show.ID(j.GetName())], enum.Word(j.GetKind()), st.State(show.JobState(j.GetState())),
		show.Clean(j.GetSubject()), show.Age(c.Now(), j.GetCreateTime().AsTime()), took,
		show.Clean(j.GetTitle()),
	}
}
