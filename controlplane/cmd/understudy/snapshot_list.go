package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newSnapshotList() *cobra.Command {
	var of string
	var all bool
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List snapshots, newest first",
		Args: words(nil),
		Long: `List snapshots, newest first. BLOCKED is how long the server's writes were blocked for it, GTID where a replica made from it starts.`,
		Example: `  understudy snapshot list
  understudy snapshot list --of db1 --all
  understudy snapshot list -o json | jq -r '.snapshots[0].name'`,
		RunE: c.do(func(ctx context.Context, _ []string) error {
			req := &cpv1.ListSnapshotsRequest{ShowDeleted: all}
			if of != "" {
				name, err := serverName(of)
				if err != nil {
					return err
				}
				req.Server = name
			}
			return c.listSnapshots(ctx, req)
		}),
	}
	cmd.Flags().StringVar(&of, "of", "", "only those of `SERVER`")
	cmd.Flags().BoolVar(&all, "all", false, "failed and deleted ones too")
	c.completeFlag(cmd, "of", c.serverIDs)
	return cmd
}

func (c *cli) listSnapshots(ctx context.Context, req *cpv1.ListSnapshotsRequest) error {
	return c.call(ctx, func(ctx context.Context, a *api) error {
		answer, err := allSnapshots(ctx, a, req)
		if err != nil {
			return err
		}
		head := []string{"NAME", "SERVER", "STATE", "MODE", "SIZE", "BLOCKED", "TAKEN", "GTID"}
		return c.list(answer, head, func(st show.Style) [][]string {
			return rows(answer.GetSnapshots(),
				func(s *cpv1.Snapshot) []string { return c.snapshotRow(st, s) })
		}, "no snapshots: take one with understudy snapshot create SERVER")
	})
}

func (c *cli) snapshotRow(st show.Style, s *cpv1.Snapshot) []string {
	return []string{
		show.ID(s.GetName()), show.ID(s.GetServer()), st.State(trimEnum(s.GetState())),
		modeWord(s.GetMode()), sizeWord(s.GetSizeBytes()),
		blocked(s), show.Age(c.Now(), s.GetCreateTime().AsTime()),
		show.Clean(s.GetPoint().GetPosition()),
	}
}
