package ca

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// renewals are how many certificates somebody may get within a time.
type renewals struct {
	most int
	per  time.Duration
}

var (
	// operatorRenewals: by day nobody needs more than one a laptop.
	operatorRenewals = renewals{most: 20, per: 24 * time.Hour}
	// agentRenewals leave room for an agent whose answers are lost, and which waits five minutes.
	agentRenewals = renewals{most: 30, per: time.Hour}
)

// OperatorBundle is what an operator gets.
type OperatorBundle struct {
	// CA is what to believe, as PEM.
	CA []byte
	// Certificate is the operator's, as PEM.
	Certificate []byte
	// Expires is when it ends.
	Expires time.Time
	// Addresses are where the control plane is reached, host:port.
	Addresses []string
	// Scope is the servers that the operator works with.
	Scope inventory.Scope
}

// OperatorRequest asks for the certificate of an operator.
type OperatorRequest struct {
	// Name is the operator's.
	Name string
	// Role is what the operator may do.
	Role identity.Role
	// CSR is the signing request (DER) of the operator's key.
	CSR []byte
	// Servers are patterns of the names of the servers that the operator works with: those of
	// before when there are none.
	Servers []string
	// ValidateOnly checks the request and issues nothing.
	ValidateOnly bool
	// RequestID is the idempotency key: a repeat gets the certificate that was issued.
	RequestID string
	// Caller is who asks.
	Caller Caller

	// key is that of the signing request, where it was read before.
	key *ecdsa.PublicKey
	// ends is when the certificate ends at the latest; zero when its life alone says so.
	ends time.Time
	// about is what the event says beside what was issued.
	about string
}

func (req OperatorRequest) who() identity.Identity {
	return identity.Identity{Role: req.Role, Name: req.Name}
}

// admission says, in the transaction that records a certificate, whether it may be issued.
type admission func(ctx context.Context, records Records) error

// CreateOperator gives an operator a certificate. PERMISSION_DENIED for a role above the caller's,
// UNAUTHENTICATED for a caller whose certificate is revoked or has expired,
// ALREADY_EXISTS for an operator in another role, INVALID_ARGUMENT with CSR_INVALID or
// INVALID_FIELD, also for a name of those who log in, FAILED_PRECONDITION with CERTIFICATE_REVOKED
// for a key that is not trusted.
func (r *Registry) CreateOperator(ctx context.Context,
	req OperatorRequest) (OperatorBundle, error) {
	if inventory.IsPerson(req.Name) {
		return OperatorBundle{}, notForLogins("name",
			"must not be one of those that people get who log in")
	}
	by := req.Caller.Peer.Identity
	if req.Role.IsOperator() && !by.Role.Gives(req.Role) {
		return OperatorBundle{}, errs.New(errs.PermissionDenied,
			errorsv1.Reason_REASON_NOT_ALLOWED,
			fmt.Sprintf("%s may not give the role %s, which is above its own", by, req.Role),
			errs.WithHint("call it in the role "+string(req.Role)))
	}
	return r.certifyOperator(ctx, req, "operator.create",
		func(ctx context.Context, records Records) error {
			if err := r.inForce(ctx, records, req.Caller.Peer); err != nil {
				return err
			}
			return r.hasNoOtherRole(ctx, records, req.who())
		})
}

// inForce asks the record itself, not the deny list's copy, and the clock: a connection outlives
// its certificate. Break-glass shows none.
func (r *Registry) inForce(ctx context.Context, records Records, peer identity.Peer) error {
	if peer.Identity.Role == identity.RoleBreakGlass {
		return nil
	}
	if err := r.stillGood(ctx, records, peer); err != nil {
		return err
	}
	return r.notExpired(peer)
}

