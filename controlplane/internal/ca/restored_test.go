package ca_test

import (
	"context"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// A certificate that was issued after the backup is on no record of the restored store, and its
// agent renews all the same. One on no record for another reason does not.
func TestACertificateThatARestoreLost(t *testing.T) {
	t.Parallel()
	h := build(t)
	backedUp := h.clock.Now()
	h.clock.forward(time.Minute)
	bundle, err := h.enroll(h.joinFile("db-1").Token, "db-1", keys(t))
	if err != nil {
		t.Fatal(err)
	}
	h.clock.forward(time.Minute)
	full, empty := h.store, h.newStore("restored.db")
	h.store = empty
	h.registry = h.open()
	h.store = full
	renew := func() error {
		_, err := h.registry.Renew(t.Context(),
			ca.RenewRequest{Peer: peer(t, bundle), Keys: keys(t)})
		return err
	}
	if err := renew(); err == nil ||
		errs.ReasonOf(err) != errorsv1.Reason_REASON_CERTIFICATE_REVOKED {
		t.Errorf("on no record: %v", err)
	}
	restored := func(backedUp time.Time) {
		err := empty.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			return tx.Restored(ctx, backedUp)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	restored(backedUp.Add(90 * time.Second)) // it was issued before that backup
	if renew() == nil {
		t.Error("a certificate that the backup knew is taken from no record")
	}
	restored(backedUp)
	if err := renew(); err != nil {
		t.Errorf("issued between backup and restore: %v", err)
	}
	h.clock.forward(-10 * time.Minute) // the host that it is restored on has its clock behind
	restored(backedUp)
	h.clock.forward(10 * time.Minute)
	if err := renew(); err != nil {
		t.Errorf("restored on a host whose clock is behind: %v", err)
	}
}
