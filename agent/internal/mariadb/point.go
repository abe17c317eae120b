package mariadb

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/understudy-db/understudy/agent/internal/untrusted"
	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/gtid"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Source is what is known of a server before its consistent point is reached.
type Source struct {
	// Point lacks the positions, the binary log, the nonce and the time.
	consistentpoint.Point
	FlushLogAtTrxCommit    int64
	SyncBinlog             int64
	NonTransactionalTables []string
	BinlogBasename         string
}

// PointSession is the session that makes a consistent point. The locks end with it.
type PointSession struct {
	server     *Server
	conn       *sql.Conn
	done       func()
	connection string
	lockWait   time.Duration
	// Volume is the one that has the datadir.
	Volume Volume
	// before is what cannot change under the lock.
	before Source
}

// OpenPointSession opens the session. Its statements are written to no log: a log may be on the
// filesystem that will be frozen.
func (s *Server) OpenPointSession(ctx context.Context,
	lockWait time.Duration) (*PointSession, error) {
	const what = "cannot open the session that quiesces"
	if err := s.require(ctx, what); err != nil {
		return nil, err
	}
	conn, done, err := s.pinned(ctx)
	if err != nil {
		return nil, failure(what, err)
	}
	p := &PointSession{server: s, conn: conn, done: done, lockWait: lockWait}
	if err := p.prepare(ctx, lockWait); err != nil {
		done()
		return nil, failure(what, err)
	}
	return p, nil
}

func (p *PointSession) prepare(ctx context.Context, lockWait time.Duration) error {
	seconds := max(1, int(lockWait.Seconds()))
	for _, statement := range append(quietly(), "SET SESSION max_statement_time = 0",
		fmt.Sprintf("SET SESSION lock_wait_timeout = %d", seconds),
		"SET SESSION wait_timeout = 3600") {
		if err := execute(ctx, p.conn, statement); err != nil {
			return err
		}
	}
	r, err := one(ctx, p.conn, "SELECT CONNECTION_ID() AS id")
	if err != nil {
		return err
	}
	p.connection = r["id"]
	return p.readBefore(ctx)
}

func (p *PointSession) readBefore(ctx context.Context) error {
	v, err := variables(ctx, p.conn, append(liveVariables(), "log_bin_basename")...)
	if err != nil {
		return err
	}
	live := fromVariables(v)
	all, err := replications(ctx, p.conn)
	if err != nil {
		return err
	}
	p.before = Source{Point: consistentpoint.Point{Replica: len(all) > 0,
		ServerVersion: live.Version, ServerID: uint32(live.ServerID),
		DomainID: uint32(live.DomainID), Datadir: filepath.Clean(v["datadir"])},
		FlushLogAtTrxCommit: live.FlushLogAtTrxCommit, SyncBinlog: live.SyncBinlog,
		BinlogBasename: v["log_bin_basename"]}
	if !live.LogBin && !p.before.Replica {
		return binlogOff("take a consistent point of a primary")
	}
	if p.before.NonTransactionalTables, _, err = tornTables(ctx, p.conn); err != nil {
		return err
	}
	version, err := datadirVersion(v["datadir"])
	if err != nil {
		return err
	}
	p.before.DatadirVersion = version.String()
	if p.Volume, err = p.server.volumes.of(ctx, v["datadir"]); err != nil {
		return err
	}
	p.before.FilesystemUUID, p.before.Filesystem, p.before.DatadirOnVolume = p.Volume.UUID,
		p.Volume.Type, p.Volume.Path
	if err := complete(ctx, p.conn, p.Volume); err != nil {
		return err
	}
	p.before.Contract, err = contractOf(ctx, p.conn)
	return err
}

// Before is what is known before the point is reached.
func (p *PointSession) Before() Source { return p.before }

// Stages are the steps to the lock, in order. The last but one blocks DDL, the last one commits.
func Stages() []string { return []string{"START", "FLUSH", "BLOCK_DDL", "BLOCK_COMMIT"} }

// Stage takes one step. A lock that is not acquired in time is QUIESCE_NOT_ACQUIRED; the caller
// then gives back the earlier ones.
func (p *PointSession) Stage(ctx context.Context, stage string) error {
	err := execute(ctx, p.conn, "BACKUP STAGE "+stage)
	if errno(err) == errLockWaitTimeout {
		return unsafe(errorsv1.Reason_REASON_QUIESCE_NOT_ACQUIRED,
			"cannot reach a consistent point: BACKUP STAGE "+stage+" was not acquired in time",
			errs.WithHint("wait for the end of the long DDL, LOCK TABLES or other backup (SHOW "+
				"PROCESSLIST lists it), or allow a longer lock_wait"), errs.Wrap(err),
			errs.Meta("stage", stage))
	}
	return failure("cannot reach a consistent point: BACKUP STAGE "+stage, err)
}

