package ca_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// tooOld fails unless it is said that the agent's version is why, and what to do.
func tooOld(t *testing.T, what string, err error) {
	t.Helper()
	if errs.KindOf(err) != errs.FailedPrecondition ||
		errs.ReasonOf(err) != errorsv1.Reason_REASON_UNIMPLEMENTED ||
		!strings.Contains(err.Error(), "of a version that takes no certificate of an "+
			"intermediate") ||
		!strings.Contains(errs.HintOf(err).String(), "upgrade understudy-agent") {
		t.Errorf("%s: %v (%s)", what, err, errs.HintOf(err))
	}
}

func (h *house) certificatesOf(who identity.Identity) (n int) {
	h.t.Helper()
	h.inStore(func(ctx context.Context, tx *store.Tx) error {
		all, err := tx.Certificates().Of(ctx, who.String())
		n = len(all)
		return err
	})
	return n
}

// TestAnAgentOfAnEarlierVersionBelowAnIntermediate: an agent that does not say that it takes a
// chain would refuse what an intermediate signs. It gets nothing, is told why, loses no join token
// by it, and keeps what was given up until it is upgraded.
func TestAnAgentOfAnEarlierVersionBelowAnIntermediate(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "db-1")
	old, oldKey := "db-1", newKey(t)
	renews := func() (ca.Bundle, error) {
		return e.registry.Renew(t.Context(), ca.RenewRequest{Peer: peer(t, e.hosts[old]),
			Keys: ca.Keys{Agent: csr(t, oldKey), MariaDB: csr(t, newKey(t))}})
	}
	works := func(when string) {
		t.Helper()
		bundle, err := renews()
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		e.hosts[old] = bundle
		e.shown(old)
	}
	works("below a root")
	root := e.offline()
	e.clock.forward(time.Minute)
	e.installs(append(root.sign(e.request()), encode(root.cert)...))
	works("while the root signs")
	e.clock.forward(2 * time.Hour)
	e.goes(ca.PhaseRenewing, false)

	issued := e.certificatesOf(identity.Agent(old))
	_, err := renews()
	tooOld(t, "renewed", err)
	file := e.joinFile("db-3")
	asks := ca.EnrollRequest{Token: file.Token, Server: "db-3", Keys: keys(t), Address: "10.0.0.7"}
	_, err = e.registry.Enroll(t.Context(), asks)
	tooOld(t, "enrolled", err)
	if now := e.certificatesOf(identity.Agent(old)); now != issued {
		t.Errorf("%d certificates on record, were %d", now, issued)
	}
	asks.TakesChain, asks.Keys = true, keys(t)
	if _, err := e.registry.Enroll(t.Context(), asks); err != nil {
		t.Errorf("the token of the refused machine is lost: %v", err)
	}
	e.refuses("servers/" + old)

	e.clock.forward(2 * day)
	_, err = e.registry.RenewExpired(t.Context(), ca.ExpiredRequest{
		Certificate: e.hosts[old].Agent, CSR: csr(t, oldKey), Address: "10.0.0.7:5000"})
	tooOld(t, "renewed what has expired", err)
	if _, err := e.registry.RenewExpired(t.Context(), ca.ExpiredRequest{TakesChain: true,
		Certificate: e.hosts[old].Agent, CSR: csr(t, oldKey),
		Address: "10.0.0.7:5000"}); err != nil {
		t.Errorf("once it was upgraded: %v", err)
	}
}
