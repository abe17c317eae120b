package mariadb

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/understudy-db/understudy/proto/gtid"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// pollInterval is how often the state of the threads is read: MariaDB reports no change by itself.
const pollInterval = 100 * time.Millisecond

// Replica is this server's replication from a primary.
type Replica struct {
	server *Server
	// mark is the file that says that a copy was prepared.
	mark string
	// follows remembers who is followed; dropIn says whether replication starts with MariaDB.
	follows  string
	dropIn   dropIn
	quiesced func() bool
	begins   func() error
	// showed is the certificate that the IO thread has read since it was installed: the whole
	// certificate, or nothing when this agent did not see it.
	showed   []byte
	pausedBy atomic.Pointer[string]
	log      *slog.Logger
}

// Start makes both threads run and waits until they do. It says whether it changed something.
func (rp *Replica) Start(ctx context.Context, timeout time.Duration) (now Replication, changed bool,
	err error) {
	err = rp.change(ctx, "cannot start replication", func(current Replication) (err error) {
		if now = current; current.Runs() && current.trouble() == nil {
			return nil
		}
		changed = true
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		err = rp.dropNameless(ctx)
		if err == nil {
			err = execute(ctx, rp.server.db, "START SLAVE")
		}
		if errno(err) == errMasterInfo {
			err = rp.startTorn(ctx, current)
		}
		if err != nil {
			return err
		}
		now, err = awaitRunning(ctx, rp.server.db, timeout)
		return err
	})
	return now, changed, err
}

// change is Server.change for a server that has a primary.
func (rp *Replica) change(ctx context.Context, what string,
	how func(current Replication) error) error {
	return rp.server.change(ctx, what, func() error {
		current, configured, err := defaultReplication(ctx, rp.server.db)
		if err != nil {
			return err
		}
		if !configured {
			return unsafe(errorsv1.Reason_REASON_REPLICATION_NOT_CONFIGURED,
				what+": no primary is configured",
				errs.WithHint("configure one first", errs.Call("ConfigureReplica")))
		}
		return how(current)
	})
}

// awaitRunning wants to see both threads at work twice: a primary that refuses the position does so
// after the IO thread runs.
func awaitRunning(ctx context.Context, q querier, timeout time.Duration) (Replication, error) {
	var last Replication
	seen := 0
	err := poll(ctx, func() (bool, error) {
		now, configured, err := defaultReplication(ctx, q)
		if err != nil || !configured {
			return false, err
		}
		last = now
		if trouble := now.trouble(); trouble != nil {
			return false, trouble
		}
		if now.Stopped() {
			return false, replicationStopped(
				"both threads stopped right after the start, without an error in the status")
		}
		if seen++; !now.Runs() || !served(now) {
			seen = 0
		}
		return seen >= 2, nil
	})
	if err != nil && ctx.Err() != nil {
		return last, notRunning(last, timeout)
	}
	return last, err
}

// served is true once the primary sends its binary log.
func served(r Replication) bool {
	return strings.HasPrefix(r.IOState, "Waiting for master to send event") ||
		strings.HasPrefix(r.IOState, "Queueing master event")
}

func quiescedNow(what string) error {
	return errs.New(errs.Aborted, errorsv1.Reason_REASON_QUIESCE_BUSY,
		what+": MariaDB is quiesced, and STOP SLAVE would hang",
		errs.WithHint("call again when MariaDB has resumed"), errs.Retry(time.Second))
}

func replicationStopped(message string) error {
	return unsafe(errorsv1.Reason_REASON_REPLICATION_ERROR, "cannot replicate: "+message,
		errs.WithHint("read MariaDB's error log (journalctl -u "+Unit+"), then start "+
			"replication again",
			errs.Call("StartReplication")))
}

func notRunning(last Replication, timeout time.Duration) error {
	if last.IOErrno != 0 {
		return replicationError("IO", last.IOErrno, last.IOError)
	}
	return errs.New(errs.DeadlineExceeded, errorsv1.Reason_REASON_TIMEOUT,
		fmt.Sprintf("cannot start replication within %s: IO thread %s (%s), SQL thread %s (%s)",
			timeout, last.IORunning, last.IOState, last.SQLRunning, last.SQLState),
		errs.WithHint("make sure that the primary runs and can be reached from here, then call "+
			"again"))
}

// poll asks until it is done, an error comes, or ctx is over.
func poll(ctx context.Context, done func() (bool, error)) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// StartUntil applies exactly up to that position and stops there.
func (rp *Replica) StartUntil(ctx context.Context, until gtid.Position,
	timeout time.Duration) (now Replication, changed bool, err error) {
	db := rp.server.db
	err = rp.change(ctx, "cannot replicate up to a position", func(current Replication) error {
		changed = !current.Stopped()
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		if err := stopThreads(ctx, db, current, false); err != nil {
			return err
		}
		at, err := slavePosition(ctx, db)
		if err != nil {
			return err
		}
		if at.Equal(until) {
			now, _, err = defaultReplication(ctx, db)
			return err
		}
		if !until.Contains(at) {
			return pastIt(at, until)
		}
		changed = true
		if err := execute(ctx, db, "START SLAVE UNTIL master_gtid_pos = "+
			literal(until.String())); err != nil {
			return err
		}
		now, err = awaitPosition(ctx, db, until)
		return err
	})
	return now, changed, err
}