// Read reads the point; the appliers of a replica must be stopped. Under the lock nothing moves
// the positions.
func (p *PointSession) Read(ctx context.Context) (consistentpoint.Point, error) {
	point := p.before.Point
	if err := p.appliersStopped(ctx); err != nil {
		return point, err
	}
	at, err := p.positions(ctx)
	if err != nil {
		return point, failure("cannot read the position", err)
	}
	r, err := one(ctx, p.conn, "SHOW MASTER STATUS")
	if err != nil {
		return point, failure("cannot read the position", err)
	}
	point.BinlogPos, point.SlavePos, point.CurrentPos, point.BinlogState = at.Binlog, at.Slave,
		at.Current, at.BinlogState
	point.BinlogFile, point.BinlogOffset, point.At = r["file"], r.number("position"),
		time.Now().UTC()
	return point, nil
}

// PositionsOf are the positions of a point.
func PositionsOf(p consistentpoint.Point) Positions {
	return Positions{Binlog: p.BinlogPos, Slave: p.SlavePos, Current: p.CurrentPos,
		BinlogState: p.BinlogState}
}

func (p *PointSession) positions(ctx context.Context) (Positions, error) {
	r, err := one(ctx, p.conn, "SELECT @@global.gtid_binlog_pos AS gtid_binlog_pos, "+
		"@@global.gtid_slave_pos AS gtid_slave_pos,"+
		" @@global.gtid_current_pos AS gtid_current_pos, @@global.gtid_binlog_state AS "+
		"gtid_binlog_state")
	return positions(r), err
}

// Positions are the positions now, read without any lock.
func (p *PointSession) Positions(ctx context.Context) (Positions, error) {
	now, err := p.positions(ctx)
	return now, failure("cannot read the position", err)
}

// Unbroken proves that the lock was never given up since the point: the same session answers, and
// nothing was written.
func (p *PointSession) Unbroken(ctx context.Context, since consistentpoint.Point) error {
	r, err := one(ctx, p.conn, "SELECT CONNECTION_ID() AS id")
	if err != nil {
		return fmt.Errorf("the session with the lock is gone: %w", err)
	}
	if r["id"] != p.connection {
		return fmt.Errorf(
			"the session with the lock is gone: connection %s answers instead of %s", r["id"],
			p.connection)
	}
	now, err := p.positions(ctx)
	if err != nil {
		return fmt.Errorf("cannot read the position again: %w", err)
	}
	if now != PositionsOf(since) {
		return fmt.Errorf("the position moved from %s to %s meanwhile", since.BinlogPos, now.Binlog)
	}
	return nil
}

// End gives the lock back. A session that does not take the statement is killed: MariaDB notices
// the end of a connection only when the statement that waits in it is over.
func (p *PointSession) End(ctx context.Context) error {
	soon, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	err := execute(soon, p.conn, "BACKUP STAGE END")
	if err == nil || errno(err) != 0 {
		return nil // given back, or there was nothing to give back
	}
	if killErr := execute(ctx, p.server.db, "KILL CONNECTION "+p.connection); killErr != nil &&
		errno(killErr) == 0 {
		return fmt.Errorf("cannot end the session with the lock: %w, after: %w", killErr, err)
	}
	return nil
}

// Close ends the session, and with it any lock.
func (p *PointSession) Close() { p.done() }

// AwaitAnswer waits until MariaDB answers, or ctx is over.
func (s *Server) AwaitAnswer(ctx context.Context) error {
	err := poll(ctx, func() (bool, error) {
		err := s.answers(ctx)
		if denied(err) {
			return false, err
		}
		return err == nil, nil
	})
	if err != nil {
		return down("cannot wait for MariaDB", err)
	}
	return nil
}

// mostState bounds the file of a binary log's position: 10,000 servers in 100 domains.
const mostState = 64 << 20

// PositionAtRest is the position that a cleanly stopped server left beside its binary log.
func PositionAtRest(binlogBasename string) (gtid.Position, string, error) {
	text, err := untrusted.ReadBelow(filepath.Dir(binlogBasename),
		filepath.Base(binlogBasename)+".state", mostState)
	if err != nil {
		return gtid.Position{}, "",
			fmt.Errorf("cannot read the position of the stopped MariaDB: %w", err)
	}
	state := strings.Join(strings.Fields(string(text)), ",")
	at, err := gtid.ParseState(state)
	if err != nil {
		return gtid.Position{}, "",
			fmt.Errorf("cannot read the position of the stopped MariaDB: %w", err)
	}
	return at, state, nil
}

// WriteNonce writes the nonce onto the volume.
func (v Volume) WriteNonce(nonce string) error {
	if err := v.mark(untrusted.NoncePath, nonce); err != nil {
		return diskError("cannot write the nonce", err)
	}
	return nil
}

// Sync brings the filesystem to the disk, so that a freeze finds little to do.
func (v Volume) Sync() error {
	volume, err := untrusted.Open(v.Mount)
	if err != nil {
		return fmt.Errorf("cannot sync %s: %w", v.Mount, err)
	}
	defer volume.Close()
	return volume.SyncFilesystem()
}
