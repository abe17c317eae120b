package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newJobWatch(c *cli) *cobra.Command {
	req, wait := &cpv1.WatchJobRequest{}, &waitFlags{}
	v := newVerb(c, req, &cobra.Command{
		Use: "watch [JOB]", Short: "Show a job until it ends",
		Long: `Show a job until it ends, or until it needs an operator. Without a name it shows
the job that is active, when there is one.

On a terminal the view is live; Ctrl-C leaves it and the job goes on. Elsewhere
each change is one line, with -o json one line of JSON. When the control plane
restarts, the view waits for it.`,
		Example: `  understudy job watch
  understudy job watch JOB
  understudy job watch JOB -o json | jq --unbuffered -r .state`,
	}, "name")
	v.later, v.cmd.ValidArgsFunction = []string{"name"}, c.complete(activeJobIDs)
	wait.addReconnect(v.cmd)
	return v.does(func(ctx context.Context, a *api) (err error) {
		if req.GetName() == "" {
			if req.Name, err = theActiveJob(ctx, a); err != nil {
				return err
			}
		}
		if !wholeID.MatchString(show.ID(req.GetName())) {
			job, err := getJob(ctx, a, req.GetName())
			if err != nil {
				return err
			}
			req.Name = job.GetName()
		}
		return finish(ctx, c, a, &cpv1.Job{Name: req.GetName()}, *wait, succeeded, nil)
	})
}

// theActiveJob is the only job that has not ended.
func theActiveJob(ctx context.Context, a *api) (string, error) {
	answer, err := a.ListJobs(ctx, &cpv1.ListJobsRequest{ActiveOnly: true, PageSize: pageSize})
	if err != nil {
		return "", err
	}
	ids := each(answer.GetJobs(), func(j *cpv1.Job) string { return show.ID(j.GetName()) })
	switch len(ids) {
	case 0:
		return "", usageError{message: "no job is active",
			hint: "name one that `understudy job list` shows"}
	case 1:
		return answer.GetJobs()[0].GetName(), nil
	default:
		return "", usageError{message: fmt.Sprintf("%d jobs are active", len(ids)),
			hint: "name one of them: " + strings.Join(ids, ", ")}
	}
}
