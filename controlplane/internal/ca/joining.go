package ca

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// addressAction is how events name a join token that was used from elsewhere than the server.
const addressAction = "identity.address"

// AlarmActions are the actions of the events that Config.Alarm hears of.
func AlarmActions() []string { return []string{refusedAction, addressAction} }

// living is the certificate of the server's agent that is good for longest, unless it is of that
// key; without a serial when there is none.
func living(ctx context.Context, records Records, server, print string,
	now time.Time) (longest inventory.Certificate, err error) {
	certs, err := records.Certificates.Of(ctx, identity.Agent(server).String())
	for _, cert := range certs {
		if cert.Good(now) && cert.KeyPrint != print && cert.NotAfter.After(longest.NotAfter) {
			longest = cert
		}
	}
	return longest, err
}

// replace revokes the certificates of the server's agent, if the request is to, for its token to
// make no second one. What jobs make is a machine in place of another one.
func (t TokenRequest) replace(ctx context.Context, records Records, token *inventory.JoinToken,
	now time.Time) (revoked string, err error) {
	if t.Caller.Peer.Identity.Role == identity.RoleControlPlane {
		return "", nil
	}
	alive, err := living(ctx, records, t.Server, "", now)
	switch {
	case err != nil || alive.Serial == "":
		return "", err
	case !t.Replace:
		return "", errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_ALREADY_EXISTS,
			fmt.Sprintf("the agent of %s has a certificate until %s",
				t.Server, alive.NotAfter.UTC().Format(time.RFC3339)),
			errs.WithHint("replace it, which revokes the one that it has",
				errs.Call("CreateJoinToken", "server", inventory.ServerSubject(t.Server),
					"replace", "true")))
	}
	agent := identity.Agent(t.Server).String()
	serials, err := records.Certificates.Revoke(ctx, agent, "a join token replaces it")
	if err != nil {
		return "", err
	}
	known, err := records.Certificates.Of(ctx, agent)
	// A token that is no newer than a revocation is refused, by the milliseconds that records have.
	token.Created = token.Created.Truncate(time.Millisecond)
	for _, cert := range known {
		if !cert.RevokedAt.IsZero() && !cert.RevokedAt.Before(token.Created) {
			token.Created = cert.RevokedAt.Add(time.Millisecond)
		}
	}
	return "; revoked " + strings.Join(serials, ", "), err
}

// onlyOne refuses an operator's unused token for a server whose agent has a certificate: it would
// have a second one that nobody has heard of.
func onlyOne(ctx context.Context, records Records, token inventory.JoinToken, print string,
	now time.Time) error {
	if token.UsedBy != "" || token.Creator == identity.ControlPlane().String() {
		return nil
	}
	alive, err := living(ctx, records, token.Server, print, now)
	if err != nil || alive.Serial == "" {
		return err
	}
	return errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_TOKEN_INVALID,
		fmt.Sprintf("the agent of server %s has got a certificate since the join token was made",
			token.Server), errs.WithHint("make a token that replaces it", errs.Call(
			"CreateJoinToken", "server", inventory.ServerSubject(token.Server), "replace",
			"true")))
}

// joined writes into the records that the machine has joined.
func (e enrolment) joined(ctx context.Context, records Records, p proof) error {
	if err := e.noteAddress(ctx, records, p); err != nil || records.NoteAgent == nil {
		return err
	}
	return records.NoteAgent(ctx, e.req.Server, identity.Agent(e.req.Server).String())
}

// noteAddress writes the event of a join token that was used from another address than the
// server's. It is no refusal: a host may have several.
func (e enrolment) noteAddress(ctx context.Context, records Records, p proof) error {
	*e.strange = ""
	if p.machine.Machine != "" || records.Address == nil {
		return nil
	}
	known, err := records.Address(ctx, e.req.Server)
	if err != nil || !elsewhere(known, e.req.Address, e.config.NAT) {
		return err
	}
	*e.strange = fmt.Sprintf("the join token was used from %s, and the server is at %s",
		e.req.Address, known)
	by := Caller{Peer: identity.Peer{Identity: identity.Agent(e.req.Server)},
		RequestID: e.req.RequestID}
	return records.Events.Add(ctx, by.event(e.config.Now().UTC(), addressAction,
		inventory.ServerSubject(e.req.Server), *e.strange))
}

// elsewhere says whether two addresses are two hosts', as far as one can tell.
func elsewhere(known, from string, nat []netip.Prefix) bool {
	a, err := netip.ParseAddr(known)
	b, other := netip.ParseAddr(from)
	if err != nil || other != nil {
		return false
	}
	a, b = a.Unmap().WithZone(""), b.Unmap().WithZone("")
	return a != b && !slices.ContainsFunc(nat,
		func(one netip.Prefix) bool { return one.Contains(b) })
}

// alarm tells that a token was used from elsewhere, once that is on record.
func (e enrolment) alarm() {
	if *e.strange == "" {
		return
	}
	e.config.Logger.Warn("a join token was used from an unexpected address", "server",
		e.req.Server, "message", *e.strange)
	e.config.Alarm(addressAction)
}

// noteToken writes the event of a join token that was shown and refused: that of a thief, or of the
// machine that a thief was faster than. Who has no token on record makes none.
func noteToken(ctx context.Context, r *Registry, shown, from, requestID string, why error) {
	now := r.config.Now().UTC()
	if errs.KindOf(why) != errs.PermissionDenied || !wellFormed(shown) {
		return
	}
	var token inventory.JoinToken
	err := r.config.Store.Read(ctx, func(ctx context.Context, records Records) (err error) {
		token, err = records.Tokens.Get(ctx, tokenHash(shown))
		return err
	})
	if err != nil ||
		!r.refusals.first("token "+token.Hash+" "+errs.ReasonOf(why).String(), now) {
		return
	}
	by := Caller{Peer: identity.Peer{Identity: identity.Agent(token.Server)}, RequestID: requestID}
	addRefusal(ctx, r, by.event(now, refusedAction, inventory.ServerSubject(token.Server),
		fmt.Sprintf("the join token that %s made at %s, from %s: %v", token.Creator,
			token.Created.UTC().Format(time.RFC3339), from, why)))
}

// mayRenewAgent refuses an agent whose certificate is no longer good, and one that fills the
// records: who has a stolen key can renew as well.
func mayRenewAgent(ctx context.Context, r *Registry, records Records,
	peer identity.Peer) error {
	if err := r.stillGood(ctx, records, peer); err != nil {
		return err
	}
	bound := agentRenewals
	bound.per = min(bound.per, 10*r.config.AgentLife) // one renews twice in a life
	return r.mayRenew(ctx, records, peer, bound)
}
