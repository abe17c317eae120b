package mariadb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/proto/gtid"
	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// keepInterval is how often a restart of MariaDB is checked for while binary logs are reserved.
const keepInterval = time.Second

// Reservations keep binary logs: in the running server, in the agent's option file for its next
// start, and by a timer of the host that ends each in time.
type Reservations struct {
	server   *Server
	file     reservationFile
	timers   Timers
	program  string
	dropIn   dropIn
	units    UnitFiles
	quiesced func() bool
	log      *slog.Logger
}

// InForce are those that are not over.
func (rs *Reservations) InForce() ([]Reservation, error) {
	content, err := rs.file.read()
	if err != nil {
		return nil, err
	}
	return inForce(content.Reservations)
}

// holding gives those that are not over to a function, during which none is made or ended.
func (rs *Reservations) holding(use func([]Reservation) error) error {
	return rs.file.holding(func(content reservations) error {
		reserved, err := inForce(content.Reservations)
		if err != nil {
			return err
		}
		return use(reserved)
	})
}

func inForce(all []Reservation) ([]Reservation, error) {
	boot, now, err := clock()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(all),
		func(r Reservation) bool { return r.left(boot, now) <= 0 }), nil
}

// Reserve keeps all binary logs that exist now for that long. From, when it is not empty, is a
// position that they must still serve.
func (rs *Reservations) Reserve(ctx context.Context, id string, duration time.Duration,
	from string) (Reservation, error) {
	if err := rs.server.require(ctx, "cannot reserve binary logs"); err != nil {
		return Reservation{}, err
	}
	// The end is armed before anything is kept.
	if err := rs.arm(ctx, id, duration); err != nil {
		return Reservation{}, err
	}
	var made Reservation
	err := rs.file.change(func(content *reservations) error {
		var err error
		made, err = rs.reserve(ctx, content, id, duration, from)
		return err
	})
	return made, failure("cannot reserve binary logs", err)
}

func (rs *Reservations) reserve(ctx context.Context, content *reservations, id string,
	duration time.Duration, from string) (Reservation, error) {
	// MariaDB deletes nothing from here on, so what is read next stays.
	if err := errors.Join(rs.keepInFile(ctx, true), rs.suspendExpiry(ctx, content)); err != nil {
		return Reservation{}, rs.undoUnlessReserved(ctx, content, err)
	}
	logs, err := servedFrom(ctx, rs.server.db, from)
	if err != nil {
		return Reservation{}, rs.undoUnlessReserved(ctx, content, err)
	}
	boot, now, err := clock()
	if err != nil {
		return Reservation{}, err
	}
	made := Reservation{ID: id, FirstFile: logs[0].File, Until: time.Now().Add(duration).UTC(),
		Boot: boot, BootUntil: now + duration}
	for i, r := range content.Reservations {
		if r.ID == id {
			if r.left(boot, now) > 0 {
				made.FirstFile = r.FirstFile
			}
			content.Reservations[i] = made
			return made, nil
		}
	}
	content.Reservations = append(content.Reservations, made)
	return made, nil
}

// servedFrom are the binary logs, which must reach back to a position.
func servedFrom(ctx context.Context, q querier, from string) ([]Binlog, error) {
	v, err := variables(ctx, q, "log_bin")
	if err != nil {
		return nil, err
	}
	logs, err := binlogNames(ctx, q)
	if err != nil || !v.yes("log_bin") || len(logs) == 0 {
		if !v.yes("log_bin") {
			return nil, binlogOff("reserve binary logs")
		}
		return nil, err
	}
	if from == "" {
		return logs, nil
	}
	wanted, err := gtid.ParsePosition(from)
	if err != nil {
		return nil, errs.New(errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD,
			"from_gtid is not a position", errs.Field("from_gtid", err.Error()),
			errs.WithHint("give it as MariaDB writes it, for example 0-1001-42"))
	}
	there := present(logs)
	if len(there) == 0 {
		return nil, fmt.Errorf("the current binary log, %s, is gone", logs[len(logs)-1].File)
	}
	start, err := startOf(ctx, q, there[0].File)
	if err != nil {
		return nil, err
	}
	oldest, err := gtid.ParsePosition(start)
	if err != nil {
		return nil, err
	}
	if !wanted.Contains(oldest) {
		return nil, unsafe(errorsv1.Reason_REASON_BINLOGS_PURGED,
			fmt.Sprintf("cannot reserve binary logs from %s: they begin at %s", wanted, oldest),
			errs.WithHint("take a new snapshot"),
			errs.Meta("oldest_gtid", oldest.String()))
	}
	return logs, nil
}

