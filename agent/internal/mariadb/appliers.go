package mariadb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"

	"github.com/understudy-db/understudy/proto/atomicfile"
)

// stopLock is a user lock of the session that stops appliers. STOP SLAVE continues without its
// client; the lock is free again only when no such statement is on its way any more.
const stopLock = "understudy_stops_appliers"

// StopAppliers stops the SQL threads that run, so that each stands between two event groups.
// Without it a point on a replica may fall between the effect of a statement (a row of a table
// without transactions, DDL) and gtid_slave_pos, which is written at the group's end: no stage of
// BACKUP STAGE prevents that, and a copy would apply the group twice. STOP SLAVE would hang under
// the lock, so this comes before it. An applier that comes to no end of a group in time is
// QUIESCE_NOT_ACQUIRED. The marker, a file that need not outlive the host, names what was stopped
// until ResumeAppliers has started it again; it is to be called also after an error.
func (p *PointSession) StopAppliers(ctx context.Context, marker string) error {
	if !p.before.Replica {
		return nil
	}
	const what = "cannot stop replication for a consistent point"
	if err := p.within(ctx,
		func(ctx context.Context) error {
			return p.server.ResumeAppliers(ctx, marker)
		}); err != nil {
		return p.notAtBoundary(ctx, err)
	}
	conn, done, err := p.server.pinned(ctx)
	if err != nil {
		return failure(what, err)
	}
	defer done()
	r, err := one(ctx, conn, "SELECT GET_LOCK("+literal(stopLock)+", 0) AS got")
	if err != nil || r["got"] != "1" {
		return failure(what, errors.Join(err, errAnotherStop))
	}
	before, err := appliers(ctx, conn)
	if err != nil {
		return failure(what, err)
	}
	if len(before.running()) == 0 {
		return nil
	}
	stop := func(ctx context.Context) error { return stopAt(ctx, conn, marker, before) }
	if err := p.within(ctx,
		func(ctx context.Context) error { return before.awaitBoundary(ctx, conn) }); err != nil {
		return p.notAtBoundary(ctx, err)
	}
	return p.notAtBoundary(ctx, p.within(ctx, stop))
}

var errAnotherStop = errors.New("another session of the agent stops it")

// within bounds one wait by what one lock may be waited for.
func (p *PointSession) within(ctx context.Context, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, p.lockWait)
	defer cancel()
	err := do(ctx)
	if end := ctx.Err(); err != nil && end != nil && !errors.Is(err, end) {
		// A statement that the end cut off says that the connection is bad.
		return fmt.Errorf("%w: %w", end, err)
	}
	return err
}

func (p *PointSession) notAtBoundary(ctx context.Context, err error) error {
	if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return failure("cannot stop replication for a consistent point", err)
	}
	return unsafe(errorsv1.Reason_REASON_QUIESCE_NOT_ACQUIRED,
		fmt.Sprintf("cannot reach a consistent point: replication came to no end of a "+
			"transaction within %s", p.lockWait),
		errs.WithHint("wait until the SQL thread ends its transaction (SHOW PROCESSLIST lists it "+
			"as system user), or allow a longer lock_wait"))
}

// stopAt stops what runs; the marker is there before the first statement.
func stopAt(ctx context.Context, q querier, marker string, before applierStates) error {
	if err := (ran{SQL: before.running()}).save(marker); err != nil {
		return err
	}
	for _, name := range before.running() {
		if err := execute(ctx, q, "STOP SLAVE "+literal(name)+" SQL_THREAD"); err != nil {
			return err
		}
	}
	return nil
}

// StopReplicas stops all replication threads, for a clean stop of MariaDB at a position that is
// known. The marker is as that of StopAppliers; ResumeAppliers is to be called once MariaDB runs.
func (p *PointSession) StopReplicas(ctx context.Context, marker string) error {
	const what = "cannot stop replication"
	if !p.before.Replica {
		return nil
	}
	r, err := one(ctx, p.conn, "SELECT GET_LOCK("+literal(stopLock)+", 0) AS got")
	if err != nil || r["got"] != "1" {
		return failure(what, errors.Join(err, errAnotherStop))
	}
	before, err := appliers(ctx, p.conn)
	if err != nil {
		return failure(what, err)
	}
	threads := ran{SQL: before.running(), IO: before.receiving()}
	if len(threads.SQL)+len(threads.IO) == 0 {
		return nil
	}
	if err := threads.save(marker); err != nil {
		return failure(what, err)
	}
	return failure(what, execute(ctx, p.conn, "STOP ALL SLAVES"))
}

// ran are the connections of which a thread ran before it was stopped.
type ran struct {
	SQL []string `json:"sql"`
	IO  []string `json:"io,omitempty"`

	started bool // once: an error of an IO thread is one of after its start
}

func (r ran) save(marker string) error {
	if err := atomicfile.WriteJSON(marker, r); err != nil {
		return fmt.Errorf("cannot save which replication ran: %w", err)
	}
	return nil
}

