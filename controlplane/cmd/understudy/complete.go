package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	limitsv1 "github.com/understudy-db/understudy/proto/understudy/limits/v1"
)

// completeWithin is how long a shell waits for suggestions.
const completeWithin = 2 * time.Second

// suggest asks the control plane for words that fit; each may have a description behind a tab. The
// words so far are args.
type suggest func(ctx context.Context, a *api, args []string) ([]cobra.Completion, error)

// suggestionsFor are the words that fit a field; nil when nobody knows them.
func suggestionsFor(f *field) suggest {
	switch f.limits.Format() {
	case limitsv1.Format_FORMAT_SERVER, limitsv1.Format_FORMAT_CERTIFIED:
		return serverIDs
	case limitsv1.Format_FORMAT_SNAPSHOT:
		return snapshotIDs
	case limitsv1.Format_FORMAT_JOB:
		return jobIDs
	case limitsv1.Format_FORMAT_STEP:
		return stepNames
	case limitsv1.Format_FORMAT_RESOURCE:
		return subjectNames
	case limitsv1.Format_FORMAT_TASK:
		return taskIDs
	case limitsv1.Format_FORMAT_GRANT:
		return grantIDs
	}
	if f.desc.Name() == "image" {
		return imageNames
	}
	return nil
}

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
	must(cmd.RegisterFlagCompletionFunc(flag,
		func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion,
			cobra.ShellCompDirective) {
			return c.suggestions(cmd.Context(), words, args), cobra.ShellCompDirectiveNoFileComp
		}))
}

// mustComplete makes the shell offer the values of a flag.
func mustComplete(cmd *cobra.Command, flag string, values []string) {
	must(cmd.RegisterFlagCompletionFunc(flag,
		cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)))
}

// must stops at a flag that was not defined: a mistake in this program, which every run shows.
func must(err error) {
	if err != nil {
		panic(err)
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

func serverIDs(ctx context.Context, a *api, _ []string) ([]cobra.Completion, error) {
	servers, err := allServers(ctx, a, &cpv1.ListServersRequest{})
	return each(servers, func(s *cpv1.Server) cobra.Completion {
		return cobra.CompletionWithDesc(show.ID(s.GetName()),
			enum.Word(s.GetRole())+", "+trimEnum(s.GetState()))
	}), err
}

func snapshotIDs(ctx context.Context, a *api, _ []string) ([]cobra.Completion, error) {
	answer, err := a.ListSnapshots(ctx, &cpv1.ListSnapshotsRequest{PageSize: pageSize})
	return each(answer.GetSnapshots(), func(s *cpv1.Snapshot) cobra.Completion {
		return cobra.CompletionWithDesc(show.ID(s.GetName()), "of "+show.ID(s.GetServer())+", "+
			trimEnum(s.GetState()))
	}), err
}

func jobIDs(ctx context.Context, a *api, _ []string) ([]cobra.Completion, error) {
	answer, err := a.ListJobs(ctx, &cpv1.ListJobsRequest{PageSize: 50})
	return each(answer.GetJobs(), jobCompletion), err
}

func activeJobIDs(ctx context.Context, a *api, _ []string) ([]cobra.Completion, error) {
	answer, err := a.ListJobs(ctx, &cpv1.ListJobsRequest{PageSize: 50, ActiveOnly: true})
	return each(answer.GetJobs(), jobCompletion), err
}

func jobCompletion(j *cpv1.Job) cobra.Completion {
	return cobra.CompletionWithDesc(show.ID(j.GetName()),
		show.JobState(j.GetState())+", "+show.Clean(j.GetTitle()))
}

// stepNames are the steps of the job that is the first argument.
func stepNames(ctx context.Context, a *api, args []string) ([]cobra.Completion, error) {
	if len(args) == 0 {
		return nil, nil
	}
	job, err := getJob(ctx, a, jobKind+"/"+show.ID(args[0]))
	return each(job.GetSteps(), func(s *cpv1.Step) cobra.Completion {
		return cobra.CompletionWithDesc(show.Clean(s.GetName()), show.StepState(s.GetState()))
	}), err
}

func imageNames(ctx context.Context, a *api, _ []string) ([]cobra.Completion, error) {
	answer, err := a.ListImages(ctx, &cpv1.ListImagesRequest{PageSize: pageSize})
	return each(answer.GetImages(), func(i *cpv1.Image) cobra.Completion {
		return cobra.CompletionWithDesc(show.Clean(i.GetName()), show.Clean(i.GetDescription()))
	}), err
}

func taskIDs(ctx context.Context, a *api, _ []string) ([]cobra.Completion, error) {
	answer, err := a.ListTasks(ctx, &cpv1.ListTasksRequest{PageSize: pageSize})
	return each(answer.GetTasks(), func(t *cpv1.Task) cobra.Completion {
		return cobra.CompletionWithDesc(show.Clean(t.GetId()),
			enum.Word(t.GetKind())+" "+show.Clean(t.GetMachineName()))
	}), err
}

// grantIDs are the grants that are in force.
func grantIDs(ctx context.Context, a *api, _ []string) (found []cobra.Completion, err error) {
	answer, err := a.ListAgentGrants(ctx, &cpv1.ListAgentGrantsRequest{PageSize: pageSize})
	for _, g := range answer.GetGrants() {
		if g.GetState() == cpv1.AgentGrant_STATE_ACTIVE {
			found = append(found, cobra.CompletionWithDesc(show.Clean(g.GetId()),
				show.Who(g.GetOperator())+" on "+show.ID(g.GetServer())))
		}
	}
	return found, err
}

// subjectNames are the resources that jobs and events are about.
func subjectNames(ctx context.Context, a *api, _ []string) ([]cobra.Completion, error) {
	servers, err := allServers(ctx, a, &cpv1.ListServersRequest{})
	if err != nil {
		return nil, err
	}
	snapshots, err := a.ListSnapshots(ctx, &cpv1.ListSnapshotsRequest{PageSize: pageSize})
	return append(each(servers, (*cpv1.Server).GetName),
		each(snapshots.GetSnapshots(), (*cpv1.Snapshot).GetName)...), err
}
