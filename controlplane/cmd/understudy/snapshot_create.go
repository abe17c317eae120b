package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

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
		mode:    choice{value: "online", allowed: []string{"online", "offline", "crash"}},
		quiesce: span{min: 100 * time.Millisecond, max: 4 * time.Hour},
		reserve: span{min: time.Minute, max: 90 * 24 * time.Hour},
	}
	cmd := &cobra.Command{
		Use: "create SERVER", Short: "Take a consistent snapshot of a server",
		Args: words([]string{"SERVER"}),
		Long: `Take a consistent snapshot of a server's data volume, and record what was true at its point.

  online   the server goes on serving; its commits are blocked for a moment, for --quiesce-limit at the very most, whatever happens to
           the control plane or the connection meanwhile: the host itself ends the hold
  offline  MariaDB is stopped cleanly and started again, when --quiesce-limit is over at the latest: where people copy the volume (see
           "provider tasks"), that is the downtime that you allow
  crash    no lock at all; allowed only with innodb_flush_log_at_trx_commit=1, sync_binlog=1 and one volume

When the lock does not come within the limit, because of a long transaction or DDL, the job gives up and the server goes on as before.`,
		Example: `  understudy snapshot create db1
  understudy snapshot create db1 --quiesce-limit 2s
  understudy snapshot create db1 --mode offline --quiesce-limit 30m --reserve-binlogs 7d
  understudy snapshot create db1 -o json | tail -1 | jq -r .subject`,
		ValidArgsFunction: c.complete(c.serverIDs),
		RunE: c.do(func(ctx context.Context,
			args []string) error {
			return c.createSnapshot(ctx, f, args[0])
		}),
	}
	flags := cmd.Flags()
	flags.Var(&f.mode, "mode", "how the point is made consistent")
	flags.Var(&f.quiesce, "quiesce-limit",
		"longest time that writes may be blocked, at most 1m, offline 4h; 10s when not given")
	flags.Var(&f.reserve, "reserve-binlogs",
		"how long binary logs are kept for replicas made from it; 24h when not given")
	f.add(cmd)
	mustComplete(cmd, "mode", f.mode.allowed)
	return cmd
}

func (f *snapshotCreate) build(server string) (*cpv1.CreateSnapshotRequest, error) {
	name, err := serverName(server)
	if err != nil {
		return nil, err
	}
	if f.quiesce.value > time.Minute && f.mode.value != "offline" {
		return nil,
			usageError{message: "--quiesce-limit is more than 1m, which is for --mode offline alone",
				hint: "say at most 1m, or --mode offline"}
	}
	requestID, err := f.request()
	if err != nil {
		return nil, err
	}
	req := &cpv1.CreateSnapshotRequest{Server: name, RequestId: requestID, ValidateOnly: f.dryRun,
		Mode: enum.Of[cpv1.Snapshot_Mode](f.mode.value)}
	if f.quiesce.value > 0 {
		req.QuiesceLimit = durationpb.New(f.quiesce.value)
	}
	if f.reserve.value > 0 {
		req.ReserveBinlogs = durationpb.New(f.reserve.value)
	}
	return req, nil
}

func (c *cli) createSnapshot(ctx context.Context, f *snapshotCreate, server string) error {
	req, err := f.build(server)
	if err != nil {
		return err
	}
	return c.call(ctx, func(ctx context.Context, a *api) error {
		answer, err := a.snapshots.CreateSnapshot(ctx, req)
		if err != nil {
			return lost(err, req.GetRequestId())
		}
		if f.dryRun {
			return c.plan(answer.GetJob())
		}
		return c.finish(ctx, a, answer.GetJob(), f.waitFlags, succeeded,
			func(ctx context.Context, job *cpv1.Job) { c.saySnapshot(ctx, a, job) })
	})
}

// saySnapshot tells in a line what became of the snapshot that a job took.
func (c *cli) saySnapshot(ctx context.Context, a *api, job *cpv1.Job) {
	if !strings.HasPrefix(job.GetSubject(), snapshotKind+"/") {
		return
	}
	s, err := getSnapshot(ctx, a, job.GetSubject())
	if err != nil {
		return // the job's end has said enough
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
