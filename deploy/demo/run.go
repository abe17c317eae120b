package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/deploy/stack"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// Config is what the demo's flags say.
type Config struct {
	Bin, Dir, Name, Provider string
	Keep                     bool
	Report                   string
}

const (
	primary      = "primary"
	replica      = "replica"
	primaryImage = "trixie"
	replicaImage = "trixie-masked"
)

// compareLimit is for the replica to have all that the primary has once the load has ended.
const compareLimit = 5 * time.Minute

// Demo is one run.
type Demo struct {
	screen
	cfg     Config
	stack   *stack.Stack
	conn    *grpc.ClientConn
	account stack.Account
	load    *Load
	probe   *stack.Writer
	report  Report
}

// Run runs the demo and removes everything, unless it is to be kept.
func Run(ctx context.Context, cfg Config) (err error) {
	begin := time.Now()
	out := stdout()
	err = out.slow("removing what an earlier run left", func() error { return Down(ctx, cfg) })
	if err != nil {
		return err
	}
	s, err := stack.New(stackConfig(cfg))
	if err != nil {
		return err
	}
	d := &Demo{screen: out, cfg: cfg, stack: s}
	defer func() { err = d.end(ctx, err) }()
	for _, part := range []func(context.Context) error{d.startControlPlane, d.makePrimary,
		d.startLoad, d.takeSnapshot, d.makeReplica, d.stopLoad, d.compare, d.collect} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	d.say("Summary (%.0f s in all)", time.Since(begin).Seconds())
	d.report.Print(d.out)
	if cfg.Report != "" {
		if err := d.report.Write(cfg.Report); err != nil {
			return err
		}
	}
	if broken := d.report.Broken(); len(broken) > 0 {
		return fmt.Errorf("not as promised: %s", strings.Join(broken, "; "))
	}
	return nil
}

// Down removes what an earlier run left.
func Down(ctx context.Context, cfg Config) error {
	s, err := stack.New(stackConfig(cfg))
	if err != nil {
		return err
	}
	return s.Down(ctx)
}

func stackConfig(cfg Config) stack.Config {
	return stack.Config{Bin: cfg.Bin, Name: cfg.Name, Dir: cfg.Dir, Provider: cfg.Provider}
}

// cli shows a command as a user would type it, and runs it.
func (d *Demo) cli(ctx context.Context, args ...string) error {
	d.printf("$ understudy %s\n", strings.Join(args, " "))
	cmd := d.stack.CLI(ctx, args...)
	cmd.Stdout, cmd.Stderr = d.forPrograms(), os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("understudy %s: %w; the control plane's log is %s",
			strings.Join(args, " "), err, d.stack.LogPath())
	}
	return nil
}

func (d *Demo) startControlPlane(ctx context.Context) error {
	d.say("Starting the control plane on its embedded store")
	if err := d.slow("it is starting", func() error { return d.stack.Start(ctx) }); err != nil {
		return err
	}
	d.printf("  it serves on %s\n", d.stack.Address())
	var err error
	d.conn, err = d.stack.Dial()
	return err
}

func (d *Demo) makePrimary(ctx context.Context) error {
	d.say("Making a primary on a real host, with a data volume of its own")
	if err := d.cli(ctx, "server", "create", primary, "--image", primaryImage); err != nil {
		return err
	}
	server, err := d.server(ctx, primary)
	if err != nil {
		return err
	}
	d.account, err = d.stack.NewAccount(ctx, primary, server.GetAddress(), "sbtest")
	return err
}

func (d *Demo) startLoad(ctx context.Context) error {
	d.say("Putting sysbench oltp_read_write on it (%d tables, %d threads, at most %d transactions "+
		"a second), and a writer that measures each of its commits", loadTables, loadThreads,
		loadRate)
	err := d.slow("sysbench is making its tables",
		func() error { return PrepareLoad(ctx, d.cfg.Dir, d.account) })
	if err != nil {
		return err
	}
	if d.load, err = StartLoad(d.cfg.Dir, d.account); err != nil {
		return err
	}
	if d.probe, err = stack.StartWriter(ctx, d.account, 5*time.Millisecond); err != nil {
		return err
	}
	return d.showRate(ctx)
}

// showRate waits for the load's first report: before it the primary may be idle still.
func (d *Demo) showRate(ctx context.Context) error {
	return d.slow("the load is starting", func() error {
		rate, err := d.load.Rate(ctx)
		if err == nil {
			d.printf("  the load runs at %.0f transactions a second\n", rate)
		}
		return err
	})
}

