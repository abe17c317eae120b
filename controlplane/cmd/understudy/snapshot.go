package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const snapshotLong = `A snapshot is a copy of a server's data volume at one point in time, with what
was true at that point: the GTID position, the binary log and its offset, the
versions, and how long writes were blocked for it.

Any number of replicas can be made from it while the primary has the binary logs
from that point on: --reserve-binlogs says how long it keeps them.`

func (c *cli) newSnapshot() *cobra.Command {
	return c.group("snapshot", "Create, show and delete consistent snapshots", snapshotLong,
		c.newSnapshotCreate(), c.newSnapshotList(), c.newSnapshotGet(), c.newSnapshotDelete())
}

func getSnapshot(ctx context.Context, a *api, name string) (*cpv1.Snapshot, error) {
	answer, err := a.snapshots.GetSnapshot(ctx, &cpv1.GetSnapshotRequest{Name: name})
	return answer.GetSnapshot(), err
}

// blocked is how long writes were blocked; "" while that is not known.
func blocked(s *cpv1.Snapshot) string {
	if s.GetWriteBlock() == nil {
		return ""
	}
	return show.Duration(s.GetWriteBlock().AsDuration())
}

func sizeWord(bytes int64) string {
	if bytes == 0 {
		return ""
	}
	return show.Bytes(bytes)
}
