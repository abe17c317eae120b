package mariadb

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Binlog is one binary log.
type Binlog struct {
	File      string
	SizeBytes int64
	// StartGtid is the position at its begin.
	StartGtid string
	// NeededBy names what needs it, for an operator to read.
	NeededBy []string
}

// binlogNames are the binary logs with their sizes, oldest first.
func binlogNames(ctx context.Context, q querier) ([]Binlog, error) {
	rows, err := query(ctx, q, "SHOW BINARY LOGS")
	if err != nil {
		return nil, err
	}
	logs := make([]Binlog, 0, len(rows))
	for _, r := range rows {
		logs = append(logs, Binlog{File: r["log_name"], SizeBytes: r.number("file_size")})
	}
	return logs, nil
}

// present are the logs behind the last one that is listed and gone: somebody deleted its file, and
// no replica gets past it. MariaDB lists it with 0 bytes.
func present(logs []Binlog) []Binlog {
	for i := len(logs) - 1; i >= 0; i-- {
		if logs[i].SizeBytes == 0 {
			return logs[i+1:]
		}
	}
	return logs
}

// startOf is the position at which a binary log begins. It fails where MariaDB cannot tell it: the
// empty position would say that nothing was purged.
func startOf(ctx context.Context, q querier, file string) (string, error) {
	r, err := one(ctx, q, fmt.Sprintf("SELECT BINLOG_GTID_POS(%s, %d) AS pos", literal(file),
		beginsAt))
	if err != nil {
		return "", err
	}
	start, err := positionIn(r, file, beginsAt)
	return start.String(), err
}

// Binlogs are the server's binary logs.
type Binlogs struct {
	server       *Server
	reservations *Reservations
	options      *options
}

// List is a page of the binary logs after that file, oldest first; next is the token of the
// page after it.
func (b *Binlogs) List(ctx context.Context, after string,
	size int) (page []Binlog, next string, err error) {
	const what = "cannot list binary logs"
	if err := b.server.require(ctx, what); err != nil {
		return nil, "", err
	}
	reserved, err := b.reservations.InForce()
	if err != nil {
		return nil, "", failure(what, err)
	}
	logs, err := b.needed(ctx, reserved)
	if err != nil {
		return nil, "", failure(what, err)
	}
	// Names sort as they grow: MariaDB widens the number, so longer is later.
	logs = slices.DeleteFunc(logs,
		func(b Binlog) bool { return after != "" && !laterLog(b.File, after) })
	if len(logs) > size {
		logs = logs[:size]
		next = logs[size-1].File
	}
	for i := range logs {
		if logs[i].SizeBytes == 0 {
			continue // its file is gone
		}
		if logs[i].StartGtid, err = startOf(ctx, b.server.db, logs[i].File); err != nil {
			return nil, "", failure(what, err)
		}
	}
	return logs, next, nil
}

func laterLog(a, b string) bool {
	if len(a) != len(b) {
		return len(a) > len(b)
	}
	return a > b
}

// needed are the binary logs with who needs them. Replicas that are connected read near the end;
// what exactly, MariaDB keeps to itself, so the newest log alone is marked.
func (b *Binlogs) needed(ctx context.Context, reserved []Reservation) ([]Binlog, error) {
	v, err := variables(ctx, b.server.db, "log_bin")
	if err != nil || !v.yes("log_bin") {
		return nil, err
	}
	logs, err := binlogNames(ctx, b.server.db)
	if err != nil || len(logs) == 0 {
		return nil, err
	}
	replicas, err := connectedReplicas(ctx, b.server.db)
	if err != nil {
		return nil, err
	}
	for _, r := range reserved {
		for i := range logs {
			if !laterLog(r.FirstFile, logs[i].File) {
				logs[i].NeededBy = append(logs[i].NeededBy, "reservation "+r.ID)
			}
		}
	}
	last := &logs[len(logs)-1]
	for _, r := range replicas {
		last.NeededBy = append(last.NeededBy, fmt.Sprintf("replica server_id %d", r.ServerID))
	}
	return logs, nil
}

// Purge deletes the binary logs before that one and answers their names. No reservation is made
// between the check and the deletion.
func (b *Binlogs) Purge(ctx context.Context, to string) (purged []string, err error) {
	const what = "cannot purge binary logs"
	if err := b.server.require(ctx, what); err != nil {
		return nil, err
	}
	err = b.reservations.holding(func(reserved []Reservation) error {
		purged, err = b.purge(ctx, what, to, reserved)
		return err
	})
	return purged, err
}

func (b *Binlogs) purge(ctx context.Context, what, to string,
	reserved []Reservation) ([]string, error) {
	logs, err := b.needed(ctx, reserved)
	if err != nil {
		return nil, failure(what, err)
	}
	at := slices.IndexFunc(logs, func(b Binlog) bool { return b.File == to })
	if at < 0 {
		return nil, errs.New(errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND,
			fmt.Sprintf("%s: there is no %.80q", what, to),
			errs.WithHint("choose one of ListBinlogs"))
	}
	for _, b := range logs[:at] {
		if len(b.NeededBy) > 0 {
			return nil, needed(b.File, b.NeededBy)
		}
	}
	if at == 0 {
		return nil, nil
	}
	purged, err := purge(ctx, b.server.db, logs[:at], to)
	return purged, failure(what, err)
}

// recoveryLimit bounds the wait for MariaDB's own recovery to need a binary log no more, which is
// about a second after the log was closed.
const recoveryLimit = 10 * time.Second

// purge lets MariaDB stop at a log that a connected replica still reads, or that its own recovery
// needs, and says so when that lasts.
func purge(ctx context.Context, q querier, before []Binlog, to string) ([]string, error) {
	tick := time.NewTicker(recoveryLimit / 100)
	defer tick.Stop()
	for began := time.Now(); ; {
		purged, err := purgeOnce(ctx, q, before, to)
		if err != nil || len(purged) == len(before) {
			return purged, err
		}
		if time.Since(began) > recoveryLimit {
			return purged, needed(before[len(purged)].File, []string{"a connected replica, " +
				"or by MariaDB itself to recover from a crash"})
		}
		select {
		case <-ctx.Done():
			return purged, ctx.Err()
		case <-tick.C:
		}
	}
}

// purgeOnce answers with the logs that are gone.
func purgeOnce(ctx context.Context, q querier, before []Binlog,
	to string) (gone []string, err error) {
	if err := execute(ctx, q, "PURGE BINARY LOGS TO "+literal(to)); err != nil {
		return nil, err
	}
	rest, err := binlogNames(ctx, q)
	if err != nil {
		return nil, err
	}
	for _, b := range before {
		if slices.ContainsFunc(rest, func(r Binlog) bool { return r.File == b.File }) {
			break
		}
		gone = append(gone, b.File)
	}
	return gone, nil
}

func needed(file string, by []string) error {
	return unsafe(errorsv1.Reason_REASON_BINLOGS_NEEDED,
		fmt.Sprintf("cannot purge %s: needed by %s", file, strings.Join(by, ", ")),
		errs.WithHint("release the reservation, or wait until the replica has read it"),
		errs.Meta("file", file))
}
