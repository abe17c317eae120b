package hold

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// giveUpTime bounds giving the lock back.
const giveUpTime = 2 * time.Second

// online blocks commits by BACKUP STAGE.
type online struct {
	base
	mu      sync.Mutex
	began   time.Time
	blocked time.Duration
}

func (w *online) reach(ctx context.Context) (mariadb.Testimony, error) {
	if err := w.stopAppliers(ctx); err != nil {
		return mariadb.Testimony{}, err
	}
	for _, stage := range mariadb.Stages() {
		if stage == "BLOCK_DDL" {
			// Once more, with the tables flushed: what is dirty now is little when nobody may write
			// any more.
			if err := w.volume.Sync(); err != nil {
				return mariadb.Testimony{}, err
			}
		}
		if stage == "BLOCK_COMMIT" {
			w.begin()
		}
		w.say("BACKUP STAGE " + stage)
		if err := w.point.Stage(ctx, stage); err != nil {
			return mariadb.Testimony{}, err
		}
	}
	testimony, err := w.point.Testify(ctx)
	if err != nil {
		return testimony, err
	}
	w.testimony = testimony
	return testimony, w.freeze(ctx)
}

func (w *online) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.began = time.Now()
}

func (w *online) prove(ctx context.Context) (mariadb.Positions, error) {
	if err := w.stillFrozen(); err != nil {
		return mariadb.Positions{}, err
	}
	return w.testimony.Gtid, w.point.StillHeld(ctx, w.testimony)
}

func (w *online) letGo() {
	w.thaw()
	ctx, cancel := context.WithTimeout(context.Background(), giveUpTime)
	defer cancel()
	if err := w.point.End(ctx); err != nil {
		w.config.Log.Warn("the lock was not given back in order", "error", err)
	}
	w.mu.Lock()
	if !w.began.IsZero() {
		w.blocked = time.Since(w.began)
	}
	w.mu.Unlock()
	w.resumeAppliers()
	w.close()
}

func (w *online) finish(result *Result) {
	w.base.finish(result)
	w.mu.Lock()
	defer w.mu.Unlock()
	result.Blocked = w.blocked
}

// crash takes no lock: whatever the moment of the cut, recovery leads to a position between the two
// that are read around it.
type crash struct{ base }

func (w *crash) reach(ctx context.Context) (mariadb.Testimony, error) {
	if err := fitToCrash(w.point.Before()); err != nil {
		return mariadb.Testimony{}, err
	}
	// Recovery knows nothing of half an event group either: DDL is on the disk before
	// gtid_slave_pos is.
	if err := w.stopAppliers(ctx); err != nil {
		return mariadb.Testimony{}, err
	}
	testimony, err := w.point.Testify(ctx)
	if err != nil {
		return testimony, err
	}
	return testimony, w.freeze(ctx)
}

// fitToCrash refuses where recovery would not bring everything back that was committed.
func fitToCrash(t mariadb.Testimony) error {
	if t.FlushLogAtTrxCommit != 1 || t.SyncBinlog != 1 {
		return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_MARIADB_SETTING,
			"cannot take a point without a lock: innodb_flush_log_at_trx_commit and sync_binlog "+
				"must be 1",
			errs.WithHint("use the mode online, or make the server durable (SetConfiguration)"))
	}
	if len(t.NonTransactionalTables) > 0 {
		return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_TABLES_NOT_TRANSACTIONAL,
			"cannot take a point without a lock: these tables have no transactions: "+
				strings.Join(t.NonTransactionalTables, ", "),
			errs.WithHint("use the mode online, or convert the tables to InnoDB"))
	}
	return nil
}

func (w *crash) prove(ctx context.Context) (mariadb.Positions, error) {
	if err := w.stillFrozen(); err != nil {
		return mariadb.Positions{}, err
	}
	return w.point.Positions(ctx)
}

func (w *crash) letGo() {
	w.thaw()
	w.resumeAppliers()
	w.close()
}
