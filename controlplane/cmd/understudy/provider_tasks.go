package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newProviderTasks(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.ListTasksRequest{}, &cobra.Command{
		Use: "tasks", Short: "List manual tasks",
		Long: `List manual tasks. With the provider "manual" everything that a job needs
becomes a task for an operator: make a machine or a volume, attach it, copy it.
The job waits. The control plane observes by itself that a volume was attached
or detached; report other tasks with "provider done".`,
		Example: `  understudy provider tasks
  understudy provider tasks --all -o json`,
	})
	v.flag("include_closed", "all",
		"with those that were done, refused or withdrawn in the last 7 days")
	l := list[*cpv1.ListTasksRequest, *cpv1.ListTasksResponse, *cpv1.Task]{
		call: (*api).ListTasks, rows: (*cpv1.ListTasksResponse).GetTasks, empty: "no tasks",
		columns: func([]*cpv1.Task) []column[*cpv1.Task] {
			return []column[*cpv1.Task]{{head: "ID", path: "id"}, {head: "KIND", path: "kind"},
				{head: "STATE", path: "state"}, {head: "MADE", path: "create_time"}}
		},
		text: func(_ show.Style, tasks []*cpv1.Task) string { return taskLines(c, tasks) }}
	return l.command(v)
}

// taskLines are a head and a sentence each: a table would cut the sentence.
func taskLines(c *cli, tasks []*cpv1.Task) string {
	var b strings.Builder
	for _, t := range tasks {
		fmt.Fprintf(&b, "%s  %s  %s  %s\n", show.Clean(t.GetId()), enum.Word(t.GetKind()),
			enum.Word(t.GetState()), show.Age(c.Now(), t.GetCreateTime().AsTime()))
		if text := strings.TrimPrefix(t.GetInstruction(), t.GetId()+": "); text != "" {
			fmt.Fprintf(&b, "  %s\n", show.Clean(text))
		}
	}
	return b.String()
}