// notExpired refuses a certificate that expired since its connection began.
func (r *Registry) notExpired(peer identity.Peer) error {
	if r.config.Now().Before(peer.Certificate.NotAfter) {
		return nil
	}
	return errs.New(errs.Unauthenticated, errorsv1.Reason_REASON_UNAUTHENTICATED,
		fmt.Sprintf("the certificate of %s has expired", peer.Identity),
		errs.WithHint("ask an admin for new credentials", another(peer.Identity)))
}

// hasNoOtherRole keeps an operator from having two roles at a time: a lesser one would be worth
// nothing. A certificate counts until it can be renewed no more, since RenewExpired gives its role
// back.
func (r *Registry) hasNoOtherRole(ctx context.Context, records Records,
	who identity.Identity) error {
	for _, role := range identity.Operators() {
		other := identity.Identity{Role: role, Name: who.Name}
		if other == who {
			continue
		}
		certs, err := records.Certificates.Of(ctx, other.String())
		if err != nil {
			return err
		}
		if slices.ContainsFunc(certs, r.config.renewable) {
			return errs.New(errs.AlreadyExists, errorsv1.Reason_REASON_ALREADY_EXISTS,
				fmt.Sprintf("operator %s has a certificate in the role %s that is valid, or can "+
					"be renewed", who.Name, role),
				errs.WithHint("revoke it first, then create the operator in the other role",
					errs.Call("Revoke", "name", operatorSubject(who.Name))))
		}
	}
	return nil
}

// renewable says whether an operator's certificate is good, or can be renewed after its end.
func (c Config) renewable(cert inventory.Certificate) bool {
	return cert.RevokedAt.IsZero() &&
		!c.Now().After(cert.NotAfter.Add(c.OperatorGrace))
}

// RenewOperator gives an operator a new certificate for itself, in its role. PERMISSION_DENIED for
// who is none, UNAUTHENTICATED with CERTIFICATE_REVOKED for a certificate that is revoked or on no
// record, FAILED_PRECONDITION with CERTIFICATE_REVOKED for a key that is not trusted.
func (r *Registry) RenewOperator(ctx context.Context, peer identity.Peer, csr []byte,
	requestID string) (OperatorBundle, error) {
	if !peer.Identity.Role.IsOperator() || peer.Certificate == nil {
		return OperatorBundle{}, errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_NOT_ALLOWED,
			"only an operator renews an operator's certificate",
			errs.WithHint("call it with an operator's certificate"))
	}
	if err := renewsByLogin(peer.Identity); err != nil {
		return OperatorBundle{}, err
	}
	admit := func(ctx context.Context, records Records) error {
		if err := r.inForce(ctx, records, peer); err != nil {
			return err
		}
		if err := knowsScope(ctx, records, peer); err != nil {
			return err
		}
		return r.mayRenew(ctx, records, peer, operatorRenewals)
	}
	return r.certifyOperator(ctx, OperatorRequest{Name: peer.Identity.Name,
		Role: peer.Identity.Role, CSR: csr, Caller: Caller{Peer: peer, RequestID: requestID}},
		"operator.renew", admit)
}

// mayRenew refuses who fills the records with renewals.
func (r *Registry) mayRenew(ctx context.Context, records Records, peer identity.Peer,
	bound renewals) error {
	certs, err := records.Certificates.Of(ctx, peer.Identity.String())
	if err != nil || len(certs) < bound.most {
		return err
	}
	first := certs[bound.most-1]
	since := r.config.Now().Sub(first.Issued())
	if since >= bound.per {
		return nil
	}
	return errs.New(errs.ResourceExhausted, errorsv1.Reason_REASON_RATE_LIMITED,
		fmt.Sprintf("%s got %d certificates within %s", peer.Identity, bound.most, bound.per),
		errs.Retry(bound.per-since),
		errs.WithHint("go on with the newest of them; when nobody knows who renewed, the key is "+
			"stolen: revoke it", errs.Call("Revoke", "name",
			RevokeRequest{Who: peer.Identity}.subject())))
}