func binlogOff(what string) error {
	return unsafe(errorsv1.Reason_REASON_BINLOG_OFF, "cannot "+what+": the binary log is off",
		errs.WithHint("turn log_bin on and restart MariaDB",
			errs.Call("SetConfiguration", "log_bin", "mariadb-bin"),
			errs.Call("RestartUnit", "unit", Unit)))
}

// undoUnlessReserved gives MariaDB its expiry back when a reservation was refused and there is no
// other one. reservationFile.change does not write then, so undoUnlessReserved does.
func (rs *Reservations) undoUnlessReserved(ctx context.Context, content *reservations,
	cause error) error {
	if len(content.Reservations) == 0 {
		if err := errors.Join(rs.keepInFile(ctx, false), rs.restoreExpiry(ctx, content),
			rs.file.write(*content)); err != nil {
			rs.log.Warn("cannot restore the expiry of binary logs", "error", err)
		}
	}
	return cause
}

// Release ends a reservation and says whether there was one.
func (rs *Reservations) Release(ctx context.Context, id string) (bool, error) {
	found := false
	err := rs.file.change(func(content *reservations) error {
		rest := slices.DeleteFunc(slices.Clone(content.Reservations),
			func(r Reservation) bool { return r.ID == id })
		found = len(rest) < len(content.Reservations)
		content.Reservations = rest
		return rs.settleExpiry(ctx, content)
	})
	if err != nil {
		return false, failure("cannot release binary logs", err)
	}
	return found, errors.Join(rs.timers.StopTransient(ctx, timerName(id)+".timer"),
		rs.timers.StopTransient(ctx, nextTimer(id)+".timer"))
}

// Unreserve ends a reservation whose time is over; it is what the host's timer runs
// (`understudy-agent unreserve ID`). One that was prolonged meanwhile stays.
func (rs *Reservations) Unreserve(ctx context.Context, id string) error {
	return rs.file.change(func(content *reservations) error {
		boot, now, err := clock()
		if err != nil {
			return err
		}
		content.Reservations = slices.DeleteFunc(content.Reservations, func(r Reservation) bool {
			return r.ID == id && r.left(boot, now) <= time.Second
		})
		return rs.settleExpiry(ctx, content)
	})
}

// Resume is to be called when the agent starts: it arms the ends again that a reboot
// took away, drops what is over, and makes MariaDB keep what is reserved.
func (rs *Reservations) Resume(ctx context.Context) error {
	if err := rs.refresh(ctx); err != nil {
		return err
	}
	alive, err := rs.InForce()
	if err != nil {
		return err
	}
	boot, now, err := clock()
	for _, r := range alive {
		if err == nil {
			err = rs.arm(ctx, r.ID, r.left(boot, now))
		}
	}
	return err
}

// Keep makes a MariaDB that was restarted keep what is reserved, until ctx is done: its
// settings are forgotten at a restart.
func (rs *Reservations) Keep(ctx context.Context, loops *loop.Set) {
	loops.Run(ctx, loop.Spec{Name: "keep the reserved binary logs", Every: keepInterval,
		Limit: 3 * time.Second, LateAfter: time.Minute,
		Means: "binary logs that a replica needs may be purged"}, rs.keepReserved)
}

// keepReserved looks cheaply first: most of the time nothing is reserved.
func (rs *Reservations) keepReserved(ctx context.Context) error {
	if rs.quiesced() {
		return nil
	}
	content, err := rs.file.read()
	if err != nil || len(content.Reservations) == 0 && content.Original == nil {
		return err
	}
	alive, err := inForce(content.Reservations)
	if err != nil {
		return err
	}
	current, err := readExpiry(ctx, rs.server.db)
	if err != nil || current == (expiry{}) && len(alive) > 0 &&
		len(alive) == len(content.Reservations) {
		return err
	}
	return rs.refresh(ctx)
}