func (d *Demo) takeSnapshot(ctx context.Context) error {
	d.say("Taking an online consistent snapshot while the load goes on")
	d.probe.Reset()
	if err := d.cli(ctx, "snapshot", "create", primary, "--mode", "online"); err != nil {
		return err
	}
	d.report.Snapshot.MaxCommitLatencyMS = millis(d.probe.Longest())
	snapshots, err := cpv1.NewSnapshotServiceClient(d.conn).ListSnapshots(ctx,
		&cpv1.ListSnapshotsRequest{})
	if err != nil {
		return err
	}
	if len(snapshots.GetSnapshots()) != 1 {
		return fmt.Errorf("expected one snapshot, found %d", len(snapshots.GetSnapshots()))
	}
	s := snapshots.GetSnapshots()[0]
	d.report.Snapshot.Mode = strings.TrimPrefix(s.GetMode().String(), "MODE_")
	d.report.Snapshot.GTID = s.GetPoint().GetPosition()
	d.report.Snapshot.WriteBlockMS = millis(s.GetWriteBlock().AsDuration())
	d.printf("  writes were blocked for %.0f ms\n", d.report.Snapshot.WriteBlockMS)
	return d.showRate(ctx)
}

func (d *Demo) makeReplica(ctx context.Context) error {
	d.say("Making a replica from it, on a host whose mariadb.service is masked and whose default " +
		"data volume has to go")
	snapshots, err := cpv1.NewSnapshotServiceClient(d.conn).ListSnapshots(ctx,
		&cpv1.ListSnapshotsRequest{})
	if err != nil {
		return err
	}
	id := strings.TrimPrefix(snapshots.GetSnapshots()[0].GetName(), "snapshots/")
	return d.cli(ctx, "replica", "create", replica, "--from", id, "--image", replicaImage,
		"--verify", "full")
}

func (d *Demo) stopLoad(context.Context) error {
	d.say("Stopping the load")
	done, err := d.load.Stop()
	d.load = nil
	if err != nil {
		return err
	}
	d.report.Load.Transactions, d.report.Load.Errors = done.Transactions, done.Errors
	commits, err := d.probe.Stop()
	d.probe = nil
	d.printf("  sysbench: %d transactions, %d errors (%d conflicts between its own threads "+
		"were tried again); the writer: %d commits\n",
		done.Transactions, done.Errors, done.Conflicts, commits)
	return err
}

