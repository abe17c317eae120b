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

func (c *cli) newProviderTasks() *cobra.Command {
	var closed bool
	cmd := &cobra.Command{
		Use: "tasks", Short: "List manual tasks", Args: words(nil),
		Long: `List manual tasks. With the provider "manual" everything that a job needs
becomes a task for an operator: make a machine or a volume, attach it, copy it.
The job waits. The control plane observes by itself that a volume was attached
or detached; report other tasks with "provider done".`,
		Example: `  understudy provider tasks
  understudy provider tasks --all -o json`,
		RunE: c.do(func(ctx context.Context, _ []string) error {
			return c.printTasks(ctx, closed)
		}),
	}
	cmd.Flags().BoolVar(&closed, "all", false,
		"with those that were done, refused or withdrawn in the last 7 days")
	return cmd
}

func (c *cli) printTasks(ctx context.Context, closed bool) error {
	return c.call(ctx, func(ctx context.Context, a *api) error {
		all, _, err := pages(0, func(size int32, token string) ([]*cpv1.Task, string, error) {
			page, err := a.providers.ListTasks(ctx, &cpv1.ListTasksRequest{PageSize: size,
				PageToken: token, IncludeClosed: closed})
			return page.GetTasks(), page.GetNextPageToken(), err
		})
		if err != nil {
			return err
		}
		return c.print(&cpv1.ListTasksResponse{Tasks: all},
			func(st show.Style) string { return c.taskLines(st, all) })
	})
}

// taskLines are a head and a sentence each: a table would cut the sentence.
func (c *cli) taskLines(st show.Style, tasks []*cpv1.Task) string {
	if len(tasks) == 0 {
		fmt.Fprintln(c.Stderr, "no tasks")
		return ""
	}
	var b strings.Builder
	for _, t := range tasks {
		fmt.Fprintf(&b, "%s  %s  %s  %s\n", show.Clean(t.GetId()), enum.Word(t.GetKind()),
			st.State(enum.Word(t.GetState())), show.Age(c.Now(), t.GetCreateTime().AsTime()))
		if text := strings.TrimPrefix(t.GetInstruction(), t.GetId()+": "); text != "" {
			fmt.Fprintf(&b, "  %s\n", show.Clean(text))
		}
	}
	return b.String()
}

// taskIDs completes tasks.
func (c *cli) taskIDs(ctx context.Context, a *api, _ []string) ([]cobra.Completion, error) {
	answer, err := a.providers.ListTasks(ctx, &cpv1.ListTasksRequest{PageSize: pageSize})
	return rowsOf(answer.GetTasks(), func(t *cpv1.Task) cobra.Completion {
		return cobra.CompletionWithDesc(show.Clean(t.GetId()),
			enum.Word(t.GetKind())+" "+show.Clean(t.GetMachineName()))
	}), err
}
