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

// maxTaskText is as much as the control plane keeps of a label and of the reason for a refusal.
const maxTaskText = 200

func (c *cli) newProviderTasks() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "tasks", Short: "List what people are asked to do, where people are the provider",
		Args: words(nil),
		Long: `List what people are asked to do. With the provider "manual" everything that a job needs becomes a task: make a machine or a volume, attach
it, copy it. The job waits; a volume that is attached or detached it sees by itself, of other things "provider done" tells it.`,
		Example: `  understudy provider tasks
  understudy provider tasks --all -o json`,
		RunE: c.do(func(ctx context.Context, _ []string) error {
			return c.call(ctx, func(ctx context.Context, a *api) error {
				answer, err := allTasks(ctx, a, all)
				if err != nil {
					return err
				}
				return c.print(answer,
					func(st show.Style) string { return c.taskLines(st, answer.GetTasks()) })
			})
		}),
	}
	cmd.Flags().BoolVar(&all, "all", false,
		"also those that were done, refused or withdrawn in the last week")
	return cmd
}

func allTasks(ctx context.Context, a *api, closed bool) (*cpv1.ListTasksResponse, error) {
	all, token := &cpv1.ListTasksResponse{}, ""
	for {
		page, err := a.providers.ListTasks(ctx, &cpv1.ListTasksRequest{PageSize: pageSize,
			PageToken: token, IncludeClosed: closed})
		if err != nil {
			return nil, err
		}
		all.Tasks = append(all.Tasks, page.GetTasks()...)
		if token = page.GetNextPageToken(); token == "" {
			return all, nil
		}
	}
}

// taskLines are a head and a sentence each: a table would cut the sentence.
func (c *cli) taskLines(st show.Style, tasks []*cpv1.Task) string {
	if len(tasks) == 0 {
		fmt.Fprintln(c.Stderr, "nothing is to be done")
		return ""
	}
	var b strings.Builder
	for _, t := range tasks {
		fmt.Fprintf(&b, "%s  %s  %s  %s\n", show.Clean(t.GetId()), enum.Word(t.GetKind()),
			st.State(strings.ToLower(trimEnum(t.GetState()))),
			show.Age(c.Now(), t.GetCreateTime().AsTime()))
		if text := strings.TrimPrefix(t.GetInstruction(), t.GetId()+": "); text != "" {
			fmt.Fprintf(&b, "  %s\n", show.Clean(text))
		}
	}
	return b.String()
}

func (c *cli) newProviderDone() *cobra.Command {
	req := &cpv1.CompleteTaskRequest{}
	var bytes size
	cmd := &cobra.Command{
		Use: "done TASK", Short: "Say that a task was done, with what only you know",
		Args: words([]string{"TASK"}),
		Long: `Say that a task was done, with what only you know: the task says which of these it needs. Where the machine's agent can see for itself,
your word is not taken for it: the answer says what the agent shows instead.`,
		Example: `  understudy provider done task-1f0c52a9be31 --address 10.0.0.5
  understudy provider done task-77b00c4d12ea --device scsi-36001405f3a9c2 --label 'lun 7 on san-2'`,
		ValidArgsFunction: c.complete(c.taskIDs),
		RunE: c.do(func(ctx context.Context, args []string) error {
			req.Id, req.SizeBytes = args[0], bytes.bytes
			return c.call(ctx, func(ctx context.Context, a *api) error {
				answer, err := a.providers.CompleteTask(ctx, req)
				if err != nil {
					return err
				}
				return c.print(answer, func(show.Style) string {
					return fmt.Sprintf("%s %s is done\n", show.Clean(answer.GetTask().GetId()),
						enum.Word(answer.GetTask().GetKind()))
				})
			})
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&req.Address, "address", "", "`IP` of the machine that was made")
	flags.StringVar(&req.DefaultDevice, "default-device", "",
		"`NAME` below /dev/disk/by-id of the data volume that the machine came with")
	flags.StringVar(&req.Device, "device", "",
		"`NAME` below /dev/disk/by-id that the volume's own serial gives it")
	flags.Var(&bytes, "size",
		"size of a volume that is larger than was asked for, or of the default data volume")
	flags.StringVar(&req.Label, "label", "", "`TEXT` that you call it by; later tasks repeat it")
	return cmd
}

func (c *cli) newProviderRefuse() *cobra.Command {
	var why string
	cmd := &cobra.Command{
		Use: "refuse TASK",
		Short: "Say that a task will not be done: the job that asked fails with your " +
			"reason",
		Args:              words([]string{"TASK"}),
		Long:              `Say that a task will not be done, and why. The job that asked fails with that reason; "job retry" asks again.`,
		Example:           `  understudy provider refuse task-1f0c52a9be31 --why 'no room in rack 4'`,
		ValidArgsFunction: c.complete(c.taskIDs),
		RunE: c.do(func(ctx context.Context, args []string) error {
			if strings.TrimSpace(why) == "" || len(why) > maxTaskText {
				return usageError{message: "missing --why",
					hint: "say why in a sentence of at most 200 bytes: the job ends with it"}
			}
			return c.call(ctx, func(ctx context.Context, a *api) error {
				answer, err := a.providers.RefuseTask(ctx,
					&cpv1.RefuseTaskRequest{Id: args[0], Reason: why})
				if err != nil {
					return err
				}
				return c.print(answer,
					func(show.Style) string {
						return show.Clean(answer.GetTask().GetId()) +
							" is refused\n"
					})
			})
		}),
	}
	cmd.Flags().StringVar(&why, "why", "", "`REASON` that the job fails with; required")
	return cmd
}

func (c *cli) taskIDs(ctx context.Context, a *api, _ []string) ([]cobra.Completion, error) {
	answer, err := a.providers.ListTasks(ctx, &cpv1.ListTasksRequest{PageSize: pageSize})
	return rowsOf(answer.GetTasks(), func(t *cpv1.Task) cobra.Completion {
		return cobra.CompletionWithDesc(show.Clean(t.GetId()),
			show.Clean(enum.Word(t.GetKind())+" "+t.GetMachineName()))
	}), err
}
