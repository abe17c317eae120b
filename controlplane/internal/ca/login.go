package ca

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	// minLogin is the shortest life of a certificate that is worth a login.
	minLogin = time.Minute
	// olderBy is how long before the last login an ID token may have been made: by two commands at
	// a time, or by a clock that is behind.
	olderBy = time.Minute
	// remembered is how long a used ID token is known after its end, for clocks that are set back.
	remembered = 24 * time.Hour
)

// LoggingIn gives persons certificates for their ID tokens.
type LoggingIn struct{ r *Registry }

// NewLoggingIn gives certificates of the registry to who logs in.
func NewLoggingIn(registry *Registry) LoggingIn { return LoggingIn{r: registry} }

// LoginRequest is a person whom an ID token is about, which was verified.
type LoginRequest struct {
	// Person is who logs in.
	Person inventory.Person
	// Token is the hash of what the identity provider signed; it counts once.
	Token string
	// Issued and Expires are when the ID token was made, and when it ends.
	Issued, Expires time.Time
	// Ends is when the certificate ends at the latest.
	Ends time.Time
	// Role is what the person's groups may do.
	Role identity.Role
	// Servers are patterns of the servers that they may do it on; "*" for all.
	Servers []string
	// Key is that of the operator's signing request, as RequestKey read it.
	Key *ecdsa.PublicKey
	// Caller is who shows the ID token, without an identity.
	Caller Caller
	// Believed is called before anything is written; its error ends it. May be nil.
	Believed func(ctx context.Context) error
}

// LoginBundle is what somebody gets who logged in.
type LoginBundle struct {
	OperatorBundle
	// Identity is whom the certificate is of.
	Identity identity.Identity
}

// Login gives a person a certificate, and revokes those in another role or for more servers.
// UNAUTHENTICATED with ID_TOKEN_REFUSED for an ID token that was used or ends at once,
// PERMISSION_DENIED with LOGIN_REVOKED.
func (l LoggingIn) Login(ctx context.Context, req LoginRequest) (LoginBundle, error) {
	who := identity.Identity{Role: req.Role}
	known, err := l.known(ctx, req.Person)
	who.Name = known.Operator
	if err == nil && !known.RevokedAt.IsZero() {
		err = loginRevoked(known)
		req.Caller.Peer.Identity = who
		l.NoteLoginRefused(ctx, req.Person, req.Caller, err)
	}
	if err != nil {
		return LoginBundle{}, storeError("cannot log in "+req.Person.Shown, err)
	}
	if req.Believed != nil {
		if err := req.Believed(ctx); err != nil {
			return LoginBundle{}, err
		}
	}
	caller := req.Caller
	caller.Peer.Identity = who
	bundle, err := l.r.certifyOperator(ctx, OperatorRequest{Name: who.Name, Role: who.Role,
		Servers: req.Servers, Caller: caller, key: req.Key, ends: req.Ends,
		about: fmt.Sprintf("; %s of %s, subject %s, from %s", req.Person.Shown, req.Person.Issuer,
			req.Person.Subject, caller.Peer.Address),
	}, "operator.login", func(ctx context.Context, records Records) error {
		return l.admit(ctx, records, req, caller)
	})
	if errs.ReasonOf(err) == errorsv1.Reason_REASON_LOGIN_REVOKED {
		l.NoteLoginRefused(ctx, req.Person, caller, err)
	}
	return LoginBundle{OperatorBundle: bundle, Identity: who}, err
}

// known is the record of the person, with the name alone for who has none yet. Who was revoked has
// no call recorded in the audit: the room there is for those who may.
func (l LoggingIn) known(ctx context.Context,
	person inventory.Person) (login inventory.Login, err error) {
	err = l.r.config.Store.Read(ctx, func(ctx context.Context, records Records) error {
		login, err = records.Logins.Get(ctx, person)
		if errors.Is(err, inventory.ErrNotFound) || err == nil && login.IsFirst() &&
			login.RevokedAt.IsZero() {
			login, err = inventory.Login{Operator: person.Name()}, nil
		}
		return err
	})
	return login, err
}

