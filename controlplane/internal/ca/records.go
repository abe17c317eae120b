package ca

import (
	"context"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
)

// Tokens keeps join tokens, by hash.
type Tokens interface {
	// Insert adds a token.
	Insert(ctx context.Context, token inventory.JoinToken) error
	// Get reads one, or answers inventory.ErrNotFound.
	Get(ctx context.Context, hash string) (inventory.JoinToken, error)
	// All reads all for servers of the scope, the newest first.
	All(ctx context.Context, scope inventory.Scope) ([]inventory.JoinToken, error)
	// OfMachine reads all that are for that machine of a provider.
	OfMachine(ctx context.Context, provider, machine string) ([]inventory.JoinToken, error)
	// SpendAs is Spend of an unused one that is kept under another hash, that of the token, from
	// then on.
	SpendAs(ctx context.Context, hash string, token inventory.JoinToken) error
	// Spend writes that the token is used, if it still is unused or was used by the same key; else
	// errs.PermissionDenied.
	Spend(ctx context.Context, token inventory.JoinToken) error
	// Rekey keeps an unused token under the hash of another secret, if it still is unused; else
	// errs.PermissionDenied.
	Rekey(ctx context.Context, hash string, token inventory.JoinToken) error
	// Revoke ends the unused tokens of a creator, and says how many.
	Revoke(ctx context.Context, creator string) (int64, error)
}

// Certificates keeps the records of issued certificates, by serial.
type Certificates interface {
	// Lock makes other transactions that lock wait until this one ends, those that revoke among
	// them.
	Lock(ctx context.Context) error
	// Insert adds one.
	Insert(ctx context.Context, cert inventory.Certificate) error
	// Get reads one, or answers inventory.ErrNotFound.
	Get(ctx context.Context, serial string) (inventory.Certificate, error)
	// Of reads all that were issued under that name.
	Of(ctx context.Context, identity string) ([]inventory.Certificate, error)
	// Revoke revokes those issued under that name, expired ones too, and returns the serials of
	// those that were good.
	Revoke(ctx context.Context, identity, reason string) ([]string, error)
	// Revoked reads the revoked certificates that have not expired, those that expire last first,
	// and the number of that list, which is greater after each revocation.
	Revoked(ctx context.Context) (sequence int64, all []inventory.Certificate, err error)
	// KeyRevoked says whether a certificate for the key of that print was revoked.
	KeyRevoked(ctx context.Context, print string) (bool, error)
	// Newest reads the newest certificate of each identity that begins so.
	Newest(ctx context.Context, prefix string) ([]inventory.Certificate, error)
	// Ends reads until when the newest certificate of each identity is good; revoked ones do not
	// count.
	Ends(ctx context.Context) (map[string]time.Time, error)
}

// AgentGrants keeps which operators may change what of which agents.
type AgentGrants interface {
	// Insert adds a grant.
	Insert(ctx context.Context, grant inventory.AgentGrant) error
	// Get reads one, or answers inventory.ErrNotFound.
	Get(ctx context.Context, id string) (inventory.AgentGrant, error)
	// InForce reads those in force, and the number of that list, which is greater after each grant
	// and each revocation.
	InForce(ctx context.Context) (sequence int64, all []inventory.AgentGrant, err error)
	// Revoke ends one.
	Revoke(ctx context.Context, id string) error
}

// Requests keeps what requests made, by idempotency key.
type Requests interface {
	// Get reads one, or answers inventory.ErrNotFound.
	Get(ctx context.Context, id string) (inventory.Request, error)
	// Put writes one in place of what was known of it.
	Put(ctx context.Context, req inventory.Request) error
}

// Operators keeps which servers operators work with.
type Operators interface {
	// Scopes reads the scopes of all operators who have one, by name.
	Scopes(ctx context.Context) (map[string]inventory.Scope, error)
	// SetScope writes the scope of an operator; an empty one is none.
	SetScope(ctx context.Context, name string, scope inventory.Scope) error
}

