package mariadb

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-db/understudy/proto/gtid"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// ChecksumPlan says of which tables, and where.
type ChecksumPlan struct {
	// At is the position at which a replica was stopped; on a primary Stopped is false and At is
	// not read.
	At      gtid.Position
	Stopped bool
	// Tables are "schema.table"; all of the user's schemas when empty.
	Tables []string
	// SampleBytes takes tables, in an order given by SampleSeed, that fit into so much together; 0
	// takes all.
	SampleBytes, SampleSeed int64
	// SampleTime is how long tables are read: what is not read then is left out; 0 is no limit.
	SampleTime time.Duration
}

// ChecksumHead comes before the tables.
type ChecksumHead struct {
	Gtid       string
	Tables     int
	BytesTotal int64
}

// TableChecksum is one table at the position.
type TableChecksum struct {
	Table, Engine  string
	Checksum       uint64
	Missing        bool // there is no such table
	Consistent     bool
	Bytes          int64
	DefinitionHash string
	LeftOut        string // why it was not read on purpose; empty for one that was
	Problem        string // why it is there and could not be read
	Busy           bool   // that is a lock of another session
}

// candidate is a table that a checksum is wanted of.
type candidate struct {
	tableName
	engine  string
	bytes   int64
	missing bool
	leftOut string // why it is not in the sample
}

// Checksums reports the position, then each table's checksum at it. It runs in a
// consistent-snapshot transaction of its own, which blocks no session: metadata locks are given
// back after each table.
func (s *Server) Checksums(ctx context.Context, plan ChecksumPlan, head func(ChecksumHead) error,
	each func(TableChecksum) error) error {
	const what = "cannot read checksums"
	if err := s.require(ctx, what); err != nil {
		return err
	}
	conn, done, err := s.pinned(ctx)
	if err != nil {
		return failure(what, err)
	}
	defer done()
	at, err := openView(ctx, conn, plan)
	if err != nil {
		return failure(what, err)
	}
	tables, err := candidates(ctx, conn, plan)
	if err != nil {
		return failure(what, err)
	}
	begin := ChecksumHead{Gtid: at}
	for _, t := range tables {
		if t.leftOut == "" {
			begin.Tables++
			begin.BytesTotal += t.bytes
		}
	}
	if err := head(begin); err != nil {
		return err
	}
	var limit time.Time
	if plan.SampleTime > 0 {
		limit = time.Now().Add(plan.SampleTime)
	}
	for _, t := range tables {
		sum, err := checksumWithin(ctx, conn, t, limit, plan.Stopped)
		if err != nil {
			return failure(what+" of "+t.String(), err)
		}
		if err := each(sum); err != nil {
			return err
		}
	}
	return nil
}

// openView begins the transaction and answers the position that it sees.
func openView(ctx context.Context, conn *sql.Conn, plan ChecksumPlan) (string, error) {
	if plan.Stopped { // what this opens on a replica makes no event of its own
		if err := execute(ctx, conn, "SET SESSION sql_log_bin = 0"); err != nil {
			return "", err
		}
	}
	for _, statement := range []string{
		"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
		"SET SESSION lock_wait_timeout = 5", "SET SESSION innodb_lock_wait_timeout = 5",
		"SET SESSION max_statement_time = 0", "SET SESSION net_write_timeout = 600",
		"SET SESSION wait_timeout = 86400",
		"START TRANSACTION WITH CONSISTENT SNAPSHOT",
	} {
		if err := execute(ctx, conn, statement); err != nil {
			return "", err
		}
	}
	if plan.Stopped {
		return stoppedAt(ctx, conn, plan.At)
	}
	return snapshotPosition(ctx, conn)
}

// stoppedAt proves that the replica stands at the position, after the view was opened.
func stoppedAt(ctx context.Context, q querier, expected gtid.Position) (string, error) {
	all, err := replications(ctx, q)
	if err != nil {
		return "", err
	}
	for _, r := range all {
		if r.SQLRunning != "No" {
			return "", unsafe(errorsv1.Reason_REASON_REPLICATION_RUNNING,
				"cannot read checksums: the SQL thread of the replica runs",
				errs.WithHint("stop it at the position",
					errs.Call("StartReplication", "until_gtid", expected.String())))
		}
	}
	if err := expectPosition(ctx, q, expected); err != nil {
		return "", err
	}
	return expected.String(), nil
}

// snapshotPosition is the position of the transaction's view on a primary.
func snapshotPosition(ctx context.Context, conn *sql.Conn) (string, error) {
	rows, err := query(ctx, conn, "SHOW STATUS LIKE 'binlog_snapshot_%'")
	if err != nil {
		return "", err
	}
	found := map[string]string{}
	for _, r := range rows {
		found[strings.ToLower(r["variable_name"])] = r["value"]
	}
	file, offset := found["binlog_snapshot_file"], found["binlog_snapshot_position"]
	if file == "" {
		return "", binlogOff("read the position of a checksum")
	}
	at, err := strconv.ParseUint(offset, 10, 63)
	if err != nil {
		return "", fmt.Errorf("cannot read the position of the view from %q", offset)
	}
	r, err := one(ctx, conn, fmt.Sprintf("SELECT BINLOG_GTID_POS(%s, %d) AS pos", literal(file),
		at))
	if err != nil {
		return "", err
	}
	if _, known := r["pos"]; !known {
		return "", errs.New(errs.Aborted, errorsv1.Reason_REASON_BINLOGS_PURGED,
			"cannot read checksums: the binary log of the view was purged meanwhile",
			errs.WithHint("reserve binary logs, then call again", errs.Call("ReserveBinlogs")))
	}
	return r["pos"], nil
}

