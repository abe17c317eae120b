package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newProviderDone(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.CompleteTaskRequest{}, &cobra.Command{
		Use: "done TASK", Short: "Report that a manual task was done",
		Long: `Report that a manual task was done, with what only you know: the task says which
flags it needs. Where the machine's agent observes something else, its
observation takes precedence and the command is refused. An address or a device
that was mistyped is corrected by the same command with the right one.`,
		Example: `  understudy provider done task-1f0c52a9be31 --address 10.0.0.5
  understudy provider done task-77b00c4d12ea --device scsi-36001405f3a9c2 --label 'lun 7 on san-2'`,
	}, "id")
	v.flag("address", "address", "`IP` address of the machine that was made")
	v.flag("default_device", "default-device",
		"`NAME` below /dev/disk/by-id of the data volume that the machine came with")
	v.flag("device", "device", "`NAME` below /dev/disk/by-id that the volume's serial gives it")
	v.flag("size_bytes", "size",
		"size of a volume that is larger than asked for, or of the default data volume")
	v.flag("label", "label", "`TEXT` that later tasks repeat")
	return answer(v, (*api).CompleteTask,
		func(_ show.Style, answer *cpv1.CompleteTaskResponse) string {
			return fmt.Sprintf("%s %s is done\n", show.Clean(answer.GetTask().GetId()),
				enum.Word(answer.GetTask().GetKind()))
		})
}
