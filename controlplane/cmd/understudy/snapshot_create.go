package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newSnapshotCreate(c *cli) *cobra.Command {
	req := &cpv1.CreateSnapshotRequest{Mode: cpv1.Snapshot_MODE_ONLINE}
	v := newVerb(c, req, &cobra.Command{
		Use: "create SERVER", Short: "Take a consistent snapshot of a server",
		Long: `Take a consistent snapshot of a server's data volume, and record what was true
at its point.

  online   the server goes on serving: its commits are blocked for a moment, never longer than
           --quiesce-limit, because the host itself ends the block when the limit is over
  offline  MariaDB is stopped cleanly and started again, at the latest when --quiesce-limit is over;
           with the provider "manual" that is the downtime that you allow
  crash    no lock: allowed only with innodb_flush_log_at_trx_commit=1, sync_binlog=1 and one volume

When a long transaction or DDL keeps the lock from being taken within the limit,
the job fails and the server goes on as before.`,
		Example: `  understudy snapshot create db1
  understudy snapshot create db1 --quiesce-limit 2s --reserve-binlogs 7d
  understudy snapshot create db1 --mode offline --quiesce-limit 30m
  understudy snapshot create db1 -o json | tail -1 | jq -r .subject`,
	}, "server")
	v.flag("mode", "mode", "how the point is made consistent", "online")
	v.flag("quiesce_limit", "quiesce-limit",
		"longest time that writes may be blocked, at most 1m unless offline")
	v.flag("reserve_binlogs", "reserve-binlogs",
		"how long the binary logs from this point on are kept")
	v.checks = append(v.checks, func() error {
		if req.GetQuiesceLimit().AsDuration() > time.Minute &&
			req.GetMode() != cpv1.Snapshot_MODE_OFFLINE {
			return usageError{message: "--quiesce-limit must be at most 1m with --mode " +
				enum.Word(req.GetMode())}
		}
		return nil
	})
	return jobVerb(v, (*api).CreateSnapshot, jobParts{news: c.saySnapshot})
}

// saySnapshot prints in a line what became of the snapshot that a job took; when that cannot be
// read, the job's end has said enough.
func (c *cli) saySnapshot(ctx context.Context, a *api, job *cpv1.Job) {
	if !strings.HasPrefix(job.GetSubject(), snapshotKind+"/") {
		return
	}
	s, err := getSnapshot(ctx, a, job.GetSubject())
	if err != nil {
		return
	}
	line := fmt.Sprintf("%s is %s", show.ID(s.GetName()), trimEnum(s.GetState()))
	if s.GetWriteBlock() != nil {
		line += ": writes were blocked for " + show.Duration(s.GetWriteBlock().AsDuration())
	}
	if gtid := s.GetPoint().GetPosition(); gtid != "" {
		line += ", at GTID " + show.Clean(gtid)
	}
	c.say("%s", line)
}