// compare looks at both servers by hand, past Understudy. A transaction may be on its way after its
// client has gone, so the tables count only when both servers were at one position all the time.
func (d *Demo) compare(ctx context.Context) error {
	d.say("Comparing both servers table by table, with the mariadb client on each host")
	var sums map[string]map[string]string
	err := d.slow("the replica is catching up, and tables are read", func() error {
		ctx, cancel := context.WithTimeout(ctx, compareLimit)
		defer cancel()
		for same := false; !same; {
			var err error
			if sums, same, err = d.compareOnce(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w (the primary was at %s, the replica at %s)", err,
			d.report.Primary.GTID, d.report.Replica.GTID)
	}
	for _, table := range slices.Sorted(maps.Keys(sums[primary])) {
		d.report.Verify.Tables++
		if sums[replica][table] != sums[primary][table] {
			d.report.Verify.Mismatches = append(d.report.Verify.Mismatches, table)
		}
		d.printf("  %-18s primary %-12s replica %s\n", table, sums[primary][table],
			sums[replica][table])
	}
	return nil
}

// compareOnce says whether the checksums are those of one position.
func (d *Demo) compareOnce(ctx context.Context) (sums map[string]map[string]string, same bool,
	err error) {
	position, err := d.stack.SQL(ctx, primary, "SELECT @@gtid_binlog_pos")
	if err != nil {
		return nil, false, err
	}
	if _, err = d.stack.SQL(ctx, replica, fmt.Sprintf("SELECT MASTER_GTID_WAIT('%s', 5)",
		position)); err != nil {
		return nil, false, err
	}
	sums = map[string]map[string]string{}
	for _, host := range []string{primary, replica} {
		if sums[host], err = d.checksums(ctx, host); err != nil {
			return nil, false, err
		}
	}
	if d.report.Primary.GTID, err = d.stack.SQL(ctx, primary,
		"SELECT @@gtid_binlog_pos"); err != nil {
		return nil, false, err
	}
	d.report.Replica.GTID, err = d.stack.SQL(ctx, replica, "SELECT @@gtid_slave_pos")
	same = d.report.Primary.GTID == position && d.report.Replica.GTID == position
	return sums, same, err
}

func (d *Demo) checksums(ctx context.Context, host string) (map[string]string, error) {
	tables := []string{"sbtest.probe"}
	for i := range loadTables {
		tables = append(tables, fmt.Sprintf("sbtest.sbtest%d", i+1))
	}
	out, err := d.stack.SQL(ctx, host, "CHECKSUM TABLE "+strings.Join(tables, ", ")+" EXTENDED")
	sums := map[string]string{}
	for line := range strings.Lines(out) {
		if table, sum, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			sums[table] = sum
		}
	}
	return sums, err
}

// collect fills the rest of the report from the control plane and the replica's journal.
func (d *Demo) collect(ctx context.Context) error {
	for name, fill := range map[string]func(*cpv1.Server){
		primary: func(s *cpv1.Server) {
			d.report.Primary.Name, d.report.Primary.Version = primary,
				s.GetMariadbVersion()
		},
		replica: func(s *cpv1.Server) {
			d.report.Replica.Name, d.report.Replica.Version = replica, s.GetMariadbVersion()
			d.report.Replica.State = strings.TrimPrefix(s.GetState().String(), "STATE_")
			d.report.Verify.Level = enum.Word(s.GetVerified().GetLevel())
		},
	} {
		server, err := d.server(ctx, name)
		if err != nil {
			return err
		}
		fill(server)
	}
	if _, err := d.stack.Exec(ctx, replica, "journalctl", "--sync"); err != nil {
		return err
	}
	starts, err := d.stack.Exec(ctx, replica, "journalctl", "--output=json", "UNIT=mariadb.service",
		"MESSAGE_ID=39f53479d3a045ac8e11786248231fbf")
	if err != nil {
		return err
	}
	d.report.Replica.MariaDBDStarts = len(strings.FieldsFunc(starts,
		func(r rune) bool { return r == '\n' }))
	return d.collectSteps(ctx)
}

func (d *Demo) collectSteps(ctx context.Context) error {
	jobs := cpv1.NewJobServiceClient(d.conn)
	list, err := jobs.ListJobs(ctx, &cpv1.ListJobsRequest{Subject: "servers/" + replica})
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list.GetJobs(),
		func(j *cpv1.Job) bool { return j.GetKind() == cpv1.Job_KIND_CREATE_REPLICA })
	if i < 0 {
		return fmt.Errorf("the control plane has no job that made %s", replica)
	}
	job, err := jobs.GetJob(ctx, &cpv1.GetJobRequest{Name: list.GetJobs()[i].GetName()})
	if err != nil {
		return err
	}
	for _, s := range job.GetJob().GetSteps() {
		d.report.Replica.Steps = append(d.report.Replica.Steps, ReportStep{
			Name: s.GetName(), State: strings.TrimPrefix(s.GetState().String(), "STATE_"),
			Attempts:   s.GetAttempts(),
			DurationMS: s.GetDuration().AsDuration().Milliseconds(),
		})
	}
	d.report.Replica.TotalMS = job.GetJob().GetEndTime().AsTime().Sub(
		job.GetJob().GetStartTime().AsTime()).Milliseconds()
	return nil
}

func (d *Demo) server(ctx context.Context, name string) (*cpv1.Server, error) {
	answer, err := cpv1.NewServerServiceClient(d.conn).GetServer(ctx,
		&cpv1.GetServerRequest{Name: "servers/" + name})
	return answer.GetServer(), err
}

// end stops what runs, and removes the lab or says how to play with it.
func (d *Demo) end(ctx context.Context, err error) error {
	if d.load != nil {
		_, _ = d.load.Stop()
	}
	if d.probe != nil {
		_, _ = d.probe.Stop()
	}
	if d.cfg.Keep {
		d.explain(ctx)
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Minute)
	defer cancel()
	if err != nil {
		saveLog(d.stack.LogPath(), d.cfg)
	}
	downErr := d.slow("removing the hosts", func() error { return d.stack.Down(ctx) })
	if err == nil {
		err = downErr
	}
	return err
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
