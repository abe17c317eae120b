package quiesce

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	// undoTime bounds one attempt to resume MariaDB after a process that is gone.
	undoTime = time.Minute
	// mostUndoWait is the longest pause between two attempts.
	mostUndoWait = 10 * time.Second
)

// unresumed is a MariaDB whose process is gone, and that could not be resumed yet.
type unresumed struct {
	since time.Time
	err   error
	again func(ctx context.Context) error
}

// Unresumed is why MariaDB has not resumed although nobody quiesces it any more, and since when;
// nil once it has. The agent tries again until then.
func (m *Manager) Unresumed() (since time.Time, why error) {
	if u := m.unresumed.Load(); u != nil {
		return u.since, u.err
	}
	return time.Time{}, nil
}

// exit says how the process of this nonce ended. It has over go on with a MariaDB that has not
// resumed. One that has not resumed before is left to undo, whichever process left it.
func (m *Manager) exit(ctx context.Context, nonce string) string {
	if _, err := m.Unresumed(); err != nil {
		return err.Error()
	}
	var why string
	m.try(context.WithoutCancel(ctx), func(ctx context.Context) (err error) {
		why, err = m.config.Launcher.Exit(ctx, m.config.Dir, nonce)
		return err
	})
	if _, err := m.Unresumed(); err != nil {
		why += "; " + err.Error()
	}
	return why
}

func (m *Manager) clear(ctx context.Context) {
	defer m.over()
	m.try(ctx, func(ctx context.Context) error {
		return m.config.Launcher.Clear(ctx, m.config.Dir)
	})
}

// try makes one attempt, and notes whether MariaDB has resumed.
func (m *Manager) try(ctx context.Context, attempt func(context.Context) error) {
	bounded, cancel := context.WithTimeout(ctx, undoTime)
	defer cancel()
	err := attempt(bounded)
	before := m.unresumed.Load()
	switch {
	case ctx.Err() != nil: // the agent stops; the next one goes on
	case err == nil:
		m.unresumed.Store(nil)
		if before != nil {
			m.config.Log.Info("MariaDB has resumed after a quiesce")
		}
	default:
		now := &unresumed{since: time.Now(), err: err, again: attempt}
		if before != nil {
			now.since = before.since
		}
		if before == nil || before.err.Error() != err.Error() {
			m.config.Log.Warn("cannot resume MariaDB after a quiesce yet; the agent tries again",
				"error", err)
		}
		m.unresumed.Store(now)
	}
}

// undo tries until MariaDB has resumed.
func (m *Manager) undo() {
	for wait := settleInterval; ; wait = min(2*wait, mostUndoWait) {
		late := m.unresumed.Load()
		if late == nil {
			return
		}
		<-time.After(wait)
		m.try(context.Background(), late.again)
	}
}

// busy is the error of a caller that cannot quiesce MariaDB now.
func (m *Manager) busy() error {
	_, why := m.Unresumed()
	if why == nil {
		return busy(nil)
	}
	return errs.New(errs.Aborted, errorsv1.Reason_REASON_QUIESCE_BUSY,
		"cannot quiesce MariaDB: it has not resumed after an earlier quiesce", errs.Wrap(why),
		errs.WithHint("correct what the text says; the agent resumes MariaDB by itself then"),
		errs.Retry(time.Second))
}

// errUndoGoesOn is the error of an undo that was begun and has not ended.
var errUndoGoesOn = errors.New("cannot resume MariaDB yet")

func goesOn(unit string) error {
	return fmt.Errorf("%w: %s has not ended (journalctl -u %s)", errUndoGoesOn, unit, unit)
}
