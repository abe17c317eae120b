package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// completeWithin is how long a shell waits for suggestions.
const completeWithin = 2 * time.Second

// suggest asks the control plane for words that fit; each may have a description behind a tab. The
// words so far are args.
type suggest func(ctx context.Context, a *api, args []string) ([]cobra.Completion, error)

// complete offers words for the arguments, the first function for the first one, and so on. A
// control plane that does not answer offers nothing: a shell is no place for errors.
func (c *cli) complete(each ...suggest) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion,
		cobra.ShellCompDirective) {
		if len(args) >= len(each) || each[len(args)] == nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return c.suggestions(cmd.Context(), each[len(args)], args),
			cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFlag offers values of a flag.
func (c *cli) completeFlag(cmd *cobra.Command, flag string, words suggest) {
	err := cmd.RegisterFlagCompletionFunc(flag,
		func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion,
			cobra.ShellCompDirective) {
			return c.suggestions(cmd.Context(), words, args), cobra.ShellCompDirectiveNoFileComp
		})
	if err != nil {
		panic(err) // the flag was not defined: a mistake in this program, which every run shows
	}
}

func (c *cli) suggestions(ctx context.Context, words suggest, args []string) []cobra.Completion {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completeWithin)
	defer cancel()
	var found []cobra.Completion
	_ = c.call(ctx, func(ctx context.Context, a *api) (err error) {
		found, err = words(ctx, a, args)
		return err
	})
	return found
}

func (c *cli) serverIDs(ctx context.Context, a *api, _ []string) ([]cobra.Completion, error) {
	servers, err := allServers(ctx, a, &cpv1.ListServersRequest{})
	return rowsOf(servers, func(s *cpv1.Server) cobra.Completion {
		return cobra.CompletionWithDesc(show.ID(s.GetName()),
			enum.Word(s.GetRole())+", "+trimEnum(s.GetState()))
	}), err
}

func (c *cli) snapshotIDs(ctx context.Context, a *api, _ []string) ([]cobra.Completion, error) {
	answer, err := a.snapshots.ListSnapshots(ctx, &cpv1.ListSnapshotsRequest{PageSize: pageSize})
	return rowsOf(answer.GetSnapshots(), func(s *cpv1.Snapshot) cobra.Completion {
		return cobra.CompletionWithDesc(show.ID(s.GetName()), "of "+show.ID(s.GetServer())+", "+
			trimEnum(s.GetState()))
	}), err
}

func (c *cli) jobIDs(ctx context.Context, a *api, _ []string) ([]cobra.Completion, error) {
	answer, err := a.jobs.ListJobs(ctx, &cpv1.ListJobsRequest{PageSize: 50})
	return rowsOf(answer.GetJobs(), jobCompletion), err
}

func (c *cli) activeJobIDs(ctx context.Context, a *api, _ []string) ([]cobra.Completion, error) {
	answer, err := a.jobs.ListJobs(ctx, &cpv1.ListJobsRequest{PageSize: 50, ActiveOnly: true})
	return rowsOf(answer.GetJobs(), jobCompletion), err
}

func jobCompletion(j *cpv1.Job) cobra.Completion {
	return cobra.CompletionWithDesc(show.ID(j.GetName()),
		show.JobState(j.GetState())+", "+show.Clean(j.GetTitle()))
}

// stepNames are the steps of the job that is the first argument.
func (c *cli) stepNames(ctx context.Context, a *api, args []string) ([]cobra.Completion, error) {
	if len(args) == 0 {
		return nil, nil
	}
	name, err := resourceName(jobKind, args[0])
	if err != nil {
		return nil, err
	}
	answer, err := a.jobs.GetJob(ctx, &cpv1.GetJobRequest{Name: name})
	return rowsOf(answer.GetJob().GetSteps(), func(s *cpv1.Step) cobra.Completion {
		return cobra.CompletionWithDesc(show.Clean(s.GetName()), show.StepState(s.GetState()))
	}), err
}

func (c *cli) imageNames(ctx context.Context, a *api, _ []string) ([]cobra.Completion, error) {
	answer, err := a.providers.ListImages(ctx, &cpv1.ListImagesRequest{PageSize: pageSize})
	return rowsOf(answer.GetImages(), func(i *cpv1.Image) cobra.Completion {
		return cobra.CompletionWithDesc(show.Clean(i.GetName()), show.Clean(i.GetDescription()))
	}), err
}
