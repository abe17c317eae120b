package ca

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// asked is a request under its idempotency key; without one every call is a request of its own. It
// is looked up and recorded in the transaction that carries it out, while no other does.
type asked struct{ id, hash string }

// askedFor is a request of a caller's. What it asks for holds no secret. The same key of another
// caller is another request: what was made for one is not shown to the other.
func askedFor(id string, by Caller, call string, parts ...any) asked {
	body, err := json.Marshal(append([]any{by.Peer.Identity.String(), call}, parts...))
	if err != nil {
		panic(fmt.Sprintf("ca: cannot encode what was asked for: %v", err)) // texts and numbers
	}
	sum := sha256.Sum256(body)
	return asked{id: id, hash: hex.EncodeToString(sum[:])}
}

// made is what the request made when it came before; empty when it comes for the first time.
// ALREADY_EXISTS (REQUEST_REUSED) when another one came under its key.
func (a asked) made(ctx context.Context, records Records) (string, error) {
	if a.id == "" {
		return "", nil
	}
	past, err := records.Requests.Get(ctx, a.id)
	switch {
	case errors.Is(err, inventory.ErrNotFound):
		return "", nil
	case err != nil:
		return "", err
	case past.Hash != a.hash:
		return "", errs.New(errs.AlreadyExists, errorsv1.Reason_REASON_REQUEST_REUSED,
			fmt.Sprintf("request id %s was used for another request", a.id),
			errs.WithHint("use a new request id"))
	}
	return past.Result, nil
}

// note records what the request made.
func (a asked) note(ctx context.Context, records Records, result string, at time.Time) error {
	if a.id == "" {
		return nil
	}
	return records.Requests.Put(ctx, inventory.Request{ID: a.id, Hash: a.hash, Result: result,
		Made: at})
}
