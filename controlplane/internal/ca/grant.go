package ca

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	// mostGrants is how many grants are in force on an agent at most.
	mostGrants = 50
	// mostOfOne is how many of them are one operator's, so that nobody takes them all.
	mostOfOne = 10
	// oldGrants is how old a list of grants may be that agents are told: while the store cannot be
	// read, nobody knows what was revoked.
	oldGrants = 10 * time.Second
)

// GrantList is which operators may make changing calls on which agents.
type GrantList struct {
	// Sequence is greater in each that has another content, but for grants that expired.
	Sequence int64
	// Grants are those in force.
	Grants []inventory.AgentGrant
	read   time.Time
}

// On is the list of one server.
func (l GrantList) On(server string) GrantList {
	on := GrantList{Sequence: l.Sequence, read: l.read}
	for _, g := range l.Grants {
		if g.Server == server {
			on.Grants = append(on.Grants, g)
		}
	}
	return on
}

// Granting makes and ends grants.
type Granting struct{ r *Registry }

// NewGranting makes and ends the grants of a registry's operators.
func NewGranting(registry *Registry) Granting { return Granting{r: registry} }

// List is the list as last read, or why it is not known. It asks no store.
func (g Granting) List() (GrantList, error) {
	list := g.r.denied.list.Load().grants
	if age := time.Since(list.read); age > oldGrants {
		return GrantList{}, errs.New(errs.Unavailable, errorsv1.Reason_REASON_STORE_UNAVAILABLE,
			fmt.Sprintf("the grants were last read %s ago", age.Round(time.Second)),
			errs.Retry(time.Second), errs.WithHint("see the control plane's log and its store"))
	}
	return list, nil
}

// GrantRequest asks for a grant.
type GrantRequest struct {
	// Server is on whose agent.
	Server string
	// Operator is for whom; the caller when empty.
	Operator string
	// Duration is for how long.
	Duration time.Duration
	// Reason is for the audit.
	Reason string
	// ValidateOnly makes no grant.
	ValidateOnly bool
	// RequestID is the idempotency key: a repeat gets the grant that was made, as it is now.
	RequestID string
	// Caller is who asks.
	Caller Caller
}

// Grant lets an operator make changing calls on an agent, for a while. UNAUTHENTICATED for a caller
// whose certificate is revoked or has expired, otherwise refused as CreateAgentGrant says.
func (g Granting) Grant(ctx context.Context, req GrantRequest) (inventory.AgentGrant, error) {
	r := g.r
	now := r.config.Now().UTC()
	made := inventory.AgentGrant{Server: req.Server, Reason: req.Reason,
		Creator: req.Caller.Peer.Identity.String(), Created: now, Expires: now.Add(req.Duration)}
	once := askedFor(req.RequestID, req.Caller, "CreateAgentGrant", req.Server, req.Operator,
		req.Duration, req.Reason)
	id := make([]byte, 6)
	if _, err := rand.Read(id); err != nil {
		return made, err
	}
	err := r.alone(ctx, "cannot grant changes on the agent of "+req.Server,
		func(ctx context.Context, records Records) (err error) {
			if err := r.inForce(ctx, records, req.Caller.Peer); err != nil {
				return err
			}
			if before, err := once.made(ctx, records); err != nil || before != "" {
				if err == nil {
					made, err = records.Grants.Get(ctx, before)
				}
				return err
			}
			if err := records.HasAgent(ctx, req.Server); err != nil {
				return err
			}
			if made.Operator, made.KeyPrint, err = g.grantee(ctx, records, req); err != nil {
				return err
			}
			if err := roomForGrant(ctx, records, made); err != nil || req.ValidateOnly {
				return err
			}
			made.ID = "grant-" + hex.EncodeToString(id)
			if err := records.Grants.Insert(ctx, made); err != nil {
				return err
			}
			if err := once.note(ctx, records, made.ID, now); err != nil {
				return err
			}
			return records.Events.Add(ctx, req.Caller.event(now, "agent.grant",
				"servers/"+req.Server, fmt.Sprintf("%s: %s may make changing calls on the agent "+
					"until %s: %s", made.ID, made.Operator, made.Expires.Format(time.RFC3339),
					made.Reason)))
		})
	if err != nil || req.ValidateOnly {
		return made, err
	}
	return made, r.Refresh(ctx)
}

