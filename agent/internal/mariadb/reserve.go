package mariadb

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/proto/gtid"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// keepInterval is how often a restart of MariaDB is checked for while binary logs are reserved.
const keepInterval = time.Second

// ReservationID is what ids of reservations look like: they become names of units.
var reservationID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,63}$`)

// ValidReservationID says whether a reservation can have that id: at most 64 letters, digits and
// dashes.
func ValidReservationID(id string) bool { return reservationID.MatchString(id) }

// Reservations are those in force.
func (s *Server) Reservations() ([]Reservation, error) {
	content, err := s.reserved.read()
	if err != nil {
		return nil, err
	}
	return inForce(content.Reservations)
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
func (s *Server) Reserve(ctx context.Context, id string, duration time.Duration,
	from string) (Reservation, error) {
	if s.config.Timers == nil {
		return Reservation{}, errs.New(errs.Internal, errorsv1.Reason_REASON_INTERNAL,
			"cannot reserve binary logs: no timers to end it",
			errs.WithHint("install another build of the agent"))
	}
	if err := s.require(ctx, "cannot reserve binary logs"); err != nil {
		return Reservation{}, err
	}
	// The end is armed before anything is kept.
	if err := s.arm(ctx, id, duration); err != nil {
		return Reservation{}, err
	}
	var made Reservation
	err := s.reserved.change(func(content *reservations) error {
		var err error
		made, err = s.reserve(ctx, content, id, duration, from)
		return err
	})
	return made, failure("cannot reserve binary logs", err)
}

func (s *Server) reserve(ctx context.Context, content *reservations, id string,
	duration time.Duration, from string) (Reservation, error) {
	// MariaDB deletes nothing from here on, so what is read next stays.
	if err := errors.Join(s.keepInFile(true), s.suspendExpiry(ctx, content)); err != nil {
		return Reservation{}, s.undoUnlessReserved(ctx, content, err)
	}
	logs, err := s.servedFrom(ctx, from)
	if err != nil {
		return Reservation{}, s.undoUnlessReserved(ctx, content, err)
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
func (s *Server) servedFrom(ctx context.Context, from string) ([]Binlog, error) {
	v, err := variables(ctx, s.db, "log_bin")
	if err != nil {
		return nil, err
	}
	logs, err := binlogNames(ctx, s.db)
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
	start, err := startOf(ctx, s.db, logs[0].File)
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
func (s *Server) undoUnlessReserved(ctx context.Context, content *reservations, cause error) error {
	if len(content.Reservations) == 0 {
		if err := errors.Join(s.keepInFile(false), s.restoreExpiry(ctx, content),
			s.reserved.write(*content)); err != nil {
			s.log.Warn("cannot restore the expiry of binary logs", "error", err)
		}
	}
	return cause
}

// Release ends a reservation and says whether there was one.
func (s *Server) Release(ctx context.Context, id string) (bool, error) {
	found := false
	err := s.reserved.change(func(content *reservations) error {
		rest := slices.DeleteFunc(slices.Clone(content.Reservations),
			func(r Reservation) bool { return r.ID == id })
		found = len(rest) < len(content.Reservations)
		content.Reservations = rest
		return s.settleExpiry(ctx, content)
	})
	if err != nil {
		return false, failure("cannot release binary logs", err)
	}
	if s.config.Timers != nil {
		err = errors.Join(s.config.Timers.StopTransient(ctx, timerName(id)+".timer"),
			s.config.Timers.StopTransient(ctx, nextTimer(id)+".timer"))
	}
	return found, err
}

// Unreserve ends a reservation whose time is over; it is what the host's timer runs
// (`understudy-agent unreserve ID`). One that was prolonged meanwhile stays.
func (s *Server) Unreserve(ctx context.Context, id string) error {
	return s.reserved.change(func(content *reservations) error {
		boot, now, err := clock()
		if err != nil {
			return err
		}
		content.Reservations = slices.DeleteFunc(content.Reservations, func(r Reservation) bool {
			return r.ID == id && r.left(boot, now) <= time.Second
		})
		return s.settleExpiry(ctx, content)
	})
}

// ResumeReservations is to be called when the agent starts: it arms the ends again that a reboot
// took away, drops what is over, and makes MariaDB keep what is reserved.
func (s *Server) ResumeReservations(ctx context.Context) error {
	err := s.reserved.change(func(content *reservations) error {
		alive, err := inForce(content.Reservations)
		if err != nil {
			return err
		}
		content.Reservations = alive
		return s.settleExpiry(ctx, content)
	})
	if err != nil || s.config.Timers == nil {
		return err
	}
	alive, err := s.Reservations()
	if err != nil {
		return err
	}
	boot, now, err := clock()
	for _, r := range alive {
		if err == nil {
			err = s.arm(ctx, r.ID, r.left(boot, now))
		}
	}
	return err
}

// KeepReservations makes a MariaDB that was restarted keep what is reserved, until ctx is done: its
// settings are forgotten at a restart.
func (s *Server) KeepReservations(ctx context.Context) {
	ticker := time.NewTicker(keepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if !s.config.Quiesced() {
				s.keepReserved(ctx)
			}
		}
	}
}

// keepReserved looks cheaply first: most of the time nothing is reserved.
func (s *Server) keepReserved(ctx context.Context) {
	content, err := s.reserved.read()
	if err != nil || len(content.Reservations) == 0 && content.Original == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	alive, err := inForce(content.Reservations)
	if err != nil {
		return
	}
	current, err := s.readExpiry(ctx)
	if err != nil || current == (expiry{}) && len(alive) > 0 &&
		len(alive) == len(content.Reservations) {
		return
	}
	err = s.reserved.change(func(content *reservations) error {
		alive, err := inForce(content.Reservations)
		if err != nil {
			return err
		}
		content.Reservations = alive
		return s.settleExpiry(ctx, content)
	})
	if err != nil {
		s.log.Warn("cannot make MariaDB keep its reserved binary logs", "error", err)
	}
}

// settleExpiry makes MariaDB's rule fit the reservations. A MariaDB that is down has forgotten the
// rule anyway.
func (s *Server) settleExpiry(ctx context.Context, content *reservations) error {
	if err := s.keepInFile(len(content.Reservations) > 0); err != nil {
		return err
	}
	if s.answers(ctx) != nil {
		if len(content.Reservations) == 0 {
			content.Original = nil
		}
		return nil
	}
	if len(content.Reservations) > 0 {
		return s.suspendExpiry(ctx, content)
	}
	return s.restoreExpiry(ctx, content)
}

func (s *Server) readExpiry(ctx context.Context) (expiry, error) {
	v, err := variables(ctx, s.db, "binlog_expire_logs_seconds", "max_binlog_total_size")
	return expiry{v.number("binlog_expire_logs_seconds"), v.number("max_binlog_total_size")}, err
}

// suspendExpiry stops MariaDB from deleting binary logs, and remembers its rule.
func (s *Server) suspendExpiry(ctx context.Context, content *reservations) error {
	current, err := s.readExpiry(ctx)
	if err != nil || current == (expiry{}) {
		return err
	}
	// Remembered first: whoever comes after a crash in between can still give it back.
	content.Original = &current
	if err := s.reserved.write(*content); err != nil {
		return err
	}
	if err := s.writeExpiry(ctx, current, expiry{}); err != nil {
		return err
	}
	s.log.Info("binary logs are kept", "expire_seconds_before", current.Seconds,
		"total_size_before", current.TotalSize)
	return nil
}

// restoreExpiry restores MariaDB's rule, unless it was changed meanwhile.
func (s *Server) restoreExpiry(ctx context.Context, content *reservations) error {
	if content.Original == nil {
		return nil
	}
	current, err := s.readExpiry(ctx)
	if err != nil {
		return err
	}
	if current == (expiry{}) {
		if err := s.writeExpiry(ctx, current, *content.Original); err != nil {
			return err
		}
		s.log.Info("binary logs expire again", "expire_seconds", content.Original.Seconds,
			"total_size", content.Original.TotalSize)
	}
	content.Original = nil
	return nil
}

func (s *Server) writeExpiry(ctx context.Context, from, to expiry) error {
	if from.Seconds != to.Seconds {
		if err := execute(ctx, s.db, fmt.Sprintf("SET GLOBAL binlog_expire_logs_seconds = %d",
			to.Seconds)); err != nil {
			return err
		}
	}
	if from.TotalSize != to.TotalSize {
		return execute(ctx, s.db, fmt.Sprintf("SET GLOBAL max_binlog_total_size = %d",
			to.TotalSize))
	}
	return nil
}

func timerName(id string) string { return systemd.TransientPrefix + "unreserve-" + id }

// nextTimer stands in while the timer itself is replaced; no id has an underscore.
func nextTimer(id string) string { return timerName(id) + "_next" }

// arm makes the host end the reservation. A little later than its end, so that it is surely over
// then. At no moment is there no timer.
func (s *Server) arm(ctx context.Context, id string, after time.Duration) error {
	for _, name := range []string{nextTimer(id), timerName(id)} {
		err := s.config.Timers.StartTransientTimer(ctx, name+".service", after+time.Second,
			systemd.TransientSpec{
				Description: "End of Understudy's binlog reservation " + id,
				Exec:        []string{s.config.Program, "unreserve", id},
				Type:        "oneshot", TimeoutStart: time.Minute,
			})
		if err != nil {
			return err
		}
	}
	return s.config.Timers.StopTransient(ctx, nextTimer(id)+".timer")
}
