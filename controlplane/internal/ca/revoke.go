package ca

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// refreshing reads the deny list so often that a revocation by another control plane of the same
// store counts here within a second. While it cannot be read, the last one counts.
var refreshing = loop.Spec{Name: "read the deny list", Every: time.Second, Limit: 5 * time.Second,
	LateAfter: 10 * time.Second,
	Means:     "certificates that another control plane has revoked since are let in"}

// mostDenied fit into a request. Renewals are limited, so they are those of many operators.
const mostDenied = 8_000

// denyList is what is revoked, as last read.
type denyList struct {
	list    atomic.Pointer[denied]
	reading chan struct{} // of one: reads come one after the other, so none stores what is older
}

type denied struct {
	serials   map[string]struct{}
	operators DenyList
	scopes    map[string]inventory.Scope
	grants    GrantList
}

// DenyList is which certificates agents are to refuse.
type DenyList struct {
	// Sequence is greater in each that has more.
	Sequence int64
	// Certificates are those of operators that were revoked and have not expired, by serial, with
	// when they expire. Who has another one can call nothing of an agent.
	Certificates map[string]time.Time
	// Left is how many did not fit, of those that expire first.
	Left int
}

// DenyList is the list as last read. It asks no store.
func (r *Registry) DenyList() DenyList { return r.denied.list.Load().operators }

// Denied says whether the certificate with that serial, which somebody has just shown and proved,
// is revoked. It asks no store and can be asked on every call.
func (r *Registry) Denied(serial string) bool {
	if r.config.Authority.now().phase != PhaseSingle {
		r.shows.add(serial)
	}
	_, denied := r.denied.list.Load().serials[serial]
	return denied
}

// shows are the serials of the certificates that were shown while the root is replaced.
type shows struct{ serials sync.Map }

func (s *shows) add(serial string) { s.serials.LoadOrStore(serial, struct{}{}) }

func (s *shows) forget() { s.serials.Clear() }

func (s *shows) has(serial string) bool {
	_, shown := s.serials.Load(serial)
	return shown
}

// Refresh reads the deny list again.
func (r *Registry) Refresh(ctx context.Context) error {
	select {
	case r.denied.reading <- struct{}{}:
		defer func() { <-r.denied.reading }()
	case <-ctx.Done():
		return storeError("cannot read the deny list", ctx.Err())
	}
	var sequence int64
	var all []inventory.Certificate
	var scopes map[string]inventory.Scope
	granted := GrantList{read: time.Now()}
	err := r.config.Store.Read(ctx, func(ctx context.Context, records Records) (err error) {
		sequence, all, err = records.Certificates.Revoked(ctx)
		if err == nil && records.Operators != nil {
			scopes, err = records.Operators.Scopes(ctx)
		}
		if err == nil && records.Grants != nil {
			granted.Sequence, granted.Grants, err = records.Grants.InForce(ctx)
		}
		return err
	})
	if err != nil {
		return storeError("cannot read the deny list", err)
	}
	next := denied{scopes: scopes, grants: granted, serials: make(map[string]struct{}, len(all)),
		operators: DenyList{Sequence: sequence, Certificates: map[string]time.Time{}}}
	for _, cert := range all {
		next.serials[cert.Serial] = struct{}{}
		who, foreign := identity.Parse(cert.Identity)
		switch list := &next.operators; {
		case foreign != nil || !who.Role.IsOperator():
		case len(list.Certificates) == mostDenied:
			list.Left++
		default:
			list.Certificates[cert.Serial] = cert.NotAfter
		}
	}
	r.denied.list.Store(&next)
	return nil
}

// RevokeRequest says whose certificates are to be revoked.
type RevokeRequest struct {
	// Who is an agent, with which its MariaDB goes, or an operator, in whichever role.
	Who identity.Identity
	// Person is who is revoked in place of Who, also before the first login; nil for Who.
	Person *inventory.Person
	// Reason is for the audit.
	Reason string
	// ValidateOnly revokes nothing.
	ValidateOnly bool
	// Caller is who asks.
	Caller Caller
}

// Revoked is what was revoked, or would be.
type Revoked struct {
	// Serials are those of the certificates that were good until now.
	Serials []string
	// NoAdminLeft says that an operator's were revoked and no admin has a good one.
	NoAdminLeft bool
	// Name is the operator's or the server's.
	Name string
}

