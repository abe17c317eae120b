package hold

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// restartTime bounds the start of MariaDB after an offline hold.
const restartTime = 5 * time.Minute

// listening are the sockets that would wake a MariaDB that is stopped.
func listening(ctx context.Context, units Looker) ([]string, error) {
	var all []string
	for _, socket := range []string{"mariadb.socket", "mariadb-extra.socket"} {
		unit, err := units.Get(ctx, socket)
		if err != nil && !errors.Is(err, errs.NotFound) {
			return nil, err
		}
		if err == nil && unit.Running() {
			all = append(all, socket)
		}
	}
	return all, nil
}

// offline stops MariaDB cleanly.
type offline struct {
	base
	stopped []string // sockets to start again
	began   time.Time
	downFor time.Duration
	failed  error
}

func (w *offline) reach(ctx context.Context) (mariadb.Testimony, error) {
	if w.config.Services == nil {
		return mariadb.Testimony{}, errors.New("cannot hold offline: nothing to stop MariaDB with")
	}
	if err := w.point.StopReplicas(ctx); err != nil {
		return mariadb.Testimony{}, err
	}
	testimony, err := w.point.Testify(ctx)
	if err != nil {
		return testimony, err
	}
	if err := w.stop(ctx); err != nil {
		return testimony, err
	}
	if err := atRest(&testimony); err != nil {
		return testimony, err
	}
	if err := w.volume.Sync(); err != nil {
		return testimony, err
	}
	w.testimony = testimony
	return testimony, w.freeze(ctx)
}

// atRest replaces what was read from the running server by what the stopped one left: writes went
// on in between.
func atRest(t *mariadb.Testimony) error {
	t.At, t.BinlogFile, t.BinlogOffset = time.Now().UTC(), "", 0
	if t.BinlogBasename == "" {
		// a replica without a binary log: its position is in its tables, and its threads stood
		// still
		return nil
	}
	at, state, err := mariadb.PositionAtRest(t.BinlogBasename)
	if err != nil {
		return err
	}
	t.Gtid.Binlog, t.Gtid.BinlogState = at.String(), state
	if t.Role == mariadb.RolePrimary {
		t.Gtid.Current = at.String()
	}
	return nil
}

func (w *offline) stop(ctx context.Context) error {
	sockets, err := listening(ctx, w.config.Services)
	if err != nil {
		return err
	}
	for _, socket := range sockets {
		if _, _, err := w.config.Services.Stop(ctx, socket); err != nil {
			return err
		}
		w.stopped = append(w.stopped, socket)
	}
	w.say("stopping MariaDB")
	w.began = time.Now()
	_, _, err = w.config.Services.Stop(ctx, mariadb.Unit)
	return err
}

func (w *offline) prove(ctx context.Context) (mariadb.Positions, error) {
	unit, err := w.config.Services.Get(ctx, mariadb.Unit)
	if err != nil {
		return mariadb.Positions{}, fmt.Errorf("cannot tell whether MariaDB stayed down: %w", err)
	}
	if !unit.Stopped() {
		return mariadb.Positions{},
			errors.New("MariaDB was started by somebody else during the hold")
	}
	return w.testimony.Gtid, w.stillFrozen()
}

// letGo starts MariaDB again, whatever stopped it.
func (w *offline) letGo() {
	w.thaw()
	w.close()
	if w.config.Services == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), restartTime)
	defer cancel()
	w.failed = w.start(ctx)
	if !w.began.IsZero() {
		w.downFor = time.Since(w.began)
	}
}

func (w *offline) start(ctx context.Context) error {
	// The sockets first: systemd refuses to listen for a service that runs already.
	for _, unit := range append(w.stopped, mariadb.Unit) {
		if _, _, err := w.config.Services.Start(ctx, unit); err != nil {
			return err
		}
	}
	if err := w.config.MariaDB.AwaitAnswer(ctx); err != nil {
		return err
	}
	if w.point.Before().RunningReplication {
		return w.config.MariaDB.StartReplicas(ctx)
	}
	return nil
}

func (w *offline) finish(result *Result) {
	w.base.finish(result)
	result.Down = w.downFor
	if w.failed != nil {
		result.Unbroken = false
		result.BrokenReason = "MariaDB did not come back: " + w.failed.Error()
	}
}
