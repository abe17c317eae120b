package systemd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// verb is one kind of job.
type verb struct {
	name string
	call func(conn *dbus.Conn, ctx context.Context, unit, mode string, result chan<- string) (int,
		error)
}

func starting() verb   { return verb{"start", (*dbus.Conn).StartUnitContext} }
func stopping() verb   { return verb{"stop", (*dbus.Conn).StopUnitContext} }
func restarting() verb { return verb{"restart", (*dbus.Conn).RestartUnitContext} }
func reloads() verb    { return verb{"reload", (*dbus.Conn).ReloadUnitContext} }

// jobs changes the states of units by systemd's jobs.
type jobs struct {
	bus     *bus
	journal Journal
	log     *slog.Logger
}

// run asks systemd for the job and waits for its end, telling of the unit meanwhile. It answers the
// unit after the job.
func (j jobs) run(ctx context.Context, v verb, name string, each func(Unit)) (Unit, error) {
	conn, err := j.bus.connect(ctx)
	if err != nil {
		return Unit{}, err
	}
	// Buffered: go-systemd handles no other job until the result is received.
	results := make(chan string, 1)
	start := time.Now()
	if _, err := v.call(conn, ctx, name, "replace", results); err != nil {
		return Unit{}, wrap("cannot "+v.name, name, err)
	}
	result, err := j.await(ctx, name, results, each)
	if err != nil {
		return Unit{}, j.overdue(ctx, v, name, time.Since(start), err)
	}
	j.log.Info("systemd job ended", "unit", name, "verb", v.name, "result", result, "took",
		time.Since(start))
	unit, err := j.bus.look(ctx, name)
	if err != nil {
		return Unit{}, err
	}
	return unit, j.judge(ctx, v, unit, result)
}

// await is the job's result; "" when it ended unseen, because the connection was lost.
func (j jobs) await(ctx context.Context, name string, results <-chan string,
	each func(Unit)) (string, error) {
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for idle := 0; idle < 2; {
		select {
		case result := <-results:
			return result, nil
		case <-ctx.Done():
			return "", ctx.Err()
		case <-poll.C:
		}
		unit, err := j.bus.look(ctx, name)
		if err != nil {
			continue // systemd reloads, or D-Bus is coming back; ctx bounds it
		}
		if each != nil {
			each(unit)
		}
		idle++
		if unit.job != 0 {
			idle = 0
		}
	}
	return "", nil
}

func (j jobs) overdue(ctx context.Context, v verb, name string, waited time.Duration,
	err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("cannot wait for the %s of %s: %w", v.name, name, err)
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), journalTimeout)
	defer cancel()
	unit, lookErr := j.bus.look(bounded, name)
	state := unit.Active + " (" + unit.Sub + ")"
	if lookErr != nil {
		state = "unknown"
	}
	return errs.New(errs.DeadlineExceeded, errorsv1.Reason_REASON_TIMEOUT,
		fmt.Sprintf("cannot %s %s: not over after %s, its state is %s", v.name, name,
			waited.Round(time.Millisecond), state),
		errs.Wrap(err), errs.Meta("unit", name),
		errs.Meta("journal", j.journal.lastWords(bounded, unit)),
		errs.WithHint("call again with a longer timeout: systemd continues with the job"))
}

// judge decides from the job's result and the state after it whether the job did what it was asked
// for.
func (j jobs) judge(ctx context.Context, v verb, unit Unit, result string) error {
	if fulfilled(v, unit, result) {
		return nil
	}
	if result == "canceled" {
		return errs.New(errs.Aborted, errorsv1.Reason_REASON_UNIT_JOB_REPLACED,
			fmt.Sprintf("cannot %s %s: another request took its place, its state is %s (%s)",
				v.name, unit.Name, unit.Active, unit.Sub),
			errs.Meta("unit", unit.Name), errs.Retry(time.Second),
			errs.WithHint("observe the unit, then call again",
				errs.Call("GetUnit", "unit", unit.Name)))
	}
	return j.failure(ctx, v.name, unit, result)
}

// fulfilled is true when the job did what it was asked for. A job that ended unseen is judged by
// the unit's state alone.
func fulfilled(v verb, unit Unit, result string) bool {
	switch {
	case result == "done":
		return true
	case v.name == "stop":
		return unit.Stopped()
	case result == "" || result == "canceled":
		return unit.Running() && v.name != "restart"
	}
	return false
}

// failure is the error of a unit that failed, with the last lines of its journal and what made it
// fail.
func (j jobs) failure(ctx context.Context, verb string, unit Unit, result string) error {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), journalTimeout)
	defer cancel()
	why := fmt.Sprintf("it is %s (%s), result %s", unit.Active, unit.Sub, unit.Result)
	action := errs.Call("TailJournal", "unit", unit.Name)
	hint := "correct the cause that its journal shows, then call again"
	switch {
	case result == "dependency":
		why = "a unit that it depends on failed: " + j.brokenDependencies(bounded, unit)
		hint = "start the units that it depends on first"
	case result == "timeout":
		why = "it did not get ready within systemd's own timeout"
	case unit.Result == "start-limit-hit":
		hint = "correct the cause of its many starts, then start it"
		action = errs.Call("EnsureUnit", "unit", unit.Name)
	// of the main process, which may never have been started
	case unit.Result == "exit-code" && unit.ExitStatus == 0:
		why = "a command that its file has run before or after its main process failed"
	case unit.Result == "exit-code" || unit.Result == "signal" || unit.Result == "core-dump":
		why = fmt.Sprintf("its process ended with %s %d", strings.ReplaceAll(unit.Result, "-", " "),
			unit.ExitStatus)
	}
	message := fmt.Sprintf("cannot %s %s: %s", verb, unit.Name, why)
	words := j.journal.lastWords(bounded, unit)
	if words != "" {
		message += "; its journal says:\n" + words
	}
	return errs.New(errs.Internal, errorsv1.Reason_REASON_UNIT_FAILED, message,
		errs.WithHint(hint, action), errs.Meta("unit", unit.Name),
		errs.Meta("result", unit.Result), errs.Meta("exit_status", fmt.Sprint(unit.ExitStatus)),
		errs.Meta("journal", words))
}

func (j jobs) brokenDependencies(ctx context.Context, unit Unit) string {
	var broken []string
	for _, name := range unit.Dependencies {
		if d, err := j.bus.look(ctx, name); err == nil && !d.Running() {
			broken = append(broken, fmt.Sprintf("%s is %s (%s)", name, d.Active, d.Load))
		}
	}
	if broken == nil {
		return "which one is not known any more"
	}
	return strings.Join(broken, ", ")
}
