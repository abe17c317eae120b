package main

import (
	"context"
	"fmt"
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

// Demo is one run.
type Demo struct {
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
	if err := Down(ctx, cfg); err != nil {
		return err
	}
	s, err := stack.New(stackConfig(cfg))
	if err != nil {
		return err
	}
	d := &Demo{cfg: cfg, stack: s}
	defer func() { err = d.end(ctx, err) }()
	for _, part := range []func(context.Context) error{d.startControlPlane, d.makePrimary,
		d.startLoad, d.takeSnapshot, d.makeReplica, d.stopLoad, d.compare, d.collect} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	d.say("Summary (%.0f s in all)", time.Since(begin).Seconds())
	d.report.Print(os.Stdout)
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
	if err := stopEarlier(cfg); err != nil {
		return err
	}
	s, err := stack.New(stackConfig(cfg))
	if err != nil {
		return err
	}
	return s.Down(ctx)
}

func stackConfig(cfg Config) stack.Config {
	return stack.Config{Bin: cfg.Bin, Name: cfg.Name, Dir: cfg.Dir, Provider: cfg.Provider}
}

func (d *Demo) say(format string, args ...any) {
	fmt.Printf("\n\033[1m▌ "+format+"\033[0m\n", args...)
}

// cli shows a command as a user would type it, and runs it.
func (d *Demo) cli(ctx context.Context, args ...string) error {
	fmt.Printf("$ understudy %s\n", strings.Join(args, " "))
	cmd := d.stack.CLI(ctx, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("understudy %s: %w; the control plane's log is %s",
			strings.Join(args, " "), err, d.stack.LogPath())
	}
	return nil
}

func (d *Demo) startControlPlane(ctx context.Context) error {
	d.say("Starting the control plane on its embedded store")
	if err := d.stack.Start(ctx); err != nil {
		return err
	}
	if err := writePID(d.cfg, d.stack.PID()); err != nil {
		return err
	}
	fmt.Printf("  it serves on %s\n", d.stack.Address())
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
	d.say("Putting sysbench oltp_read_write on it (%d tables, %d threads), and a writer that "+
		"measures each of its commits", loadTables, loadThreads)
	if err := PrepareLoad(ctx, d.cfg.Dir, d.account); err != nil {
		return err
	}
	var err error
	if d.load, err = StartLoad(d.cfg.Dir, d.account); err != nil {
		return err
	}
	d.probe, err = stack.StartWriter(ctx, d.account, 5*time.Millisecond)
	return err
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
	fmt.Printf("  writes were blocked for %.0f ms; the load runs at %s transactions a second\n",
		d.report.Snapshot.WriteBlockMS, d.load.Rate())
	return nil
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
	fmt.Printf("  sysbench: %d transactions, %d errors (%d conflicts between its own threads "+
		"were tried again); the writer: %d commits\n",
		done.Transactions, done.Errors, done.Conflicts, commits)
	return err
}

// compare looks at both servers by hand, past Understudy: it waits until the replica has all, and
// compares each table.
func (d *Demo) compare(ctx context.Context) error {
	d.say("Comparing both servers table by table, with the mariadb client on each host")
	position, err := d.stack.SQL(ctx, primary, "SELECT @@gtid_binlog_pos")
	if err != nil {
		return err
	}
	reached, err := d.stack.SQL(ctx, replica, fmt.Sprintf("SELECT MASTER_GTID_WAIT('%s', 60)",
		position))
	if err != nil {
		return err
	}
	if reached != "0" {
		return fmt.Errorf("the replica did not reach %s within 60 s", position)
	}
	sums := map[string]map[string]string{}
	for _, host := range []string{primary, replica} {
		if sums[host], err = d.checksums(ctx, host); err != nil {
			return err
		}
	}
	for table, sum := range sums[primary] {
		d.report.Verify.Tables++
		if sums[replica][table] != sum {
			d.report.Verify.Mismatches = append(d.report.Verify.Mismatches, table)
		}
		fmt.Printf("  %-18s primary %-12s replica %s\n", table, sum, sums[replica][table])
	}
	d.report.Primary.GTID = position
	d.report.Replica.GTID, err = d.stack.SQL(ctx, replica, "SELECT @@gtid_slave_pos")
	return err
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
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err != nil {
		saveLog(d.stack.LogPath(), d.cfg)
	}
	if downErr := d.stack.Down(ctx); err == nil {
		err = downErr
	}
	return err
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