func (l LoggingIn) admit(ctx context.Context, records Records, req LoginRequest,
	caller Caller) error {
	who := caller.Peer.Identity
	if left := req.Ends.Sub(l.r.config.Now()); left < minLogin {
		return tokenRefusedHere(fmt.Sprintf("its session ends in %s", max(0, left)))
	}
	login, err := records.Logins.Get(ctx, req.Person)
	first := errors.Is(err, inventory.ErrNotFound) || err == nil && login.IsFirst() &&
		login.RevokedAt.IsZero()
	switch {
	case first:
		login = inventory.Login{Operator: who.Name}
		err = unused(ctx, records, who.Name)
	case err == nil && !login.RevokedAt.IsZero():
		err = loginRevoked(login)
	case err == nil && login.Operator != who.Name:
		err = namedMeanwhile(login)
	case err == nil && req.Issued.Add(olderBy).Before(login.Last):
		// Its groups are those of before: it would take back what the last login took away.
		err = tokenRefusedHere("it was made before the last login")
	}
	if err != nil {
		return err
	}
	if fresh, err := records.Logins.Spend(ctx, req.Token, req.Issued,
		req.Expires.Add(remembered)); err != nil || !fresh {
		if err == nil {
			err = tokenRefusedHere("it was used before")
		}
		return err
	}
	if err := l.r.mayRenew(ctx, records, caller.Peer, operatorRenewals); err != nil {
		return err
	}
	login.Person, login.Last = req.Person, l.r.config.Now().UTC()
	if err := records.Logins.Put(ctx, login); err != nil {
		return err
	}
	return l.supersede(ctx, records, req, caller)
}

// unused refuses a name under which somebody has, or had, certificates: an operator of a version
// that let them be created.
func unused(ctx context.Context, records Records, name string) error {
	for _, role := range identity.Operators() {
		certs, err := records.Certificates.Of(ctx, identity.Identity{Role: role,
			Name: name}.String())
		if err != nil || len(certs) == 0 {
			if err != nil {
				return err
			}
			continue
		}
		return errs.New(errs.AlreadyExists, errorsv1.Reason_REASON_ALREADY_EXISTS,
			fmt.Sprintf("operator %s has certificates that no login made", name),
			errs.WithHint("ask an admin who that is", errs.Call("ListOperators")))
	}
	return nil
}

// supersede revokes what the person has in another role, and what agents would let in for servers
// that the person does not work with any more, and the join tokens made with it. A key that another
// computer has then ends: nobody has two roles at a time.
func (l LoggingIn) supersede(ctx context.Context, records Records, req LoginRequest,
	caller Caller) error {
	who := caller.Peer.Identity
	scopes, err := records.Operators.Scopes(ctx)
	if err != nil {
		return err
	}
	narrower := len(inventory.ScopeOf(scopes[who.Name])) == 0 &&
		len(inventory.ScopeOf(req.Servers)) > 0
	for _, role := range identity.Operators() {
		older := identity.Identity{Role: role, Name: who.Name}
		if older == who && !narrower {
			continue
		}
		_, good, err := l.r.goodOnes(ctx, records, []string{older.String()})
		if err != nil {
			return err
		}
		tokens, err := records.Tokens.Revoke(ctx, older.String()) // which outlive certificates
		if err != nil {
			return err
		}
		if len(good) == 0 && tokens == 0 {
			continue
		}
		why := fmt.Sprintf("a login in the role %s for %s", req.Role,
			scopeText(inventory.ScopeOf(req.Servers)))
		if _, err := records.Certificates.Revoke(ctx, older.String(), why); err != nil {
			return err
		}
		if err := records.Events.Add(ctx, caller.event(l.r.config.Now().UTC(), "identity.revoke",
			operatorSubject(who.Name), fmt.Sprintf("revoked what it had in the role %s: %s", role,
				why))); err != nil {
			return err
		}
	}
	return nil
}

// loginOf is the record of an operator who logs in, or is to be kept from it; err is what failed
// before.
func loginOf(ctx context.Context, records Records, req RevokeRequest,
	err error) (inventory.Login, bool, error) {
	if err != nil || records.Logins == nil || !req.Who.Role.IsOperator() ||
		!inventory.IsPerson(req.Who.Name) {
		return inventory.Login{}, false, err
	}
	login, err := records.Logins.Named(ctx, req.Who.Name)
	if errors.Is(err, inventory.ErrNotFound) {
		if req.Person != nil {
			return inventory.Unborn(*req.Person), true, nil
		}
		return login, false, nil
	}
	return login, err == nil, err
}

// personName is the name of the one who is revoked: that of the first login, where there was one.
func personName(ctx context.Context, records Records, req RevokeRequest) (string, error) {
	if req.Person == nil {
		return req.Who.Name, nil
	}
	login, err := records.Logins.Get(ctx, *req.Person)
	if errors.Is(err, inventory.ErrNotFound) {
		return req.Who.Name, nil
	}
	return login.Operator, err
}

