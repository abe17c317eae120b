package main

import (
	"github.com/spf13/cobra"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newSnapshotList(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.ListSnapshotsRequest{}, &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List snapshots, newest first",
		Long: `List snapshots, newest first. BLOCKED is how long the server's writes were
blocked for it, GTID where a replica that is made from it starts.`,
		Example: `  understudy snapshot list
  understudy snapshot list --of db1 --since 7d
  understudy snapshot list --sort -blocked
  understudy snapshot list -o json | jq -r '.snapshots[0].name'`,
	})
	filters(v, "the name, server, provider's id or reason")
	v.flag("show_deleted", "all", "with failed and deleted snapshots")
	l := list[*cpv1.ListSnapshotsRequest, *cpv1.ListSnapshotsResponse, *cpv1.Snapshot]{
		call: (*api).ListSnapshots, rows: (*cpv1.ListSnapshotsResponse).GetSnapshots,
		empty: "no snapshots; `understudy snapshot create SERVER` takes one",
		columns: func([]*cpv1.Snapshot) []column[*cpv1.Snapshot] {
			return []column[*cpv1.Snapshot]{
				{head: "NAME", path: "name"}, {head: "SERVER", path: "server"},
				{head: "STATE", path: "state"}, {head: "MODE", path: "mode"},
				{head: "SIZE", path: "size_bytes"}, {head: "BLOCKED", path: "write_block"},
				{head: "TAKEN", path: "create_time"}, {head: "GTID", path: "point.position"},
				{head: "PROVIDER-ID", path: "provider_id", wide: true},
				{head: "VOLUME", path: "volume", wide: true},
				{head: "ZONE", path: "zone", wide: true},
				{head: "REASON", path: "state_reason", wide: true},
			}
		}}
	return l.command(v)
}
