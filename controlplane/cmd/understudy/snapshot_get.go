package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newSnapshotGet() *cobra.Command {
	return &cobra.Command{
		Use: "get SNAPSHOT", Aliases: []string{"show"},
		Short: "Show one snapshot and what was true at its point",
		Args:  words([]string{"SNAPSHOT"}),
		Long: `Show one snapshot with its consistent point: what was read from the server while
its writes were blocked.`,
		Example: `  understudy snapshot get snap-4f7a0c1d2e3f
  understudy snapshot get snap-4f7a0c1d2e3f -o json | jq -r .snapshot.point.position`,
		ValidArgsFunction: c.complete(c.snapshotIDs),
		RunE: c.do(func(ctx context.Context, args []string) error {
			name, err := resourceName(snapshotKind, args[0])
			if err != nil {
				return err
			}
			return c.call(ctx, func(ctx context.Context, a *api) error {
				answer, err := a.snapshots.GetSnapshot(ctx, &cpv1.GetSnapshotRequest{Name: name})
				if err != nil {
					return err
				}
				return c.print(answer,
					func(st show.Style) string { return snapshotRecord(st, answer.GetSnapshot()) })
			})
		}),
	}
}

func snapshotRecord(st show.Style, s *cpv1.Snapshot) string {
	one := func(text string) []string { return []string{show.Clean(text)} }
	fields := []show.Field{
		{Name: "name", Values: one(show.ID(s.GetName()))},
		{Name: "server", Values: one(show.ID(s.GetServer()))},
		{Name: "state", Values: []string{st.State(trimEnum(s.GetState())),
			show.Clean(s.GetStateReason())}},
		{Name: "mode", Values: one(enum.Word(s.GetMode()))},
		{Name: "size", Values: one(sizeWord(s.GetSizeBytes()))},
		{Name: "volume", Values: one(s.GetVolume())},
		{Name: "provider's id", Values: one(s.GetProviderId())},
		{Name: "zone", Values: one(s.GetZone())},
	}
	fields = append(fields, point(s)...)
	return show.Fields(st, append(fields,
		show.Field{Name: "made", Values: one(stamp(s.GetCreateTime()))},
		show.Field{Name: "etag", Values: one(s.GetEtag())}))
}

// point is what was true at the snapshot's consistent point.
func point(s *cpv1.Snapshot) []show.Field {
	t := s.GetPoint()
	if t == nil {
		return nil
	}
	one := func(text string) []string { return []string{show.Clean(text)} }
	binlog := ""
	if t.GetBinlogFile() != "" {
		binlog = fmt.Sprintf("%s at %d", t.GetBinlogFile(), t.GetBinlogOffset())
	}
	took := fmt.Sprintf("%s, of which the filesystem was frozen for %s",
		show.Duration(s.GetWriteBlock().AsDuration()), show.Duration(s.GetFreeze().AsDuration()))
	return []show.Field{
		{Name: "point in time", Values: one(stamp(t.GetPointTime()))},
		{Name: "writes blocked", Values: one(took)},
		{Name: "GTID", Values: one(t.GetPosition())},
		{Name: "GTID at most", Values: one(t.GetMaxPosition())},
		{Name: "gtid_binlog_pos", Values: one(t.GetBinlogPos())},
		{Name: "gtid_slave_pos", Values: one(t.GetSlavePos())},
		{Name: "gtid_current_pos", Values: one(t.GetCurrentPos())},
		{Name: "binary log", Values: one(binlog)},
		{Name: "source", Values: one(fmt.Sprintf("%s, server_id %d, MariaDB %s",
			enum.Word(t.GetSourceRole()), t.GetServerId(), t.GetServerVersion()))},
		{Name: "filesystem", Values: one(t.GetFilesystem() + " " + t.GetFilesystemUuid())},
		{Name: "datadir", Values: one(t.GetDatadir())},
		{Name: "nonce", Values: one(t.GetNonce())},
	}
}

// stamp is a point in time as users read it, in their own zone; "" for none.
func stamp(t *timestamppb.Timestamp) string {
	if t.GetSeconds() == 0 {
		return ""
	}
	return t.AsTime().Local().Format("2006-01-02 15:04:05 MST")
}
