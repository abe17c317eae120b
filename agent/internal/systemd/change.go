package systemd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Start makes the unit active and waits for the job's end; ctx bounds the wait. It says whether the
// unit was not active before.
func (m *Manager) Start(ctx context.Context, name string) (Unit, bool, error) {
	unit, err := m.Get(ctx, name)
	switch {
	case err != nil:
		return Unit{}, false, err
	case unit.Masked():
		return unit, false, maskedError("start", name)
	case unit.Running() && unit.job == 0:
		return unit, false, nil
	}
	unit, err = m.jobs.run(ctx, starting(), name, nil)
	return unit, true, err
}

// Stop makes the unit inactive and waits for the job's end; ctx bounds the wait. Sockets and timers
// that would start it again are stopped before it. A unit on its way up gets half a minute to come
// up: MariaDB that is told to end while it begins may hang until systemd kills it. It says whether
// something ran before.
func (m *Manager) Stop(ctx context.Context, name string) (Unit, bool, error) {
	unit, err := m.Get(ctx, name)
	if err != nil {
		return Unit{}, false, err
	}
	changed := false
	for _, trigger := range unit.TriggeredBy {
		if t, err := m.bus.look(ctx, trigger); err != nil || t.Stopped() {
			continue
		}
		if _, err := m.jobs.run(ctx, stopping(), trigger, nil); err != nil {
			return unit, changed, fmt.Errorf("cannot stop what starts %s: %w", name, err)
		}
		changed = true
	}
	m.letBegin(ctx, name)
	// A unit that waits for its automatic restart is "activating": it has to be stopped as well.
	if unit, err = m.bus.look(ctx, name); err != nil || unit.Stopped() && unit.job == 0 {
		return unit, changed, err
	}
	unit, err = m.jobs.run(ctx, stopping(), name, nil)
	return unit, true, err
}

// beginTime is how long a unit may take to come up before it is stopped all the same.
const beginTime = 30 * time.Second

// letBegin waits while the unit's program begins; whether it came up is seen by who looks next. It
// only looks: a job of its own would start a unit that fails meanwhile.
func (m *Manager) letBegin(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, beginTime)
	defer cancel()
	began := errors.New("it begins no more")
	if err := m.Watch(ctx, []string{name}, func(u Unit) error {
		if u.Active == activating && u.Sub == "start" {
			return nil
		}
		return began
	}); !errors.Is(err, began) {
		m.log.Debug("a unit that is stopped did not come up before", "unit", name, "error", err)
	}
}

// Restart restarts the unit once: it runs under another invocation than the one that the caller saw
// afterwards. A unit that does already is left alone, and waited for while it is on its way up. It
// says whether this call restarted it.
func (m *Manager) Restart(ctx context.Context, name, seen string) (Unit, bool, error) {
	unit, err := m.Get(ctx, name)
	switch {
	case err != nil:
		return Unit{}, false, err
	case unit.Masked():
		return unit, false, maskedError("restart", name)
	case unit.InvocationID != seen && unit.Running() && unit.job == 0:
		return unit, false, nil
	case unit.InvocationID != seen && (unit.Running() || unit.Active == activating):
		unit, err = m.jobs.run(ctx, starting(), name, nil)
		return unit, false, err
	}
	unit, err = m.jobs.run(ctx, restarting(), name, nil)
	return unit, true, err
}

// Reload asks an active unit to reload. FailedPrecondition when it is not active or takes no
// reload.
func (m *Manager) Reload(ctx context.Context, name string) (Unit, error) {
	unit, err := m.Get(ctx, name)
	switch {
	case err != nil:
		return Unit{}, err
	case !unit.Running():
		return unit, wrongState(name, fmt.Sprintf("cannot reload %s: it is %s", name, unit.Active),
			errs.WithHint("start it first", errs.Call("StartUnit", "unit", name)))
	case !unit.CanReload:
		return unit, wrongState(name, fmt.Sprintf("cannot reload %s: it knows no reload", name),
			errs.WithHint("restart it instead", errs.Call("RestartUnit", "unit", name)))
	}
	return m.jobs.run(ctx, reloads(), name, nil)
}

// ResetFailed clears the failed state and the start limit. It says whether the unit was failed.
func (m *Manager) ResetFailed(ctx context.Context, name string) (Unit, bool, error) {
	unit, err := m.Get(ctx, name)
	if err != nil {
		return Unit{}, false, err
	}
	wasFailed := unit.Active == failed
	if err := m.bus.resetFailed(ctx, name); err != nil {
		return unit, false, err
	}
	unit, err = m.bus.look(ctx, name)
	return unit, wasFailed, err
}

func maskedError(verb, name string) error {
	message := fmt.Sprintf("cannot %s %s: it is masked", verb, name)
	return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_UNIT_MASKED, message,
		errs.Meta("unit", name),
		errs.Precondition("units/"+name, "masked"),
		errs.WithHint("unmask it", errs.Call("UnmaskUnit", "unit", name),
			errs.Call("EnsureUnit", "unit", name)))
}
