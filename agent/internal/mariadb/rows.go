package mariadb

import (
	"context"
	"database/sql"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/understudy-db/understudy/proto/gtid"
)

// RowKey is the values of a primary key, by column: texts as they are, numbers in decimal, binary
// strings in hexadecimal. An empty one is an end of the table.
type RowKey []string

// RowRange is a chunk of a table: the rows whose keys are after After and not after Last.
type RowRange struct{ After, Last RowKey }

// RowSum is the sum of one chunk: how many rows, and the sum of their hashes in decimal.
type RowSum struct {
	RowRange
	Rows int64
	Sum  string
}

// RowPlan says of which rows.
type RowPlan struct {
	// Table is "schema.table", as it is listed.
	Table string
	// Chunks are summed; when there are none, chunks are cut behind After, the first of Rows rows,
	// until Budget is over.
	Chunks []RowRange
	After  RowKey
	Rows   int64
	Budget time.Duration
	// At is what a replica must have applied before it reads, if OfReplica.
	At        gtid.Position
	OfReplica bool
	// MaxThreads is how many statements may run in MariaDB; 0 does not look.
	MaxThreads int64
}

// RowSums are the sums, and the position that the server had after it read. Busy is why nothing was
// read although it could be later, Unfit why it cannot be.
type RowSums struct {
	Gtid        string
	Sums        []RowSum
	Busy, Unfit string
}

const (
	// chunkTime is how long reading a chunk shall take, positionWait how long a replica waits for a
	// position, in seconds.
	chunkTime    = 100 * time.Millisecond
	positionWait = "5"
	mostRows     = 1_000_000
)

// ChecksumRows sums the rows of a part of a table. Each chunk is one statement of at most 2 s, in a
// view of its own: no transaction stays open.
func (s *Server) ChecksumRows(ctx context.Context, plan RowPlan) (RowSums, error) {
	const what = "cannot sum rows"
	if err := s.require(ctx, what); err != nil {
		return RowSums{}, err
	}
	conn, done, err := s.pinned(ctx)
	if err != nil {
		return RowSums{}, failure(what, err)
	}
	defer done()
	sums, err := sumRows(ctx, conn, plan)
	return sums, failure(what+" of "+plan.Table, err)
}

func sumRows(ctx context.Context, conn *sql.Conn, plan RowPlan) (RowSums, error) {
	if err := rowSession(ctx, conn, plan); err != nil {
		return RowSums{}, err
	}
	if busy, err := loaded(ctx, conn, plan.MaxThreads); err != nil || busy != "" {
		return RowSums{Busy: busy}, err
	}
	if plan.OfReplica {
		r, err := one(ctx, conn, "SELECT MASTER_GTID_WAIT("+literal(plan.At.String())+", "+
			positionWait+") AS result")
		if err != nil || r["result"] != "0" {
			return RowSums{Busy: "the position is not applied yet"}, err
		}
	}
	shape, err := shapeOf(ctx, conn, tableNamed(plan.Table))
	if err != nil || shape.unfit != "" {
		return RowSums{Unfit: shape.unfit}, err
	}
	var sums RowSums
	if len(plan.Chunks) > 0 {
		for _, c := range plan.Chunks {
			if err = sums.add(ctx, conn, shape, c); err != nil {
				break
			}
		}
	} else {
		err = sums.cut(ctx, conn, shape, plan)
	}
	if errno(err) != 0 {
		return unread(err, plan.OfReplica), nil
	}
	if err != nil {
		return RowSums{}, err
	}
	return sums, sums.position(ctx, conn, plan.OfReplica)
}

// unread says why one table has no sums: that says nothing about the others. An error does not make
// a table of the primary one that cannot be compared: a statement was killed, a definition changed
// meanwhile, the table is crashed. What a replica alone cannot read differs.
func unread(err error, ofReplica bool) RowSums {
	switch number := errno(err); {
	case number == errDiscarded:
		return RowSums{Unfit: unfitDiscarded}
	case !ofReplica, number == errLockWaitTimeout, number == errStatementTimeout:
		return RowSums{Busy: err.Error()}
	default:
		return RowSums{Unfit: err.Error()}
	}
}

func rowSession(ctx context.Context, conn *sql.Conn, plan RowPlan) error {
	session := []string{"SET SESSION lock_wait_timeout = 1", "SET SESSION max_statement_time = 2",
		"SET SESSION innodb_lock_wait_timeout = 1", "SET SESSION use_stat_tables = 'never'",
		"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"}
	connections, err := replications(ctx, conn)
	if err != nil {
		return err
	}
	if len(connections) > 0 || plan.OfReplica {
		session = append(session, "SET SESSION sql_log_bin = 0")
	}
	if plan.OfReplica { // whose wait for a position is a statement
		session[1] = "SET SESSION max_statement_time = 10"
	}
	for _, statement := range session {
		if err := execute(ctx, conn, statement); err != nil {
			return err
		}
	}
	return nil
}

// position is read after the rows: what they hold is at or before it.
func (s *RowSums) position(ctx context.Context, conn *sql.Conn, ofReplica bool) error {
	variable := "@@global.gtid_binlog_pos"
	if ofReplica {
		variable = "@@global.gtid_slave_pos"
	}
	r, err := one(ctx, conn, "SELECT "+variable+" AS pos")
	s.Gtid = r["pos"]
	return err
}

// cut reads chunk after chunk, each about as long as chunkTime.
func (s *RowSums) cut(ctx context.Context, conn *sql.Conn, shape tableShape, plan RowPlan) error {
	began, after, rows := time.Now(), plan.After, min(max(plan.Rows, 1), mostRows)
	for {
		last, err := shape.boundary(ctx, conn, after, rows)
		if err != nil {
			return err
		}
		chunkBegan := time.Now()
		if err := s.add(ctx, conn, shape, RowRange{after, last}); err != nil {
			return err
		}
		if len(last) == 0 || time.Since(began) >= plan.Budget {
			return nil
		}
		after = last
		factor := float64(chunkTime) / float64(max(time.Since(chunkBegan), time.Millisecond))
		rows = min(max(int64(float64(rows)*min(max(factor, 0.25), 4)), 1), mostRows)
	}
}

// unhashed takes the place of the hash of a row that has none. It is more than the sum of the
// hashes of 10^11 rows.
const unhashed = "1000000000000000000000000000000"

// errUnhashed is in the words of an error of MariaDB's, which only warns of it.
var errUnhashed = &mysql.MySQLError{Number: errPacketTooLarge, Message: "a row is longer than " +
	"max_allowed_packet, and cannot be hashed"}

func (s *RowSums) add(ctx context.Context, conn *sql.Conn, shape tableShape, c RowRange) error {
	where, err := shape.within(c)
	if err != nil {
		return err
	}
	r, err := one(ctx, conn, "SELECT COUNT(*) AS n, COALESCE(SUM(COALESCE("+shape.hash+", "+
		unhashed+")), 0) AS s FROM "+shape.from+" WHERE "+where)
	if err != nil {
		return err
	}
	if len(r["s"]) >= len(unhashed) {
		return errUnhashed
	}
	n, err := strconv.ParseInt(r["n"], 10, 64)
	s.Sums = append(s.Sums, RowSum{RowRange: c, Rows: n, Sum: r["s"]})
	return err
}
