package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

type snapshotList struct {
	filterFlags
	states enums[cpv1.Snapshot_State]
}

func (c *cli) newSnapshotList() *cobra.Command {
	f := &snapshotList{filterFlags: filterFlags{cli: c}}
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List snapshots, newest first",
		Args: words(nil),
		Long: `List snapshots, newest first. BLOCKED is how long the server's writes were
blocked for it, GTID where a replica that is made from it starts.`,
		Example: `  understudy snapshot list
  understudy snapshot list --of db1 --since 7d
  understudy snapshot list -o json | jq -r '.snapshots[0].name'`,
		RunE: c.do(func(ctx context.Context, _ []string) error { return c.listSnapshots(ctx, f) }),
	}
	f.addOf(cmd, "only those of `SERVER`")
	addEnums(cmd, &f.states, "state")
	f.addTimes(cmd)
	f.addText(cmd, "the name, server, provider's id or reason")
	f.addAll(cmd, "with failed and deleted snapshots")
	return cmd
}

func (c *cli) listSnapshots(ctx context.Context, f *snapshotList) error {
	server, err := f.server()
	if err != nil {
		return err
	}
	req := &cpv1.ListSnapshotsRequest{Server: server, ShowDeleted: f.all, Text: f.text,
		States: f.states.values, CreatedAfter: f.since.proto(), CreatedBefore: f.until.proto()}
	return c.call(ctx, func(ctx context.Context, a *api) error {
		all, _, err := pages(0, func(size int32, token string) ([]*cpv1.Snapshot, string, error) {
			req.PageSize, req.PageToken = size, token
			page, err := a.snapshots.ListSnapshots(ctx, req)
			return page.GetSnapshots(), page.GetNextPageToken(), err
		})
		if err != nil {
			return err
		}
		return c.list(&cpv1.ListSnapshotsResponse{Snapshots: all},
			[]string{"NAME", "SERVER", "STATE", "MODE", "SIZE", "BLOCKED", "TAKEN", "GTID"},
			func(st show.Style) [][]string {
				return rows(all, func(s *cpv1.Snapshot) []string { return c.snapshotRow(st, s) })
			}, "no snapshots; `understudy snapshot create SERVER` takes one")
	})
}

func (c *cli) snapshotRow(st show.Style, s *cpv1.Snapshot) []string {
	return []string{
		show.ID(s.GetName()), show.ID(s.GetServer()), st.State(trimEnum(s.GetState())),
		enum.Word(s.GetMode()), sizeWord(s.GetSizeBytes()), blocked(s),
		show.Age(c.Now(), s.GetCreateTime().AsTime()), show.Clean(s.GetPoint().GetPosition()),
	}
}
