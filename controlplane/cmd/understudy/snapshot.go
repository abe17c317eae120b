package main

import (
	"context"

	"github.com/spf13/cobra"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const snapshotLong = `A snapshot is a copy of a server's data volume at one point in time, with what
was true at that point: the GTID position, the binary log and its offset, the
versions, and how long writes were blocked for it.

Any number of replicas can be made from it while the primary has the binary logs
from that point on: --reserve-binlogs says how long it keeps them.`

func newSnapshot(c *cli) *cobra.Command {
	return group("snapshot", "Create, show and delete consistent snapshots", snapshotLong,
		newSnapshotCreate(c), newSnapshotList(c), newSnapshotGet(c), newSnapshotDelete(c))
}

func getSnapshot(ctx context.Context, a *api, name string) (*cpv1.Snapshot, error) {
	answer, err := a.GetSnapshot(ctx, &cpv1.GetSnapshotRequest{Name: name})
	return answer.GetSnapshot(), err
}
