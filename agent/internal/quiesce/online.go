package quiesce

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// giveUpTime bounds the time to give the lock back.
const giveUpTime = 2 * time.Second

// online blocks commits by BACKUP STAGE.
type online struct {
	base
	mu      sync.Mutex
	began   time.Time
	blocked time.Duration
}

func (w *online) reach(ctx context.Context) (consistentpoint.Point, error) {
	if err := w.stopAppliers(ctx); err != nil {
		return consistentpoint.Point{}, err
	}
	for _, stage := range mariadb.Stages() {
		if stage == "BLOCK_DDL" {
			// Once more, with the tables flushed: little is left to write when writes are blocked.
			if err := w.volume.Sync(); err != nil {
				return consistentpoint.Point{}, err
			}
		}
		if stage == "BLOCK_COMMIT" {
			w.begin()
		}
		w.say("BACKUP STAGE " + stage)
		if err := w.session.Stage(ctx, stage); err != nil {
			return consistentpoint.Point{}, err
		}
	}
	point, err := w.session.Read(ctx)
	if err != nil {
		return point, err
	}
	w.point = point
	return point, w.freeze(ctx)
}

func (w *online) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.began = time.Now()
}

func (w *online) prove(ctx context.Context) (mariadb.Positions, error) {
	if err := w.stillFrozen(ctx); err != nil {
		return mariadb.Positions{}, err
	}
	return mariadb.PositionsOf(w.point), w.session.Unbroken(ctx, w.point)
}

func (w *online) resume() error {
	w.thaw()
	ctx, cancel := context.WithTimeout(context.Background(), giveUpTime)
	defer cancel()
	if err := w.session.End(ctx); err != nil {
		w.config.Log.Warn("cannot give the lock back in order", "error", err)
	}
	w.mu.Lock()
	if !w.began.IsZero() {
		w.blocked = time.Since(w.began)
	}
	w.mu.Unlock()
	w.resumeAppliers()
	w.close()
	return nil // thaw and resumeAppliers leave word of what they could not
}

func (w *online) finish(result *Result) {
	w.base.finish(result)
	w.mu.Lock()
	defer w.mu.Unlock()
	result.Blocked = w.blocked
}

// crash takes no lock: recovery leads to a position between the two that are read before and after
// the snapshot.
type crash struct{ base }

func (w *crash) reach(ctx context.Context) (consistentpoint.Point, error) {
	if err := fitToCrash(w.session.Before()); err != nil {
		return consistentpoint.Point{}, err
	}
	// Recovery does not complete half an event group: DDL is on the disk before gtid_slave_pos is.
	if err := w.stopAppliers(ctx); err != nil {
		return consistentpoint.Point{}, err
	}
	point, err := w.session.Read(ctx)
	if err != nil {
		return point, err
	}
	return point, w.freeze(ctx)
}

// fitToCrash refuses a server whose recovery would lose committed transactions.
func fitToCrash(t mariadb.Source) error {
	if t.FlushLogAtTrxCommit != 1 || t.SyncBinlog != 1 {
		return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_MARIADB_SETTING,
			"cannot reach a consistent point without a lock: "+
				"innodb_flush_log_at_trx_commit and sync_binlog "+
				"must be 1",
			errs.WithHint("use MODE_ONLINE, or make the server durable",
				errs.Call("SetConfiguration", "durable", "true")))
	}
	if len(t.NonTransactionalTables) > 0 {
		return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_TABLES_NOT_TRANSACTIONAL,
			"cannot reach a consistent point without a lock: these tables have no "+
				"transactions: "+
				strings.Join(t.NonTransactionalTables, ", "),
			errs.WithHint("use MODE_ONLINE, or convert the tables to InnoDB"))
	}
	return nil
}

func (w *crash) prove(ctx context.Context) (mariadb.Positions, error) {
	if err := w.stillFrozen(ctx); err != nil {
		return mariadb.Positions{}, err
	}
	return w.session.Positions(ctx)
}

func (w *crash) resume() error {
	w.thaw()
	w.resumeAppliers()
	w.close()
	return nil // thaw and resumeAppliers leave word of what they could not
}
