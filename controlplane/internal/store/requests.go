package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// Requests keeps what requests that start no job made, by idempotency key.
type Requests struct{ tx *Tx }

// Requests gives the requests that start no job.
func (tx *Tx) Requests() Requests { return Requests{tx: tx} }

// Get reads a request, or answers inventory.ErrNotFound.
func (r Requests) Get(ctx context.Context, id string) (req inventory.Request, err error) {
	err = r.tx.sql.QueryRowContext(ctx,
		"SELECT id, hash, result, made_at FROM requests WHERE id = ?", id).
		Scan(&req.ID, &req.Hash, &req.Result, moment{&req.Made})
	if errors.Is(err, sql.ErrNoRows) {
		err = inventory.NotFound(errs.WithHint("use the request id that the call had"),
			"there is no request %s", id)
	}
	return req, err
}

// Put writes a request in place of what was known of it.
func (r Requests) Put(ctx context.Context, req inventory.Request) error {
	if _, err := r.tx.exec(ctx, "DELETE FROM requests WHERE id = ?", req.ID); err != nil {
		return err
	}
	_, err := r.tx.exec(ctx, insertSQL("requests", "id, hash, result, made_at"), req.ID, req.Hash,
		req.Result, millis(req.Made))
	return err
}