// Revoke revokes all certificates, and makes the server's join tokens of until now worthless, or
// those that the operator made and nobody has used. Doing it twice is fine. NOT_FOUND for somebody
// who never had any, UNAUTHENTICATED for a caller whose certificate is revoked or has expired.
func (r *Registry) Revoke(ctx context.Context, req RevokeRequest) (Revoked, error) {
	if req.Person != nil {
		req.Who = identity.Operator(inventory.Unborn(*req.Person).Operator)
	}
	if req.Who.Role != identity.RoleAgent && !req.Who.Role.IsOperator() {
		return Revoked{}, errs.New(errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD,
			fmt.Sprintf("certificates of %s cannot be revoked", req.Who),
			errs.Field("name", "must be a server or an operator"))
	}
	var revoked Revoked
	err := r.alone(ctx, "cannot revoke certificates of "+req.subject(),
		func(ctx context.Context, records Records) (err error) {
			if err := r.inForce(ctx, records, req.Caller.Peer); err != nil {
				return err
			}
			one := req // the transaction may run again
			if one.Who.Name, err = personName(ctx, records, req); err != nil {
				return err
			}
			revoked, err = r.revoke(ctx, records, one)
			revoked.Name = one.Who.Name
			return err
		})
	if err != nil || req.ValidateOnly {
		return revoked, err
	}
	if revoked.NoAdminLeft {
		r.config.Logger.Warn("no admin has a valid certificate: only break-glass on this host "+
			"makes one", "revoked_by", req.Caller.Peer.Identity.String())
	}
	return revoked, r.Refresh(ctx)
}

func (r *Registry) revoke(ctx context.Context, records Records, req RevokeRequest) (Revoked,
	error) {
	known, good, err := r.goodOnes(ctx, records, req.names())
	login, isPerson, err := loginOf(ctx, records, req, err)
	if err == nil && !known && !isPerson {
		err = errs.New(errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND,
			"it never had a certificate", errs.WithHint("name one that exists", req.others()))
	}
	if err != nil {
		return Revoked{}, err
	}
	revoked := Revoked{Serials: good}
	if revoked.NoAdminLeft, err = r.leavesNoAdmin(ctx, records, req); err != nil ||
		req.ValidateOnly {
		return revoked, err
	}
	if isPerson {
		if err := barLogin(ctx, records, login, req.Reason, r.config.Now()); err != nil {
			return Revoked{}, err
		}
	}
	revoked.Serials = nil
	tokens := int64(0)
	for _, name := range req.names() {
		serials, err := records.Certificates.Revoke(ctx, name, req.Reason)
		if err != nil {
			return Revoked{}, err
		}
		ended, err := records.Tokens.Revoke(ctx, name)
		if err != nil {
			return Revoked{}, err
		}
		revoked.Serials, tokens = append(revoked.Serials, serials...), tokens+ended
	}
	if req.Who.Role == identity.RoleAgent && records.NoteRevoked != nil {
		if err := records.NoteRevoked(ctx, req.Who.Name, r.config.Now().UTC()); err != nil {
			return Revoked{}, err
		}
	}
	what := strings.Join(revoked.Serials, ", ")
	switch {
	case len(revoked.Serials) > 0:
	case isPerson && login.IsFirst():
		what = fmt.Sprintf("the subject %s of %s, before the first login", login.Subject,
			login.Issuer)
	default:
		what = "what had expired, or was revoked already"
	}
	message := fmt.Sprintf("revoked %s: %s", what, req.Reason)
	if tokens > 0 {
		message += fmt.Sprintf("; %d unused join tokens ended", tokens)
	}
	if revoked.NoAdminLeft {
		message += "; no admin is left"
	}
	return revoked, records.Events.Add(ctx, req.Caller.event(r.config.Now().UTC(),
		"identity.revoke", req.subject(), message))
}

// leavesNoAdmin says whether no admin has a good certificate without those of the request.
func (r *Registry) leavesNoAdmin(ctx context.Context, records Records,
	req RevokeRequest) (bool, error) {
	if !req.Who.Role.IsOperator() {
		return false, nil
	}
	ends, err := records.Certificates.Ends(ctx)
	for name, end := range ends {
		who, foreign := identity.Parse(name)
		if foreign == nil && who.Role == identity.RoleAdmin && who.Name != req.Who.Name &&
			r.config.Now().Before(end) {
			return false, err
		}
	}
	return true, err
}

// goodOnes is whether there ever was a certificate under the names, and the serials of those that
// are good.
func (r *Registry) goodOnes(ctx context.Context, records Records,
	names []string) (known bool, serials []string, err error) {
	for _, name := range names {
		certs, err := records.Certificates.Of(ctx, name)
		if err != nil {
			return false, nil, err
		}
		for _, cert := range certs {
			known = true
			if cert.Good(r.config.Now()) {
				serials = append(serials, cert.Serial)
			}
		}
	}
	return known, serials, nil
}

// names are those that the certificates are recorded under.
func (req RevokeRequest) names() (names []string) {
	if req.Who.Role == identity.RoleAgent {
		return []string{req.Who.String(), inventory.MariaDBIdentity(req.Who.Name)}
	}
	for _, role := range identity.Operators() {
		names = append(names, identity.Identity{Role: role, Name: req.Who.Name}.String())
	}
	return names
}

func (req RevokeRequest) subject() string {
	if req.Who.Role == identity.RoleAgent {
		return "servers/" + req.Who.Name
	}
	return operatorSubject(req.Who.Name)
}

// others are those that can be revoked.
func (req RevokeRequest) others() errs.Action {
	if req.Who.Role == identity.RoleAgent {
		return errs.Call("ListServers")
	}
	return errs.Call("ListOperators")
}
