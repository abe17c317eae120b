package mariadb

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/proto/gtid"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Testimony is what is true at a consistent point.
type Testimony struct {
	Role, ServerVersion    string
	ServerID, DomainID     int64
	Gtid                   Positions
	BinlogFile             string
	BinlogOffset           int64
	FilesystemUUID         string
	Filesystem             string
	Datadir                string
	DatadirOnVolume        string
	DatadirVersion         string
	Nonce                  string
	At                     time.Time
	FlushLogAtTrxCommit    int64
	SyncBinlog             int64
	NonTransactionalTables []string
	RunningReplication     bool
	BinlogBasename         string
}

// Point is one session that makes a consistent point and holds it. It belongs to the process that
// holds: its end is the lock's end.
type Point struct {
	server     *Server
	conn       *sql.Conn
	done       func()
	connection string
	lockWait   time.Duration
	// Volume is what the datadir lies on.
	Volume Volume
	// before is what cannot change under the lock.
	before Testimony
}

// OpenPoint opens the session. Statements in it are written to no log: a log may lie on the
// filesystem that will be frozen.
func (s *Server) OpenPoint(ctx context.Context, lockWait time.Duration) (*Point, error) {
	const what = "cannot open the session of a hold"
	if err := s.require(ctx, what); err != nil {
		return nil, err
	}
	conn, done, err := s.pinned(ctx)
	if err != nil {
		return nil, failure(what, err)
	}
	p := &Point{server: s, conn: conn, done: done, lockWait: lockWait}
	if err := p.prepare(ctx, lockWait); err != nil {
		done()
		return nil, failure(what, err)
	}
	return p, nil
}

