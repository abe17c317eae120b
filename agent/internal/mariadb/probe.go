package mariadb

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/understudy-db/understudy/agent/internal/untrusted"
	"github.com/understudy-db/understudy/proto/gtid"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Ready says whether MariaDB serves yet: nil when it answered a query. It is the readiness probe of
// mariadb.service for systemd.Manager.SetReady.
func (s *Server) Ready(ctx context.Context, _ string) (progress string, err error) {
	err = s.answers(ctx)
	if denied(err) {
		return "", accessDenied("cannot ask MariaDB whether it serves", err)
	}
	if err != nil {
		return "MariaDB runs and does not answer queries yet",
			fmt.Errorf("MariaDB does not answer: %w", err)
	}
	return "MariaDB answers", nil
}

const unproved = "cannot prove that the server takes writes"

// ProveWritable proves that this server takes writes: a primary commits one row of the agent's own;
// on a replica nothing is written but a file beside the datadir.
func (s *Server) ProveWritable(ctx context.Context) (latency time.Duration, position string,
	err error) {
	const what = unproved
	if err := s.require(ctx, what); err != nil {
		return 0, "", err
	}
	v, err := variables(ctx, s.db, liveVariables()...)
	if err != nil {
		return 0, "", failure(what, err)
	}
	all, err := replications(ctx, s.db)
	if err != nil {
		return 0, "", failure(what, err)
	}
	if fromVariables(v).ReadOnly || len(all) > 0 {
		latency, err = s.proveFilesystem(ctx, v["datadir"])
		return latency, "", err
	}
	latency, position, err = s.proveCommit(ctx)
	return latency, position, failure(what, err)
}

// proveCommit commits a row, and believes it when another session reads it and the binary log has
// it.
func (s *Server) proveCommit(ctx context.Context) (time.Duration, string, error) {
	conn, done, err := s.pinned(ctx)
	if err != nil {
		return 0, "", err
	}
	defer done()
	if err := ensureProbeTable(ctx, conn); err != nil {
		return 0, "", err
	}
	before, err := binlogPosition(ctx, conn)
	if err != nil {
		return 0, "", err
	}
	r, err := one(ctx, conn, "SELECT UTC_TIMESTAMP(6) AS now")
	if err != nil {
		return 0, "", err
	}
	began := time.Now()
	if err := execute(ctx, conn, "REPLACE INTO understudy.probe (id, written_at) VALUES (1, "+
		literal(r["now"])+")"); err != nil {
		return 0, "", err
	}
	latency := time.Since(began)
	wrote := r["now"]
	if r, err = one(ctx, conn, "SELECT @@last_gtid AS gtid"); err != nil {
		return 0, "", err
	}
	return latency, r["gtid"], s.readBack(ctx, wrote, r["gtid"], before)
}

// readBack proves by another session that the row is committed, and that the binary log got to its
// GTID with it.
func (s *Server) readBack(ctx context.Context, wrote, as string, before gtid.Position) error {
	other, done, err := s.pinned(ctx)
	if err != nil {
		return err
	}
	defer done()
	// A later probe may have replaced the row meanwhile.
	row, err := one(ctx, other, "SELECT 1 AS there FROM understudy.probe WHERE id = 1 AND "+
		"written_at >= "+literal(wrote))
	if err != nil {
		return err
	}
	if row["there"] == "" {
		return notWritten("another session does not see the row that was written")
	}
	now, err := binlogPosition(ctx, other)
	if err != nil {
		return err
	}
	at, err := gtid.ParsePosition(as)
	if err != nil {
		return err
	}
	if at.IsEmpty() || before.Contains(at) || !now.Contains(at) {
		return notWritten(fmt.Sprintf("the binary log went from %s to %s without the row that was "+
			"written as %s", display(before), display(now), display(at)))
	}
	return nil
}

func notWritten(why string) error {
	return unsafe(errorsv1.Reason_REASON_MARIADB_SETTING, unproved+": "+why,
		errs.WithHint("remove what keeps the schema understudy out of the binary log "+
			"(binlog_do_db, binlog_ignore_db) from the option files, and restart MariaDB",
			errs.Call("RestartUnit", "unit", Unit)))
}

func binlogPosition(ctx context.Context, q querier) (gtid.Position, error) {
	r, err := one(ctx, q, "SELECT @@global.gtid_binlog_pos AS pos")
	if err != nil {
		return gtid.Position{}, err
	}
	return gtid.ParsePosition(r["pos"])
}

// ensureProbeTable makes the agent's own table once: CREATE ... IF NOT EXISTS alone would be logged
// each time.
func ensureProbeTable(ctx context.Context, q querier) error {
	rows, err := query(ctx, q, "SELECT 1 FROM information_schema.tables WHERE table_schema = "+
		"'understudy' AND table_name = 'probe'")
	if err != nil || len(rows) > 0 {
		return err
	}
	if err := execute(ctx, q, "CREATE DATABASE IF NOT EXISTS understudy"); err != nil {
		return err
	}
	return execute(ctx, q, "CREATE TABLE IF NOT EXISTS understudy.probe"+
		" (id TINYINT UNSIGNED NOT NULL PRIMARY KEY, written_at DATETIME(6) NOT NULL) ENGINE = "+
		"InnoDB")
}

func (s *Server) proveFilesystem(ctx context.Context, datadir string) (time.Duration, error) {
	volume, err := s.volumes.of(ctx, datadir)
	if err != nil {
		return 0, err
	}
	took := make(chan error, 1)
	began := time.Now()
	// A write to a frozen filesystem does not return, and has no deadline.
	go func() { took <- volume.touch() }()
	select {
	case err := <-took:
		return time.Since(began), diskError("cannot write to the volume of the datadir", err)
	case <-ctx.Done():
		return 0, failure("cannot write to the volume of the datadir: it may be frozen", ctx.Err())
	}
}

// touch writes a file of our own on the volume.
func (v Volume) touch() error {
	return v.mark(untrusted.Ours+"/probe", strconv.FormatInt(time.Now().UnixNano(), 10))
}

func diskError(what string, err error) error {
	if errs.NoRoom(err) {
		return unsafe(errorsv1.Reason_REASON_DISK_FULL, what,
			errs.WithHint("free space on it, or grow it"),
			errs.Wrap(err))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
