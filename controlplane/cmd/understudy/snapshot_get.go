package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newSnapshotGet(c *cli) *cobra.Command {
	return answer(newVerb(c, &cpv1.GetSnapshotRequest{}, &cobra.Command{
		Use: "get SNAPSHOT", Aliases: []string{"show"},
		Short: "Show one snapshot and what was true at its point",
		Long: `Show one snapshot with its consistent point: what was read from the server while
its writes were blocked.`,
		Example: `  understudy snapshot get snap-4f7a0c1d2e3f
  understudy snapshot get snap-4f7a0c1d2e3f -o json | jq -r .snapshot.point.position`,
	}, "name"), (*api).GetSnapshot, func(st show.Style, answer *cpv1.GetSnapshotResponse) string {
		return record(st, answer.GetSnapshot(), snapshotFacts())
	})
}

func snapshotFacts() []column[*cpv1.Snapshot] {
	return []column[*cpv1.Snapshot]{
		{head: "name", path: "name"}, {head: "server", path: "server"},
		{head: "state", path: "state"}, {path: "state_reason"}, {head: "mode", path: "mode"},
		{head: "size", path: "size_bytes"}, {head: "volume", path: "volume"},
		{head: "provider's id", path: "provider_id"}, {head: "zone", path: "zone"},
		{head: "point in time", path: "point.point_time"},
		{head: "writes blocked", text: ofPoint(
			func(s *cpv1.Snapshot, _ *cpv1.ConsistentPoint) string {
				return fmt.Sprintf("%s, of which the filesystem was frozen for %s",
					show.Duration(s.GetWriteBlock().AsDuration()),
					show.Duration(s.GetFreeze().AsDuration()))
			})},
		{head: "GTID", path: "point.position"}, {head: "GTID at most", path: "point.max_position"},
		{head: "gtid_binlog_pos", path: "point.binlog_pos"},
		{head: "gtid_slave_pos", path: "point.slave_pos"},
		{head: "gtid_current_pos", path: "point.current_pos"},
		{head: "binary log", text: ofPoint(func(_ *cpv1.Snapshot, p *cpv1.ConsistentPoint) string {
			if p.GetBinlogFile() == "" {
				return ""
			}
			return fmt.Sprintf("%s at %d", p.GetBinlogFile(), p.GetBinlogOffset())
		})},
		{head: "source", text: ofPoint(func(_ *cpv1.Snapshot, p *cpv1.ConsistentPoint) string {
			return fmt.Sprintf("%s, server_id %d, MariaDB %s", enum.Word(p.GetSourceRole()),
				p.GetServerId(), p.GetServerVersion())
		})},
		{head: "filesystem", text: ofPoint(func(_ *cpv1.Snapshot, p *cpv1.ConsistentPoint) string {
			return p.GetFilesystem() + " " + p.GetFilesystemUuid()
		})},
		{head: "datadir", path: "point.datadir"}, {head: "nonce", path: "point.nonce"},
		{head: "made", path: "create_time"}, {head: "etag", path: "etag"},
	}
}

// ofPoint is a fact about the consistent point, which a snapshot that failed does not have.
func ofPoint(text func(*cpv1.Snapshot, *cpv1.ConsistentPoint) string) func(*cpv1.Snapshot) string {
	return func(s *cpv1.Snapshot) string {
		if s.GetPoint() == nil {
			return ""
		}
		return text(s, s.GetPoint())
	}
}