// certifyOperator issues the certificate and records it in the transaction that admits it.
func (r *Registry) certifyOperator(ctx context.Context, req OperatorRequest, action string,
	admit admission) (OperatorBundle, error) {
	who, faults := req.who(), errs.Fields{}
	if err := identity.CheckName(req.Name); err != nil {
		faults.Add("name", err.Error())
	}
	faults.Require("role", req.Role.IsOperator(), "must be the role of an operator")
	if err := faults.Err(); err != nil {
		return OperatorBundle{}, err
	}
	key := req.key
	if key == nil {
		var err error
		if key, err = signingRequest("csr", req.CSR); err != nil {
			return OperatorBundle{}, err
		}
	}
	print, err := identity.KeyPrintOf(key)
	if err != nil {
		return OperatorBundle{}, err
	}
	what := "cannot issue a certificate for the operator " + req.Name
	once := askedFor(req.RequestID, req.Caller, action, req.Name, req.Role, req.Servers, print)
	bundle := OperatorBundle{CA: r.config.Authority.PEM(), Addresses: r.config.ControlPlane}
	admitted := func(ctx context.Context, records Records) error {
		err := admit(ctx, records)
		if err == nil {
			bundle.Scope, err = r.scoped(ctx, records, who, req.Servers)
		}
		if err != nil {
			return err
		}
		return trusted(ctx, records, print)
	}
	if req.ValidateOnly {
		return bundle, storeError(what, r.config.Store.Read(ctx, admitted))
	}
	var issued Issued
	err = r.issuing(ctx, what, func(ctx context.Context, records Records, certs *issuing) error {
		if err := admitted(ctx, records); err != nil {
			return err
		}
		if before, err := once.made(ctx, records); err != nil || before != "" {
			if err == nil {
				issued, err = issuedBefore(before, who)
			}
			if err == nil { // its servers may be others by now
				bundle.Scope, err = r.scoped(ctx, records, who, nil)
			}
			return err
		}
		want := peerRequest(who, nil, r.config.OperatorLife, key)
		want.until = req.ends
		if len(bundle.Scope) > 0 {
			want.subject.OrganizationalUnit = []string{identity.ScopedUnit}
		}
		var err error
		if issued, err = certs.issue(ctx, want); err != nil {
			return err
		}
		if records.Operators != nil {
			if err := records.Operators.SetScope(ctx, req.Name, bundle.Scope); err != nil {
				return err
			}
		}
		if err := records.Certificates.Insert(ctx, issued.Record); err != nil {
			return err
		}
		err = once.note(ctx, records, string(issued.PEM), r.config.Now().UTC())
		if err != nil {
			return err
		}
		return records.Events.Add(ctx, req.Caller.event(r.config.Now().UTC(), action,
			operatorSubject(req.Name), fmt.Sprintf("certificate issued in the role %s for %s "+
				"until %s, serial %s%s", req.Role, scopeText(bundle.Scope),
				issued.Record.NotAfter.UTC().Format(time.RFC3339), issued.Record.Serial,
				req.about)))
	})
	if err != nil {
		return OperatorBundle{}, err
	}
	bundle.Certificate, bundle.Expires = issued.PEM, issued.Record.NotAfter
	return bundle, r.Refresh(ctx)
}

// issuedBefore is a certificate that was issued, from its PEM.
func issuedBefore(text string, who identity.Identity) (Issued, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return Issued{}, errors.New("the certificate on record is no PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return Issued{}, fmt.Errorf("the certificate on record cannot be read: %w", err)
	}
	return Issued{PEM: []byte(text), Record: recordOf(cert, who.String())}, nil
}

// trusted refuses a key whose certificate was revoked: somebody else may have it.
func trusted(ctx context.Context, records Records, print string) error {
	revoked, err := records.Certificates.KeyRevoked(ctx, print)
	if err == nil && revoked {
		err = errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_CERTIFICATE_REVOKED,
			"the certificate of this key was revoked", errs.WithHint("make a new key"))
	}
	return err
}

func operatorSubject(name string) string { return "operators/" + name }