// barLogin refuses later logins of a person. The first reason stays.
func barLogin(ctx context.Context, records Records, login inventory.Login, reason string,
	now time.Time) error {
	if !login.RevokedAt.IsZero() {
		return nil
	}
	login.RevokedAt, login.Reason = now.UTC(), reason
	return records.Logins.Put(ctx, login)
}

// ReadmitRequest asks for a person who was revoked to be let in again.
type ReadmitRequest struct {
	// Name is the operator's.
	Name string
	// Person is who is meant in place of Name; nil for Name.
	Person *inventory.Person
	// ValidateOnly changes nothing.
	ValidateOnly bool
	// Caller is who asks.
	Caller Caller
}

// Readmit lets a person who was revoked log in again, and answers with the operator's name.
// NOT_FOUND for who never logged in and was not revoked, UNAUTHENTICATED for a caller whose
// certificate is revoked or has expired.
func (l LoggingIn) Readmit(ctx context.Context, req ReadmitRequest) (name string, err error) {
	who := req.Name
	if req.Person != nil {
		who = "the subject " + req.Person.Subject
	}
	err = l.r.alone(ctx, "cannot let "+who+" log in again",
		func(ctx context.Context, records Records) error {
			if err := l.r.inForce(ctx, records, req.Caller.Peer); err != nil {
				return err
			}
			login, err := req.login(ctx, records)
			name = login.Operator
			if err != nil || req.ValidateOnly || login.RevokedAt.IsZero() {
				return err
			}
			login.RevokedAt, login.Reason = time.Time{}, ""
			if err := records.Logins.Put(ctx, login); err != nil {
				return err
			}
			return records.Events.Add(ctx, req.Caller.event(l.r.config.Now().UTC(),
				"operator.readmit", operatorSubject(login.Operator),
				"may log in again: "+login.Shown+" of "+login.Issuer))
		})
	return name, err
}

func (req ReadmitRequest) login(ctx context.Context, records Records) (inventory.Login, error) {
	if req.Person != nil {
		return records.Logins.Get(ctx, *req.Person)
	}
	return records.Logins.Named(ctx, req.Name)
}

// NoteLoginRefused writes the event of a person whom the identity provider knows, and who is
// refused here: once a day for each.
func (l LoggingIn) NoteLoginRefused(ctx context.Context, person inventory.Person, caller Caller,
	why error) {
	now := l.r.config.Now().UTC()
	if !l.r.refusals.first("login "+person.Key(), now) {
		return
	}
	name := caller.Peer.Identity.Name
	if name == "" {
		name = person.Name()
	}
	event := caller.event(now, "operator.login_refused", operatorSubject(name),
		fmt.Sprintf("%s of %s, subject %s, from %s: %v", person.Shown, person.Issuer,
			person.Subject, caller.Peer.Address, why))
	addRefusal(ctx, l.r, event)
}

// renewsByLogin refuses to renew the certificate of somebody who logs in.
func renewsByLogin(who identity.Identity) error {
	if !who.Role.IsOperator() || !inventory.IsPerson(who.Name) {
		return nil
	}
	return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_NOT_ALLOWED,
		fmt.Sprintf("the certificate of %s came from a login, and is not renewed", who),
		errs.WithHint("log in again", errs.Call("Login")))
}

func loginRevoked(login inventory.Login) error {
	return errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_LOGIN_REVOKED,
		fmt.Sprintf("%s was revoked on %s: %s", login.Operator,
			login.RevokedAt.UTC().Format(time.RFC3339), login.Reason),
		errs.WithHint("ask an admin, who can let you in again",
			errs.Call("ReadmitOperator", "name", operatorSubject(login.Operator))))
}

// namedMeanwhile refuses a certificate under another name than the person's: two logins were the
// first, with two shown names. The ID token is good for another try.
func namedMeanwhile(login inventory.Login) error {
	return errs.New(errs.Aborted, errorsv1.Reason_REASON_ETAG_MISMATCH,
		"another login has just named the person "+login.Operator, errs.Retry(time.Second),
		errs.WithHint("try again with the same ID token", errs.Call("Login")))
}

func tokenRefusedHere(cause string) error {
	return errs.New(errs.Unauthenticated, errorsv1.Reason_REASON_ID_TOKEN_REFUSED,
		"the ID token is not taken: "+cause, errs.WithHint("log in again", errs.Call("Login")))
}

func notForLogins(field, why string) error {
	return errs.New(errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD,
		"operators who log in are not created or changed here", errs.Field(field, why),
		errs.WithHint("change their groups at the identity provider, or the groups file"))
}
