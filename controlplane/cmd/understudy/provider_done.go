package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newProviderDone() *cobra.Command {
	req := &cpv1.CompleteTaskRequest{}
	var bytes size
	cmd := &cobra.Command{
		Use: "done TASK", Short: "Report that a manual task was done",
		Args: words([]string{"TASK"}),
		Long: `Report that a manual task was done, with what only you know: the task says which
flags it needs. Where the machine's agent observes something else, its
observation takes precedence and the command is refused.`,
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
	flags.StringVar(&req.Address, "address", "", "`IP` address of the machine that was made")
	flags.StringVar(&req.DefaultDevice, "default-device", "",
		"`NAME` below /dev/disk/by-id of the data volume that the machine came with")
	flags.StringVar(&req.Device, "device", "",
		"`NAME` below /dev/disk/by-id that the volume's serial gives it")
	flags.Var(&bytes, "size",
		"size of a volume that is larger than asked for, or of the default data volume")
	flags.StringVar(&req.Label, "label", "", "`TEXT` that later tasks repeat")
	return cmd
}