func (p *Point) prepare(ctx context.Context, lockWait time.Duration) error {
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

func (p *Point) readBefore(ctx context.Context) error {
	v, err := variables(ctx, p.conn, append(liveVariables(), "log_bin_basename")...)
	if err != nil {
		return err
	}
	live := fromVariables(v)
	all, err := replications(ctx, p.conn)
	if err != nil {
		return err
	}
	p.before = Testimony{Role: RolePrimary, ServerVersion: live.Version, ServerID: live.ServerID,
		DomainID: live.DomainID, Datadir: filepath.Clean(v["datadir"]),
		FlushLogAtTrxCommit: live.FlushLogAtTrxCommit, SyncBinlog: live.SyncBinlog,
		BinlogBasename: v["log_bin_basename"]}
	if len(all) > 0 {
		p.before.Role = RoleReplica
		p.before.RunningReplication = slices.ContainsFunc(all,
			func(r Replication) bool { return !r.Stopped() })
	}
	if !live.LogBin && p.before.Role == RolePrimary {
		return binlogOff("take a consistent point of a primary")
	}
	if p.before.NonTransactionalTables, err = nonTransactionalTables(ctx, p.conn); err != nil {
		return err
	}
	version, err := datadirVersion(v["datadir"])
	if err != nil {
		return err
	}
	p.before.DatadirVersion = version.String()
	if p.Volume, err = p.server.volumeOf(ctx, v["datadir"]); err != nil {
		return err
	}
	p.before.FilesystemUUID, p.before.Filesystem, p.before.DatadirOnVolume = p.Volume.UUID,
		p.Volume.Type, p.Volume.Path
	return nil
}

// Before is what is known before the point is reached: positions are missing.
func (p *Point) Before() Testimony { return p.before }

// Stages are the steps to the lock, in order. The last but one blocks DDL, the last one commits.
func Stages() []string { return []string{"START", "FLUSH", "BLOCK_DDL", "BLOCK_COMMIT"} }

// Stage takes one step. A lock that is not to be had in time is HOLD_NOT_ACQUIRED; what was taken
// before is to be given back.
func (p *Point) Stage(ctx context.Context, stage string) error {
	err := execute(ctx, p.conn, "BACKUP STAGE "+stage)
	if errno(err) == errLockWaitTimeout {
		return unsafe(errorsv1.Reason_REASON_HOLD_NOT_ACQUIRED,
			"cannot reach a consistent point: BACKUP STAGE "+stage+" was not had in time",
			"wait for the long DDL, LOCK TABLES or other backup to end (SHOW PROCESSLIST names "+
				"it), or allow a longer lock_wait", errs.Wrap(err),
			errs.Meta("stage", stage))
	}
	return failure("cannot reach a consistent point: BACKUP STAGE "+stage, err)
}

// Testify reads the positions, of a replica whose appliers are stopped. Under the lock nothing
// moves them.
func (p *Point) Testify(ctx context.Context) (Testimony, error) {
	t := p.before
	err := p.appliersStopped(ctx)
	if err != nil {
		return t, err
	}
	if t.Gtid, err = p.positions(ctx); err != nil {
		return t, failure("cannot read the position", err)
	}
	r, err := one(ctx, p.conn, "SHOW MASTER STATUS")
	if err != nil {
		return t, failure("cannot read the position", err)
	}
	t.BinlogFile, t.BinlogOffset, t.At = r["file"], r.number("position"), time.Now().UTC()
	return t, nil
}

func (p *Point) positions(ctx context.Context) (Positions, error) {
	r, err := one(ctx, p.conn, "SELECT @@global.gtid_binlog_pos AS gtid_binlog_pos, "+
		"@@global.gtid_slave_pos AS gtid_slave_pos,"+
		" @@global.gtid_current_pos AS gtid_current_pos, @@global.gtid_binlog_state AS "+
		"gtid_binlog_state")
	return positions(r), err
}

// Positions are the positions now, read without any lock.
func (p *Point) Positions(ctx context.Context) (Positions, error) {
	now, err := p.positions(ctx)
	return now, failure("cannot read the position", err)
}

// StillHeld proves that the lock was never given up since the testimony: the same session answers,
// and nothing was written.
func (p *Point) StillHeld(ctx context.Context, since Testimony) error {
	r, err := one(ctx, p.conn, "SELECT CONNECTION_ID() AS id")
	if err != nil {
		return fmt.Errorf("the session that held the lock is gone: %w", err)
	}
	if r["id"] != p.connection {
		return fmt.Errorf(
			"the session that held the lock is gone: connection %s answers instead of %s", r["id"],
			p.connection)
	}
	now, err := p.positions(ctx)
	if err != nil {
		return fmt.Errorf("cannot read the position again: %w", err)
	}
	if now != since.Gtid {
		return fmt.Errorf("the position moved from %s to %s during the hold", since.Gtid.Binlog,
			now.Binlog)
	}
	return nil
}

// End gives the lock back. A session that does not take the statement is killed: MariaDB notices
// the end of a connection only when the statement that waits in it is over.
func (p *Point) End(ctx context.Context) error {
	soon, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	err := execute(soon, p.conn, "BACKUP STAGE END")
	if err == nil || errno(err) != 0 {
		return nil // given back, or there was nothing to give back
	}
	if killErr := execute(ctx, p.server.db, "KILL CONNECTION "+p.connection); killErr != nil &&
		errno(killErr) == 0 {
		return fmt.Errorf("cannot end the session that holds the lock: %w, after: %w", killErr, err)
	}
	return nil
}

// Close ends the session, and with it any lock.
func (p *Point) Close() { p.done() }

// StopReplicas stops all replication threads, for a clean stop of MariaDB at a position that is
// known.
func (p *Point) StopReplicas(ctx context.Context) error {
	if !p.before.RunningReplication {
		return nil
	}
	return failure("cannot stop replication", execute(ctx, p.conn, "STOP ALL SLAVES"))
}

// StartReplicas starts all replication threads again, on a new connection.
func (s *Server) StartReplicas(ctx context.Context) error {
	return failure("cannot start replication again", execute(ctx, s.db, "START ALL SLAVES"))
}

// AwaitAnswer waits until MariaDB answers, or ctx is over.
func (s *Server) AwaitAnswer(ctx context.Context) error {
	err := poll(ctx, func() (bool, error) { return s.answers(ctx) == nil, nil })
	if err != nil {
		return down("cannot wait for MariaDB", err)
	}
	return nil
}

// PositionAtRest is the position that a cleanly stopped server left beside its binary log.
func PositionAtRest(binlogBasename string) (gtid.Position, string, error) {
	text, err := os.ReadFile(binlogBasename + ".state")
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

// WriteNonce writes the nonce onto the volume and brings the whole filesystem to the disk, so that
// a freeze finds little to do.
func (v Volume) WriteNonce(nonce string) error {
	path := v.Nonce()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return diskError("cannot write the nonce", err)
	}
	if err := replaceFile(path, []byte(nonce+"\n"), 0o644, nil); err != nil {
		return diskError("cannot write the nonce", err)
	}
	return v.Sync()
}

// Sync brings the filesystem to the disk.
func (v Volume) Sync() error {
	dir, err := os.Open(v.Mount)
	if err != nil {
		return fmt.Errorf("cannot sync %s: %w", v.Mount, err)
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return fmt.Errorf("cannot sync %s: %w", v.Mount, err)
	}
	return nil
}