// refresh drops what is over and makes MariaDB keep what is not.
func (rs *Reservations) refresh(ctx context.Context) error {
	return rs.file.change(func(content *reservations) (err error) {
		if content.Reservations, err = inForce(content.Reservations); err != nil {
			return err
		}
		return rs.settleExpiry(ctx, content)
	})
}

// keepInFile makes the option file keep binary logs, or not.
func (rs *Reservations) keepInFile(ctx context.Context, on bool) error {
	if on {
		if err := readByUnit(ctx, rs.units); err != nil {
			return err
		}
	}
	_, err := rs.dropIn.edit(func(old []byte) []byte { return withReserved(old, on) })
	return err
}

// settleExpiry makes MariaDB's rule fit the reservations. A MariaDB that is down has forgotten the
// rule anyway.
func (rs *Reservations) settleExpiry(ctx context.Context, content *reservations) error {
	if err := rs.keepInFile(ctx, len(content.Reservations) > 0); err != nil {
		return err
	}
	if rs.server.answers(ctx) != nil {
		if len(content.Reservations) == 0 {
			content.Original = nil
		}
		return nil
	}
	if len(content.Reservations) > 0 {
		return rs.suspendExpiry(ctx, content)
	}
	return rs.restoreExpiry(ctx, content)
}

func readExpiry(ctx context.Context, q querier) (expiry, error) {
	v, err := variables(ctx, q, "binlog_expire_logs_seconds", "max_binlog_total_size")
	return expiry{v.number("binlog_expire_logs_seconds"), v.number("max_binlog_total_size")}, err
}

// suspendExpiry stops MariaDB from deleting binary logs, and remembers its rule.
func (rs *Reservations) suspendExpiry(ctx context.Context, content *reservations) error {
	current, err := readExpiry(ctx, rs.server.db)
	if err != nil || current == (expiry{}) {
		return err
	}
	// Remembered first: whoever comes after a crash in between can still give it back.
	content.Original = &current
	if err := rs.file.write(*content); err != nil {
		return err
	}
	if err := writeExpiry(ctx, rs.server.db, current, expiry{}); err != nil {
		return err
	}
	rs.log.Info("binary logs are kept", "expire_seconds_before", current.Seconds,
		"total_size_before", current.TotalSize)
	return nil
}

// restoreExpiry restores MariaDB's rule, unless it was changed meanwhile.
func (rs *Reservations) restoreExpiry(ctx context.Context, content *reservations) error {
	if content.Original == nil {
		return nil
	}
	current, err := readExpiry(ctx, rs.server.db)
	if err != nil {
		return err
	}
	if current == (expiry{}) {
		if err := writeExpiry(ctx, rs.server.db, current, *content.Original); err != nil {
			return err
		}
		rs.log.Info("binary logs expire again", "expire_seconds", content.Original.Seconds,
			"total_size", content.Original.TotalSize)
	}
	content.Original = nil
	return nil
}

func writeExpiry(ctx context.Context, q querier, from, to expiry) error {
	if from.Seconds != to.Seconds {
		if err := execute(ctx, q, fmt.Sprintf("SET GLOBAL binlog_expire_logs_seconds = %d",
			to.Seconds)); err != nil {
			return err
		}
	}
	if from.TotalSize != to.TotalSize {
		return execute(ctx, q, fmt.Sprintf("SET GLOBAL max_binlog_total_size = %d",
			to.TotalSize))
	}
	return nil
}

func timerName(id string) string { return systemd.TransientPrefix + "unreserve-" + id }

// nextTimer stands in while the timer itself is replaced; no id has an underscore.
func nextTimer(id string) string { return timerName(id) + "_next" }

// arm makes the host end the reservation. A little later than its end, so that it is surely over
// then. At no moment is there no timer.
func (rs *Reservations) arm(ctx context.Context, id string, after time.Duration) error {
	for _, name := range []string{nextTimer(id), timerName(id)} {
		err := rs.timers.StartTransientTimer(ctx, name+".service", after+time.Second,
			systemd.TransientSpec{
				Description: "End of Understudy's binlog reservation " + id,
				Exec:        []string{rs.program, "unreserve", id},
				Type:        "oneshot", TimeoutStart: time.Minute,
			})
		if err != nil {
			return err
		}
	}
	return rs.timers.StopTransient(ctx, nextTimer(id)+".timer")
}