// candidates are the tables asked for, largest last where nothing else is asked for.
func candidates(ctx context.Context, conn *sql.Conn, plan ChecksumPlan) ([]candidate, error) {
	list, err := tables(ctx, conn, true)
	if err != nil {
		return nil, err
	}
	var all []candidate
	for _, t := range list {
		if !t.sequence() {
			all = append(all, candidate{tableName: t.tableName, engine: t.engine, bytes: t.bytes,
				leftOut: unfitEngines[t.engine]})
		}
	}
	if len(plan.Tables) > 0 {
		return named(all, plan.Tables), nil
	}
	return sampled(all, plan.SampleBytes, plan.SampleSeed), nil
}

// named are those of that name, in the order asked for; one that is not there is missing.
func named(all []candidate, names []string) []candidate {
	byName := map[string]candidate{}
	for _, c := range all {
		byName[c.String()] = c
	}
	found := make([]candidate, 0, len(names))
	for _, name := range names {
		c, there := byName[name]
		if !there {
			c = candidate{tableName: tableNamed(name), missing: true}
		}
		found = append(found, c)
	}
	return found
}

// checksum reads one table and gives its metadata lock back.
func checksum(ctx context.Context, conn *sql.Conn, t candidate,
	standsStill bool) (TableChecksum, error) {
	sum := TableChecksum{Table: t.String(), Engine: t.engine, Bytes: t.bytes, Missing: t.missing,
		Consistent: t.engine == "InnoDB" || standsStill}
	if t.missing {
		return sum, nil
	}
	if err := execute(ctx, conn, "SAVEPOINT one_table"); err != nil {
		return sum, err
	}
	definition, err := one(ctx, conn, "SHOW CREATE TABLE "+t.sql())
	if err == nil {
		sum.DefinitionHash = definitionHash(definition["create table"])
		err = readChecksum(ctx, conn, t, &sum)
	}
	switch number := errno(err); {
	case number == errDiscarded:
		sum.LeftOut, err = unfitDiscarded, nil
	case ofOneTable(number):
		sum.Problem, sum.Busy = problem(err), number == errLockWaitTimeout
		if sum.Missing, err = missing(ctx, conn, t, number); sum.Missing {
			sum.Problem = ""
		}
	}
	if err != nil {
		return sum, err
	}
	return sum, execute(ctx, conn, "ROLLBACK TO SAVEPOINT one_table")
}

// missing is true when a table of which nothing was found is not listed either: one that is listed
// and cannot be opened is there.
func missing(ctx context.Context, conn *sql.Conn, t candidate, number int) (bool, error) {
	if number != errTableGone && number != errSchemaGone {
		return false, nil
	}
	shape, err := shapeOf(ctx, conn, t.tableName)
	return shape.unfit == unfitGone, err
}

// readChecksum sums the hashes of the rows, as continuous verification does: CHECKSUM TABLE is
// equal for rows that moved a character from one column to the next.
func readChecksum(ctx context.Context, conn *sql.Conn, t candidate, sum *TableChecksum) error {
	shape, err := shapeOf(ctx, conn, t.tableName)
	if err != nil {
		return err
	}
	switch shape.unfit {
	case "":
	case unfitGone:
		sum.Missing = true
		return nil
	default:
		sum.LeftOut = shape.unfit
		return nil
	}
	var sums RowSums
	if err := sums.add(ctx, conn, shape, RowRange{}); err != nil {
		return err
	}
	all := sums.Sums[0]
	digest := sha256.Sum256(fmt.Appendf(nil, "%d %s", all.Rows, all.Sum))
	sum.Checksum, err = strconv.ParseUint(hex.EncodeToString(digest[:8]), 16, 64)
	return err
}

// ofOneTable is true for an error that says nothing about the other tables: that one is gone, was
// altered since, is damaged, or waits for DDL. Not so when the session, the server or the time of a
// sample ends.
func ofOneTable(number int) bool {
	switch number {
	case 0, errStatementTimeout, errInterrupted, errShutdown, errKilled:
		return false
	}
	return true
}

var autoIncrement = regexp.MustCompile(` AUTO_INCREMENT=\d+`)

// definitionHash is of the definition without what differs between equal tables.
func definitionHash(create string) string {
	// The counter is behind the last parenthesis; a default value or a comment of a column is
	// before it.
	end := strings.LastIndex(create, "\n)")
	if end < 0 {
		end = 0
	}
	clean := create[:end] + autoIncrement.ReplaceAllString(create[end:], "")
	sum := sha256.Sum256([]byte(clean))
	return hex.EncodeToString(sum[:16])
}