// Logins keeps the persons who logged in, and which ID tokens they used.
type Logins interface {
	// Get reads the record of a person, or answers inventory.ErrNotFound.
	Get(ctx context.Context, person inventory.Person) (inventory.Login, error)
	// Named reads the record of an operator, or answers inventory.ErrNotFound.
	Named(ctx context.Context, operator string) (inventory.Login, error)
	// Put writes the record of a person in place of the one of before.
	Put(ctx context.Context, login inventory.Login) error
	// Spend notes until when an ID token is remembered, and says whether nobody used it before.
	Spend(ctx context.Context, hash string, issued, expires time.Time) (first bool, err error)
}

// Events is the audit.
type Events interface {
	// Add appends an event.
	Add(ctx context.Context, event inventory.Event) error
}

// Records is one transaction.
type Records struct {
	// Tokens are the join tokens.
	Tokens Tokens
	// Certificates are the issued certificates.
	Certificates Certificates
	// Events is the audit.
	Events Events
	// Operators are the operators' scopes. May be nil: there are none.
	Operators Operators
	// Logins are the persons who logged in. May be nil: nobody does.
	Logins Logins
	// Grants are the grants on agents. May be nil: there are none.
	Grants AgentGrants
	// Requests are those with an idempotency key. May be nil: none has.
	Requests Requests
	// HasAgent refuses a server without an agent: NOT_FOUND for one without a record.
	HasAgent func(ctx context.Context, server string) error
	// Primary is the primary on record of a server; empty for one without, or without a record. May
	// be nil: there are none.
	Primary func(ctx context.Context, server string) (string, error)
	// Machine is the provider's id of the machine on record of a server; empty for one without, or
	// without a record. May be nil: there are none.
	Machine func(ctx context.Context, server string) (string, error)
	// Address is the address on record of a server; empty for one without, or without a record. May
	// be nil: none is known.
	Address func(ctx context.Context, server string) (string, error)
	// NoteAgent writes the agent's identity into the server's record; a server without a record is
	// fine. May be nil.
	NoteAgent func(ctx context.Context, server, agentIdentity string) error
	// NoteRevoked writes into the server's record that its agent was revoked then, for what the
	// server reads of others to be ended; a server without a record is fine. May be nil.
	NoteRevoked func(ctx context.Context, server string, at time.Time) error
	// NoteRoot writes that the certificate authority is the one with that pin from now on. May be
	// nil.
	NoteRoot func(ctx context.Context, pin string) error
	// Lost says whether a certificate of that identity which was issued then may be missing,
	// because a backup was restored, and none of the identity was revoked since; nil: never.
	Lost func(ctx context.Context, identity string, issued time.Time) (bool, error)
	// Restored is when a backup was restored; zero for never. May be nil: never.
	Restored func(ctx context.Context) (time.Time, error)
}

// Store gives transactions.
type Store interface {
	// Write runs fn in one transaction; fn is run again as a whole when the database asks for it.
	Write(ctx context.Context, fn func(ctx context.Context, records Records) error) error
	// Read runs fn in a transaction that changes nothing.
	Read(ctx context.Context, fn func(ctx context.Context, records Records) error) error
}

// Transactor is a store with transactions of its own kind.
type Transactor[Tx any] interface {
	Write(ctx context.Context, fn func(ctx context.Context, tx Tx) error) error
	Read(ctx context.Context, fn func(ctx context.Context, tx Tx) error) error
}

// StoreOf makes a Store of one with transactions of its own kind; records says what of a
// transaction is meant.
func StoreOf[Tx any](transactor Transactor[Tx], records func(Tx) Records) Store {
	return adapted[Tx]{transactor: transactor, records: records}
}

type adapted[Tx any] struct {
	transactor Transactor[Tx]
	records    func(Tx) Records
}

// Write runs fn in one transaction.
func (a adapted[Tx]) Write(ctx context.Context,
	fn func(ctx context.Context, records Records) error) error {
	return a.transactor.Write(ctx,
		func(ctx context.Context, tx Tx) error { return fn(ctx, a.records(tx)) })
}

// Read runs fn in a transaction that changes nothing.
func (a adapted[Tx]) Read(ctx context.Context,
	fn func(ctx context.Context, records Records) error) error {
	return a.transactor.Read(ctx,
		func(ctx context.Context, tx Tx) error { return fn(ctx, a.records(tx)) })
}
