package ca_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// refusals are the messages of the events of refused keys.
func (h *house) refusals() (messages []string) {
	h.t.Helper()
	h.inStore(func(ctx context.Context, tx *store.Tx) error {
		events, _, err := tx.Events().List(ctx, store.EventFilter{Action: "identity.refused"},
			store.Page{Size: 100})
		messages = nil
		for _, event := range events {
			messages = append(messages, event.Subject+": "+event.Message)
		}
		return err
	})
	return messages
}

// A key of a certificate on record that is refused is an event: once a day, however often it is
// tried. Who has no such key makes none.
func TestAKeyThatIsRefusedIsAnEventOnce(t *testing.T) {
	t.Parallel()
	h, stolen, next := build(t), newKey(t), newKey(t)
	bundle := h.agent("db-1", stolen)
	h.clock.forward(time.Hour)
	if _, err := h.registry.Renew(t.Context(), ca.RenewRequest{Peer: peer(t, bundle),
		Keys: ca.Keys{Agent: csr(t, next)}}); err != nil {
		t.Fatal(err)
	}
	h.clock.forward(2 * day)
	for range 3 {
		if _, err := h.expired(bundle.Agent, newKey(t)); err == nil {
			t.Error("a key that is not on record")
		}
	}
	if got := h.refusals(); len(got) != 0 {
		t.Errorf("a key that is not on record makes %q", got)
	}
	for range 5 {
		if _, err := h.expired(bundle.Agent, stolen); err == nil {
			t.Error("a key that was replaced")
		}
		h.clock.forward(time.Hour)
	}
	got := h.refusals()
	if len(got) != 1 || !strings.HasPrefix(got[0], "servers/db-1: ") ||
		!strings.Contains(got[0], "from 10.0.0.7:5000") ||
		!strings.Contains(got[0], "another key was issued since") {
		t.Errorf("five tries of a key that was replaced make %q", got)
	}
	h.revoke(identity.Agent("db-1"))
	if _, err := h.expired(bundle.Agent, next); err == nil {
		t.Error("a key that was revoked")
	}
	if got := h.refusals(); len(got) != 2 {
		t.Errorf("another key, that was revoked: %q", got)
	}
	h.clock.forward(day)
	if _, err := h.expired(bundle.Agent, stolen); err == nil {
		t.Error("a key that was replaced")
	}
	if got := h.refusals(); len(got) != 3 {
		t.Errorf("a day later: %q", got)
	}
}