// grantee is whom the request is for, and the print of their key.
func (g Granting) grantee(ctx context.Context, records Records,
	req GrantRequest) (operator, print string, err error) {
	by := req.Caller.Peer
	if req.Operator == "" || req.Operator == by.Identity.Name {
		if identity.Scoped(by.Certificate) {
			return "", "", scopedGrantee(by.Identity.Name)
		}
		return by.Identity.String(), identity.KeyPrint(by.Certificate), nil
	}
	if by.Identity.Role != identity.RoleAdmin {
		return "", "", errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_NOT_ALLOWED,
			fmt.Sprintf("%s may grant changes to nobody else", by.Identity),
			errs.WithHint("leave the operator out for a grant of your own, or call it in the role "+
				"admin"))
	}
	if records.Operators != nil {
		scopes, err := records.Operators.Scopes(ctx)
		if err != nil {
			return "", "", err
		}
		if len(inventory.ScopeOf(scopes[req.Operator])) > 0 {
			return "", "", scopedGrantee(req.Operator)
		}
	}
	for _, who := range []identity.Identity{identity.Operator(req.Operator),
		identity.Admin(req.Operator)} {
		certs, err := records.Certificates.Of(ctx, who.String()) // the newest first
		if err != nil {
			return "", "", err
		}
		for _, cert := range certs {
			if cert.Good(g.r.config.Now()) {
				return cert.Identity, cert.KeyPrint, nil
			}
		}
	}
	return "", "", errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_NOT_ALLOWED,
		fmt.Sprintf("%s has no valid certificate in a role that changes servers", req.Operator),
		errs.WithHint("name an operator who has one", errs.Call("ListOperators")))
}

// scopedGrantee refuses who works with some servers alone: no agent lets them in.
func scopedGrantee(name string) error {
	return errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_NOT_ALLOWED,
		fmt.Sprintf("%s works with some servers alone, and may call no agent", name),
		errs.WithHint("ask an operator who works with all servers"))
}

// roomForGrant bounds what agents are told.
func roomForGrant(ctx context.Context, records Records, made inventory.AgentGrant) error {
	_, all, err := records.Grants.InForce(ctx)
	if err != nil {
		return err
	}
	there, own := GrantList{Grants: all}.On(made.Server).Grants, 0
	for _, g := range there {
		if g.Operator == made.Operator {
			own++
		}
	}
	full := ""
	switch {
	case own >= mostOfOne:
		full = fmt.Sprintf("%s has %d grants on the agent of %s", made.Operator, own, made.Server)
	case len(there) >= mostGrants:
		full = fmt.Sprintf("%d grants on the agent of %s are in force", len(there), made.Server)
	default:
		return nil
	}
	return errs.New(errs.ResourceExhausted, errorsv1.Reason_REASON_RATE_LIMITED, full,
		errs.WithHint("revoke those that are not needed any more",
			errs.Call("ListAgentGrants", "server", "servers/"+made.Server)))
}

// RevokeGrantRequest says which grant is to end.
type RevokeGrantRequest struct {
	// ID is the grant's.
	ID string
	// ValidateOnly ends nothing.
	ValidateOnly bool
	// RequestID is the idempotency key.
	RequestID string
	// Caller is who asks.
	Caller Caller
}

// Revoke ends a grant, for good: also one that is over by a clock that may be set back. One that is
// revoked stays as it is. NOT_FOUND.
func (g Granting) Revoke(ctx context.Context,
	req RevokeGrantRequest) (ended inventory.AgentGrant, err error) {
	r := g.r
	now := r.config.Now().UTC()
	once := askedFor(req.RequestID, req.Caller, "RevokeAgentGrant", req.ID)
	err = r.alone(ctx, "cannot revoke "+req.ID,
		func(ctx context.Context, records Records) error {
			if err := r.inForce(ctx, records, req.Caller.Peer); err != nil {
				return err
			}
			if _, err := once.made(ctx, records); err != nil {
				return err
			}
			if ended, err = records.Grants.Get(ctx, req.ID); err != nil || req.ValidateOnly {
				return err
			}
			if err := once.note(ctx, records, req.ID, now); err != nil ||
				!ended.RevokedAt.IsZero() {
				return err
			}
			if err := records.Grants.Revoke(ctx, req.ID); err != nil {
				return err
			}
			ended.RevokedAt = now
			return records.Events.Add(ctx, req.Caller.event(now, "agent.revoke_grant",
				"servers/"+ended.Server, fmt.Sprintf("%s of %s is revoked", ended.ID,
					ended.Operator)))
		})
	if err != nil || req.ValidateOnly {
		return ended, err
	}
	return ended, r.Refresh(ctx)
}
