package quiesce

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/agent/internal/untrusted"
	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// restartTime bounds the start of MariaDB in the mode offline.
const restartTime = 5 * time.Minute

// listening are the sockets that would wake a MariaDB that is stopped.
func listening(ctx context.Context, units UnitReader) ([]string, error) {
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
	stopped []string         // sockets to start again
	files   untrusted.Stamps // of the datadir at the point
	began   time.Time
	downFor time.Duration
	failed  error
}

func (w *offline) reach(ctx context.Context) (consistentpoint.Point, error) {
	if w.config.Services == nil {
		return consistentpoint.Point{},
			errors.New("cannot quiesce MariaDB offline: nothing to stop it with")
	}
	if err := w.session.StopReplicas(ctx, w.stoppedFile()); err != nil {
		return consistentpoint.Point{}, err
	}
	point, err := w.session.Read(ctx)
	if err != nil {
		return point, err
	}
	if err := w.stop(ctx); err != nil {
		return point, err
	}
	if err := atRest(&point, w.session.Before().BinlogBasename); err != nil {
		return point, err
	}
	if err := w.volume.Sync(); err != nil {
		return point, err
	}
	w.point = point
	if err := w.freeze(ctx); err != nil {
		return point, err
	}
	w.files, err = w.stamps(ctx)
	return point, err
}

// stamps are those of the files at the top of the datadir, some of which any MariaDB changes that
// starts, and without a freeze those of its tables.
func (w *offline) stamps(ctx context.Context) (untrusted.Stamps, error) {
	datadir, err := untrusted.Open(w.point.Datadir)
	if err != nil {
		return nil, fmt.Errorf("cannot see the files of the datadir: %w", err)
	}
	defer datadir.Close()
	return datadir.Stamps(ctx, w.filesystem == nil)
}

// atRest replaces what was read from the running server by what the stopped one left: writes
// continued in between.
func atRest(p *consistentpoint.Point, binlogBasename string) error {
	p.At, p.BinlogFile, p.BinlogOffset = time.Now().UTC(), "", 0
	if binlogBasename == "" {
		// a replica without a binary log: its position is in its tables, and its threads stood
		// still
		return nil
	}
	at, state, err := mariadb.PositionAtRest(binlogBasename)
	if err != nil {
		return err
	}
	p.BinlogPos, p.BinlogState = at.String(), state
	if !p.Replica {
		p.CurrentPos = at.String()
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
	if err := os.WriteFile(mariadb.HeldDown, nil, 0o644); err != nil {
		return fmt.Errorf("cannot keep MariaDB from being started meanwhile: %w", err)
	}
	w.say("stopping MariaDB")
	w.began = time.Now()
	_, _, err = w.config.Services.Stop(ctx, mariadb.Unit)
	return err
}

func (w *offline) prove(ctx context.Context) (mariadb.Positions, error) {
	unit, err := w.config.Services.Get(ctx, mariadb.Unit)
	if err != nil {
		return mariadb.Positions{}, fmt.Errorf("cannot prove that MariaDB stayed down: %w", err)
	}
	if !unit.Stopped() {
		return mariadb.Positions{},
			errors.New("another process started MariaDB meanwhile")
	}
	if err := w.stillFrozen(ctx); err != nil {
		return mariadb.Positions{}, err
	}
	now, err := w.stamps(ctx)
	if err != nil {
		return mariadb.Positions{}, fmt.Errorf("cannot prove that nothing was written: %w", err)
	}
	if name, differs := w.files.Differs(now); differs {
		return mariadb.Positions{}, fmt.Errorf("the datadir was written to meanwhile: %s", name)
	}
	return mariadb.PositionsOf(w.point), nil
}

// resume starts MariaDB again, whatever stopped it.
func (w *offline) resume() error {
	w.thaw()
	w.close()
	if w.config.Services == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), restartTime)
	defer cancel()
	if w.failed = releaseHeld(); w.failed == nil {
		w.failed = w.start(ctx)
	}
	if !w.began.IsZero() {
		w.downFor = time.Since(w.began)
	}
	return w.failed
}

// releaseHeld lets MariaDB's unit start again.
func releaseHeld() error {
	if err := os.Remove(mariadb.HeldDown); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot let MariaDB start again: %w", err)
	}
	return nil
}

func (w *offline) start(ctx context.Context) error {
	ctx, done := context.WithCancel(ctx)
	defer done()
	go askForTime(ctx, w.config.Notify, func() bool { return w.comesUp(ctx) })
	// The sockets first: systemd refuses to listen for a service that runs already.
	for _, unit := range append(w.stopped, mariadb.Unit) {
		if _, _, err := w.config.Services.Start(ctx, unit); err != nil {
			return err
		}
	}
	if err := w.config.MariaDB.AwaitAnswer(ctx); err != nil {
		return err
	}
	return w.config.MariaDB.ResumeAppliers(ctx, w.stoppedFile())
}

// comesUp says whether MariaDB is seen to come up: nothing is held any more then, and the result is
// worth the wait. A process that hangs does not look, and one that cannot reach systemd sees
// nothing.
func (w *offline) comesUp(ctx context.Context) bool {
	unit, err := w.config.Services.Get(ctx, mariadb.Unit)
	return err == nil && (unit.Running() || unit.Active == "activating")
}

func (w *offline) finish(result *Result) {
	w.base.finish(result)
	result.Down = w.downFor
	if w.failed != nil {
		result.Unbroken = false
		result.BrokenReason = "MariaDB did not come back: " + w.failed.Error()
	}
}
