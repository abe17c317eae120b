package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// ServerIDs allocates MariaDB server ids: unique in the fleet, never used again. Rows are never
// removed.
type ServerIDs struct{ tx *Tx }

// ServerIDs gives the allocation of MariaDB server ids.
func (tx *Tx) ServerIDs() ServerIDs { return ServerIDs{tx: tx} }

// Allocate gives the server a server_id that no server ever had. A name that was allocated one gets
// the same again, until Release.
func (s ServerIDs) Allocate(ctx context.Context, server string) (uint32, error) {
	id, err := s.of(ctx, server)
	if err != nil || id != 0 {
		return uint32(id), err
	}
	for {
		next, err := s.tx.Next(ctx, "server_id", inventory.FirstServerID)
		if err != nil {
			return 0, err
		}
		if next > math.MaxUint32 {
			return 0, errs.New(errs.FailedPrecondition,
				errorsv1.Reason_REASON_SERVER_ID_TAKEN, "all server ids have been used",
				errs.WithHint("begin a new fleet with a control plane of its own"))
		}
		_, err = s.holder(ctx, next)
		if errors.Is(err, sql.ErrNoRows) {
			_, err = s.tx.exec(ctx, insertSQL("server_ids", "id, server"), next, server)
			return uint32(next), err
		}
		if err != nil {
			return 0, err
		}
	}
}

// Next moves the counter of that name and returns its new value; the first is first. Two
// transactions never get the same.
func (tx *Tx) Next(ctx context.Context, name string, first int64) (value int64, err error) {
	n, err := tx.exec(ctx, "UPDATE counters SET value = value + 1 WHERE name = ?", name)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		_, err = tx.exec(ctx, insertSQL("counters", "name, value"), name, first)
		if tx.engine.duplicate(err) { // another transaction made it: run this one again
			return 0, inventory.Stale("counter", name)
		}
		return first, err
	}
	err = tx.sql.QueryRowContext(ctx, "SELECT value FROM counters WHERE name = ?",
		name).Scan(&value)
	return value, err
}

// counter reads the counter of that name, which is 0 before its first move.
func (tx *Tx) counter(ctx context.Context, name string) (int64, error) {
	values, err := rowsOf(ctx, tx, func(row scanner) (value int64, err error) {
		err = row.Scan(&value)
		return value, err
	}, "SELECT value FROM counters WHERE name = ?", name)
	if err != nil || len(values) == 0 {
		return 0, err
	}
	return values[0], nil
}

// Claim records a server_id that a server was found with, or refuses when another server has or had
// it.
func (s ServerIDs) Claim(ctx context.Context, server string, id uint32) error {
	holder, err := s.holder(ctx, int64(id))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		_, err = s.tx.exec(ctx, insertSQL("server_ids", "id, server"), id, server)
		return err
	case err != nil:
		return err
	case holder == server:
		return nil
	}
	if holder == "" {
		holder = "a server that is gone"
	}
	return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_SERVER_ID_TAKEN,
		fmt.Sprintf("server %s has server_id %d, which belongs to %s", server, id, holder),
		errs.WithHint("give the server another server_id"))
}

// Release makes the server's ids nobody's, for good: a new server of that name gets another.
func (s ServerIDs) Release(ctx context.Context, server string) error {
	_, err := s.tx.exec(ctx, "UPDATE server_ids SET server = '' WHERE server = ?", server)
	return err
}

func (s ServerIDs) holder(ctx context.Context, id int64) (server string, err error) {
	err = s.tx.sql.QueryRowContext(ctx, "SELECT server FROM server_ids WHERE id = ?",
		id).Scan(&server)
	return server, err
}

func (s ServerIDs) of(ctx context.Context, server string) (id int64, err error) {
	err = s.tx.sql.QueryRowContext(ctx,
		"SELECT COALESCE(MAX(id), 0) FROM server_ids WHERE server = ?", server).Scan(&id)
	return id, err
}
