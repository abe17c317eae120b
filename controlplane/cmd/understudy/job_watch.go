package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newJobWatch() *cobra.Command {
	w := waitFlags{}
	cmd := &cobra.Command{
		Use: "watch [JOB]", Short: "Show a job until it ends", Args: words(nil, "JOB"),
		Long: `Show a job until it ends, or until it needs an operator. Without a name it shows
the job that is active, when there is one.

On a terminal the view is live; Ctrl-C leaves it and the job goes on. Elsewhere
each change is one line, with -o json one line of JSON. When the control plane
restarts, the view waits for it.`,
		Example: `  understudy job watch
  understudy job watch JOB
  understudy job watch JOB -o json | jq --unbuffered -r .state`,
		ValidArgsFunction: c.complete(c.activeJobIDs),
		RunE: c.do(func(ctx context.Context, args []string) error {
			name := ""
			if len(args) == 1 {
				var err error
				if name, err = resourceName(jobKind, args[0]); err != nil {
					return err
				}
			}
			return c.watchJob(ctx, name, w)
		}),
	}
	w.addReconnect(cmd)
	return cmd
}

func (c *cli) watchJob(ctx context.Context, name string, w waitFlags) error {
	return c.call(ctx, func(ctx context.Context, a *api) (err error) {
		if name == "" {
			if name, err = theActiveJob(ctx, a); err != nil {
				return err
			}
		}
		if !wholeID.MatchString(show.ID(name)) {
			job, err := getJob(ctx, a, name)
			if err != nil {
				return err
			}
			name = job.GetName()
		}
		return c.finish(ctx, a, &cpv1.Job{Name: name}, w, succeeded, nil)
	})
}

// theActiveJob is the only job that has not ended.
func theActiveJob(ctx context.Context, a *api) (string, error) {
	answer, err := a.jobs.ListJobs(ctx, &cpv1.ListJobsRequest{ActiveOnly: true, PageSize: pageSize})
	if err != nil {
		return "", err
	}
	ids := rowsOf(answer.GetJobs(), func(j *cpv1.Job) string { return show.ID(j.GetName()) })
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
