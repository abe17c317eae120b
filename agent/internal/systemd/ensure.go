package systemd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Say reports progress to the caller, as text for an operator; it may be nil.
type Say func(progress string)

// need is one thing that stands between a unit and being up.
type need int

const (
	needReload need = iota
	needUnmask
	needReset
	needEnable
	needStart
)

// needs is what the unit needs to be up and to come up at boot, in order.
func needs(unit Unit) []need {
	var list []need
	if unit.Masked() {
		list = append(list, needUnmask)
	}
	if unit.NeedsReload {
		list = append(list, needReload)
	}
	if unit.Active == failed {
		list = append(list, needReset)
	}
	if canEnable(unit) {
		list = append(list, needEnable)
	}
	if !unit.Running() || unit.job != 0 {
		list = append(list, needStart)
	}
	return list
}

// Ensure makes sure that the unit is up and ready, from any state: read again, unmasked, its failed
// state cleared, enabled, started, the job over, and its readiness probe passed; ctx bounds the
// whole. It answers the unit and what was changed.
func (m *Manager) Ensure(ctx context.Context, name string, say Say) (Unit, []string, error) {
	e := &ensuring{m: m, name: name, say: say, start: time.Now()}
	unit, err := m.Files.get(ctx, name)
	if err != nil {
		return Unit{}, nil, err
	}
	// each round removes a need; more rounds than needs means that another process adds them
	for len(e.done) < 8 {
		todo := needs(unit)
		if slices.Contains(e.done, needReload) {
			// Read once is read: systemd 252 says for ever that a masked unit with drop-ins has to
			// be read again.
			todo = slices.DeleteFunc(todo, func(n need) bool { return n == needReload })
		}
		if len(todo) == 0 {
			unit, err = e.awaitReady(ctx)
			return unit, e.changes, err
		}
		if err := e.satisfy(ctx, todo[0], unit); err != nil {
			return unit, e.changes, err
		}
		if unit, err = m.Files.get(ctx, name); err != nil {
			return Unit{}, e.changes, err
		}
	}
	return unit, e.changes, m.jobs.failure(ctx, "keep up", unit, "")
}

// ensuring is one call of Ensure.
type ensuring struct {
	m       *Manager
	name    string
	say     Say
	start   time.Time
	done    []need
	changes []string
	last    string
}

func (e *ensuring) report(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); e.say != nil && text != e.last {
		e.say(text)
		e.last = text
	}
}

func (e *ensuring) satisfy(ctx context.Context, n need, unit Unit) error {
	e.done = append(e.done, n)
	switch n {
	case needReload:
		e.report("reading unit files again")
		return e.changed("unit files read again", e.m.bus.reloadDaemon(ctx))
	case needUnmask:
		e.report("unmasking")
		_, _, err := e.m.Files.Unmask(ctx, e.name)
		return e.changed("unmasked", err)
	case needReset:
		e.report("clearing the failed state (%s)", unit.Result)
		return e.changed(fmt.Sprintf("cleared the failed state (%s)", unit.Result),
			e.m.bus.resetFailed(ctx, e.name))
	case needEnable:
		e.report("enabling")
		_, _, err := e.m.Files.Enable(ctx, e.name)
		return e.changed("enabled", err)
	default:
		return e.up(ctx, unit)
	}
}

func (e *ensuring) changed(what string, err error) error {
	if err == nil {
		e.changes = append(e.changes, what)
		e.m.log.Info("unit changed", "unit", e.name, "change", what)
	}
	return err
}

// up starts the unit and reports its progress.
func (e *ensuring) up(ctx context.Context, unit Unit) error {
	if unit.Load != "loaded" && unit.Load != masked {
		return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_UNIT_FAILED,
			fmt.Sprintf("cannot start %s: systemd cannot load it (%s): %s", e.name, unit.Load,
				unit.LoadError),
			errs.Meta("unit", e.name),
			errs.WithHint("correct its file (systemd-analyze verify "+e.name+")"))
	}
	if check := e.m.startable[e.name]; check != nil {
		if err := check(ctx, e.name); err != nil {
			return err
		}
	}
	// The start limit may be near without being hit: this start was asked for and counts from zero.
	if err := e.m.bus.resetFailed(ctx, e.name); err != nil {
		return err
	}
	e.report("waiting for systemd to start it")
	_, err := e.m.jobs.run(ctx, starting(), e.name,
		func(u Unit) { e.report("%s", e.m.describe(ctx, u)) })
	return e.changed("started", err)
}

// describe says what a unit that is on its way does, in its own words where it has any.
func (m *Manager) describe(ctx context.Context, unit Unit) string {
	text := fmt.Sprintf("%s (%s)", unit.Active, unit.Sub)
	if unit.StatusText != "" {
		return text + ": " + unit.StatusText
	}
	if line := m.Journal.lastLine(ctx, unit); line != "" {
		return text + ": " + line
	}
	return text
}

// awaitReady waits until the unit's probe is content. A unit that fails meanwhile is an error at
// once; one that systemd restarts by itself is waited for.
func (e *ensuring) awaitReady(ctx context.Context) (Unit, error) {
	probe := e.m.ready[e.name]
	changes := e.m.bus.watch(e.name)
	defer changes.stop()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		unit, err := e.m.bus.look(ctx, e.name)
		if err == nil && unit.Stopped() {
			return unit, e.m.jobs.failure(ctx, "keep up", unit, "")
		}
		var probeErr error
		if err == nil && unit.Running() && unit.job == 0 {
			if probe == nil {
				return unit, nil
			}
			var progress string
			if progress, probeErr = probe(ctx, e.name); probeErr == nil {
				return unit, nil
			}
			if errs.KindOf(probeErr) == errs.FailedPrecondition {
				return unit, probeErr // no wait can help
			}
			e.report("%s", said(progress, probeErr))
		} else if err == nil {
			e.report("%s", e.m.describe(ctx, unit))
		}
		select {
		case <-ctx.Done():
			return unit, e.notReady(ctx, unit, errors.Join(probeErr, err, ctx.Err()))
		case <-changes.signal:
		case <-poll.C:
		}
	}
}

func said(progress string, err error) string {
	if progress != "" {
		return "active, not ready yet: " + progress
	}
	return "active, not ready yet: " + err.Error()
}

func (e *ensuring) notReady(ctx context.Context, unit Unit, cause error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("cannot wait for %s: %w", e.name, ctx.Err())
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), journalTimeout)
	defer cancel()
	words := e.m.Journal.lastWords(bounded, unit)
	return errs.New(errs.DeadlineExceeded, errorsv1.Reason_REASON_MARIADB_NOT_READY,
		fmt.Sprintf("cannot wait longer for %s: not ready after %s, it is %s (%s); its journal "+
			"says:\n%s", e.name,
			time.Since(e.start).Round(time.Millisecond), unit.Active, unit.Sub, words),
		errs.Wrap(cause), errs.Meta("unit", e.name), errs.Meta("journal", words),
		errs.WithHint("call again with a longer timeout: the unit continues by itself"))
}
