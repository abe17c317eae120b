package store

import (
	"context"
	"database/sql"
	"errors"
	"math"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
)

// ServerIDs allots MariaDB server ids: unique in the fleet, never used again. Rows are never removed.
type ServerIDs struct{ tx *Tx }

// ServerIDs gives the allotment of MariaDB server ids.
func (tx *Tx) ServerIDs() ServerIDs { return ServerIDs{tx: tx} }

// Allot gives the server a server_id that no server ever had. A name that was allotted one gets the same again, until Release.
func (s ServerIDs) Allot(ctx context.Context, server string) (uint32, error) {
	id, err := s.of(ctx, server)
	if err != nil || id != 0 {
		return uint32(id), err
	}
	var last int64
	if err := s.tx.sql.QueryRowContext(ctx, "SELECT COALESCE(MAX(id), ?) FROM server_ids", inventory.FirstServerID-1).Scan(&last); err != nil {
		return 0, err
	}
	next := max(last+1, inventory.FirstServerID)
	if next > math.MaxUint32 {
		return 0, inventory.Refuse(inventory.ErrPrecondition, inventory.ServerIDTaken, "", "all server ids have been used")
	}
	_, err = s.tx.exec(ctx, insertSQL("server_ids", "id, server"), next, server)
	if s.tx.engine.duplicate(err) { // another transaction took it: run this one again
		return 0, inventory.Refuse(inventory.ErrStale, inventory.ServerIDTaken, "try again", "server id %d was just taken", next)
	}
	return uint32(next), err
}

// Claim records a server_id that a server was found with, or refuses when another server has or had it.
func (s ServerIDs) Claim(ctx context.Context, server string, id uint32) error {
	var holder string
	err := s.tx.sql.QueryRowContext(ctx, "SELECT server FROM server_ids WHERE id = ?", id).Scan(&holder)
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
	return inventory.Refuse(inventory.ErrPrecondition, inventory.ServerIDTaken, "give the server another server_id",
		"server %s has server_id %d, which belongs to %s", server, id, holder)
}

// Release makes the server's ids nobody's, for good: a new server of that name gets another.
func (s ServerIDs) Release(ctx context.Context, server string) error {
	_, err := s.tx.exec(ctx, "UPDATE server_ids SET server = '' WHERE server = ?", server)
	return err
}

func (s ServerIDs) of(ctx context.Context, server string) (id int64, err error) {
	err = s.tx.sql.QueryRowContext(ctx, "SELECT COALESCE(MAX(id), 0) FROM server_ids WHERE server = ?", server).Scan(&id)
	return id, err
}