// UnmarshalJSON reads a list of names as well, which an earlier version wrote for SQL threads.
func (r *ran) UnmarshalJSON(text []byte) error {
	if json.Unmarshal(text, &r.SQL) == nil {
		return nil
	}
	type object ran
	return json.Unmarshal(text, (*object)(r))
}

// appliersStopped proves under the lock that no applier was started meanwhile.
func (p *PointSession) appliersStopped(ctx context.Context) error {
	if !p.before.Replica {
		return nil
	}
	now, err := appliers(ctx, p.conn)
	if err != nil {
		return failure("cannot prove that replication is stopped", err)
	}
	if len(now.running()) == 0 {
		return nil
	}
	return unsafe(errorsv1.Reason_REASON_QUIESCE_NOT_ACQUIRED,
		"cannot reach a consistent point: replication was started meanwhile",
		errs.WithHint("call again, and start no replication on this server until it is resumed"))
}

// ResumeAppliers starts the threads that the marker names, proves that they run, and removes the
// marker; without one it sends MariaDB nothing. What stopped by an error of its own, or is
// configured no more, is left alone. ctx ends the wait for a stop that is still on its way;
// the marker is left then.
func (s *Server) ResumeAppliers(ctx context.Context, marker string) error {
	const what = "cannot start replication again after a snapshot"
	var threads ran
	if found, err := atomicfile.ReadJSON(marker, &threads); err != nil || !found {
		return failure("cannot read which replication ran", err)
	}
	if err := poll(ctx, func() (bool, error) { return resumed(ctx, s.db, &threads) }); err != nil {
		return failure(what, err)
	}
	if err := os.Remove(marker); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func resumed(ctx context.Context, q querier, threads *ran) (bool, error) {
	r, err := one(ctx, q, "SELECT IS_FREE_LOCK("+literal(stopLock)+") AS free")
	if err != nil || r["free"] != "1" {
		return false, err
	}
	now, err := appliers(ctx, q)
	if err != nil {
		return false, err
	}
	start := now.start(*threads)
	for _, statement := range start {
		if err := execute(ctx, q, statement); err != nil {
			return false, err
		}
	}
	threads.started = true
	return len(start) == 0, nil
}

// start are the statements that start those threads that do not run. An IO thread that is stopped
// while it tries to connect keeps the error of its last attempt; one that stopped by an error did
// not run before.
func (all applierStates) start(threads ran) []string {
	var statements []string
	for _, name := range threads.IO {
		if r := all[name]; r.IORunning == "No" && (r.IOErrno == 0 || !threads.started) {
			statements = append(statements, "START SLAVE "+literal(name)+" IO_THREAD")
		}
	}
	for _, name := range threads.SQL {
		if r := all[name]; r.SQLRunning == "No" && r.SQLErrno == 0 {
			statements = append(statements, "START SLAVE "+literal(name)+" SQL_THREAD")
		}
	}
	return statements
}

// applierStates are the connections by name.
type applierStates map[string]Replication

func appliers(ctx context.Context, q querier) (applierStates, error) {
	connections, err := replications(ctx, q)
	all := make(applierStates, len(connections))
	for _, r := range connections {
		all[r.Connection] = r
	}
	return all, err
}

func (all applierStates) running() []string {
	return all.where(func(r Replication) bool { return r.SQLRunning == "Yes" })
}

// receiving are those that receive, or try to.
func (all applierStates) receiving() []string {
	return all.where(func(r Replication) bool { return r.IORunning != "No" })
}

func (all applierStates) where(is func(Replication) bool) []string {
	names := []string{}
	for name, r := range all {
		if is(r) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// awaitBoundary waits until each applier that runs is seen idle or at the end of a group. A STOP
// SLAVE cannot be taken back: it is not given to one that stands in the middle of a group, or is at
// a long one.
func (all applierStates) awaitBoundary(ctx context.Context, q querier) error {
	return poll(ctx, func() (bool, error) {
		now, err := appliers(ctx, q)
		if err != nil {
			return false, err
		}
		// Of parallel appliers the SQL thread waits for more while a worker is in the middle of a
		// group.
		busy, err := one(ctx, q, "SELECT COUNT(*) AS workers FROM information_schema.processlist"+
			" WHERE command = 'Slave_worker' AND COALESCE(state, '') NOT LIKE 'Waiting for work "+
			"from SQL thread%'")
		if err != nil {
			return false, err
		}
		for _, name := range all.running() {
			if r := now[name]; r.SQLRunning == "Yes" && r.executed == all[name].executed &&
				(!r.idle() || busy["workers"] != "0") {
				return false, nil
			}
		}
		return true, nil
	})
}

// idle is true of an applier that waits for something to apply.
func (r Replication) idle() bool {
	return strings.HasPrefix(r.SQLState, "Slave has read all relay log") ||
		strings.HasPrefix(r.SQLState, "Waiting until MASTER_DELAY")
}
