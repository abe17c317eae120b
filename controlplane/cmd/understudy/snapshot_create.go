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

type snapshotCreate struct {
	startFlags
	mode             choice
	quiesce, reserve span
}

func (c *cli) newSnapshotCreate() *cobra.Command {
	f := &snapshotCreate{
		mode:    choice{value: "online", allowed: enum.Words[cpv1.Snapshot_Mode]()},
		quiesce: span{min: time.Second, max: 4 * time.Hour},
		reserve: span{min: time.Minute, max: 7 * 24 * time.Hour},
	}
	cmd := &cobra.Command{
		Use: "create SERVER", Short: "Take a consistent snapshot of a server",
		Args: words([]string{"SERVER"}),
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
		ValidArgsFunction: c.complete(c.serverIDs),
		RunE: c.do(func(ctx context.Context, args []string) error {
			return c.createSnapshot(ctx, f, args[0])
		}),
	}
	flags := cmd.Flags()
	flags.Var(&f.mode, "mode", "how the point is made consistent")
	flags.Var(&f.quiesce, "quiesce-limit",
		"longest time that writes may be blocked, at most 1m, offline 4h (default 10s)")
	flags.Var(&f.reserve, "reserve-binlogs",
		"how long the binary logs from this point on are kept (default 24h)")
	f.add(cmd)
	mustComplete(cmd, "mode", f.mode.allowed)
	return cmd
}

func (c *cli) createSnapshot(ctx context.Context, f *snapshotCreate, text string) error {
	server, err := serverName(text)
	if err != nil {
		return err
	}
	if f.quiesce.value > time.Minute && f.mode.value != "offline" {
		return usageError{message: "--quiesce-limit must be at most 1m with --mode " +
			f.mode.value}
	}
	requestID, err := f.id()
	if err != nil {
		return err
	}
	return c.start(ctx, &f.startFlags, func(ctx context.Context, a *api) (*cpv1.Job, error) {
		answer, err := a.snapshots.CreateSnapshot(ctx, &cpv1.CreateSnapshotRequest{
			Server: server, Mode: enum.Of[cpv1.Snapshot_Mode](f.mode.value),
			QuiesceLimit: f.quiesce.proto(), ReserveBinlogs: f.reserve.proto(),
			RequestId: requestID, ValidateOnly: f.dryRun,
		})
		return answer.GetJob(), err
	}, c.saySnapshot)
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
	if block := blocked(s); block != "" {
		line += ": writes were blocked for " + block
	}
	if gtid := s.GetPoint().GetPosition(); gtid != "" {
		line += ", at GTID " + show.Clean(gtid)
	}
	c.say("%s", line)
}