func pastIt(at, until gtid.Position) error {
	return unsafe(errorsv1.Reason_REASON_GTID_MISMATCH,
		fmt.Sprintf("the replica is at %s and cannot stop at %s any more",
			display(at), display(until)),
		errs.WithHint("choose a later position of the primary"),
		errs.Meta("gtid", at.String()))
}

func slavePosition(ctx context.Context, q querier) (gtid.Position, error) {
	r, err := one(ctx, q, "SELECT @@global.gtid_slave_pos AS pos")
	if err != nil {
		return gtid.Position{}, err
	}
	return gtid.ParsePosition(r["pos"])
}

func awaitPosition(ctx context.Context, q querier, until gtid.Position) (Replication, error) {
	var last Replication
	err := poll(ctx, func() (bool, error) {
		now, _, err := defaultReplication(ctx, q)
		if err != nil {
			return false, err
		}
		last = now
		if trouble := now.trouble(); trouble != nil {
			return false, trouble
		}
		if now.SQLRunning != "No" {
			return false, nil
		}
		at, err := slavePosition(ctx, q)
		if err != nil || at.Equal(until) {
			return err == nil, err
		}
		return false, replicationStopped(fmt.Sprintf("the SQL thread stopped at %s before %s",
			display(at), display(until)))
	})
	if err != nil || last.IORunning == "No" {
		return last, err
	}
	if err := stopThreads(ctx, q, last, false); err != nil {
		return last, err
	}
	last, _, err = defaultReplication(ctx, q)
	return last, err
}

// Stop stops both threads, or the SQL thread alone, and says whether that changed something.
func (rp *Replica) Stop(ctx context.Context, sqlOnly bool,
	timeout time.Duration) (now Replication, changed bool, err error) {
	const what = "cannot stop replication"
	err = rp.change(ctx, what, func(current Replication) (err error) {
		// A quiesced replica has its SQL thread stopped for a while: it looks like a stopped one.
		if rp.quiesced() {
			return quiescedNow(what)
		}
		now = current
		if current.SQLRunning == "No" && (sqlOnly || current.IORunning == "No") {
			return nil
		}
		changed = true
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		if err := stopThreads(ctx, rp.server.db, current, sqlOnly); err != nil {
			return err
		}
		now, _, err = defaultReplication(ctx, rp.server.db)
		return err
	})
	return now, changed, err
}

// stopThreads stops what runs of a connection. ctx ends the wait: STOP SLAVE waits for an event in
// flight.
func stopThreads(ctx context.Context, q querier, r Replication, sqlOnly bool) error {
	if r.Stopped() || sqlOnly && r.SQLRunning == "No" {
		return nil
	}
	if sqlOnly {
		return execute(ctx, q, "STOP SLAVE "+literal(r.Connection)+" SQL_THREAD")
	}
	return execute(ctx, q, "STOP SLAVE "+literal(r.Connection))
}

// Reset stops replication and forgets its settings, at that very position. It says whether there
// was something to forget.
func (rp *Replica) Reset(ctx context.Context, expected gtid.Position) (changed bool, err error) {
	db := rp.server.db
	err = rp.server.change(ctx, "cannot reset replication", func() error {
		current, configured, err := defaultReplication(ctx, db)
		if err != nil || !configured {
			return err
		}
		if err := expectPosition(ctx, db, expected); err != nil {
			return err
		}
		if err := stopThreads(ctx, db, current, false); err != nil {
			return err
		}
		if err := expectPosition(ctx, db, expected); err != nil {
			return err
		}
		changed = true
		return execute(ctx, db, "RESET SLAVE ALL")
	})
	return changed, err
}

func expectPosition(ctx context.Context, q querier, expected gtid.Position) error {
	at, err := slavePosition(ctx, q)
	if err != nil || at.Equal(expected) {
		return err
	}
	return unsafe(errorsv1.Reason_REASON_GTID_MISMATCH,
		fmt.Sprintf("cannot rely on position %s: the replica is at %s",
			display(expected), display(at)),
		errs.WithHint("stop replication and read its position", errs.Call("StopReplication"),
			errs.Call("GetStatus")),
		errs.Meta("gtid", at.String()))
}

// SetReadOnly turns read_only on or off and says whether that changed something.
func (s *Server) SetReadOnly(ctx context.Context, on bool) (changed bool, err error) {
	const what = "cannot change read_only"
	err = s.change(ctx, what, func() error {
		v, err := variables(ctx, s.db, "read_only")
		if err != nil || fromVariables(v).ReadOnly == on {
			return err
		}
		all, err := replications(ctx, s.db)
		if err != nil {
			return err
		}
		if !on && len(all) > 0 {
			return unsafe(errorsv1.Reason_REASON_WRONG_ROLE,
				what+": replication is configured here",
				errs.WithHint("remove its replication settings first",
					errs.Call("ResetReplication")))
		}
		conn, done, err := s.pinned(ctx)
		if err != nil {
			return err
		}
		defer done()
		// It waits for table locks of others: not for ever.
		if err := execute(ctx, conn, "SET SESSION lock_wait_timeout = 10"); err != nil {
			return err
		}
		changed = true
		return execute(ctx, conn, fmt.Sprintf("SET GLOBAL read_only = %t", on))
	})
	return changed, err
}
