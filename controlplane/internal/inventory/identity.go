package inventory

import (
	"time"

	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// JoinToken lets a new machine's agent get its identity once. Only the token's hash is kept. One
// for a machine that its provider signs for has no secret.
type JoinToken struct {
	Hash      string // hex SHA-256 of the token; without a secret: Attested.Key, or NamedKey
	Server    string // the only server it is good for
	Creator   string // identity of who made it; empty for one of before that was recorded
	Created   time.Time
	Expires   time.Time
	UsedBy    string // fingerprint of the key that used it; empty while unused
	UsedAt    time.Time
	RevokedAt time.Time // zero while it is good: unused when its creator was revoked
}

// Certificate is the record of a certificate that our CA issued.
type Certificate struct {
	Serial    string // hex
	Identity  string // URI of the subject, or MariaDBIdentity
	KeyPrint  string // fingerprint of its public key
	NotBefore time.Time
	NotAfter  time.Time
	RevokedAt time.Time // zero while it is good
	Reason    string    // of the revocation
}

// MariaDBIdentity is what the certificate of a server's MariaDB is recorded under; it carries no
// identity itself.
func MariaDBIdentity(server string) string { return "mariadb/" + server }

// Issued is when it was issued.
func (c Certificate) Issued() time.Time { return identity.IssuedAt(c.NotBefore, c.NotAfter) }

// Good reports whether the certificate may be used at that time.
func (c Certificate) Good(at time.Time) bool {
	return c.RevokedAt.IsZero() && !at.Before(c.NotBefore) && at.Before(c.NotAfter)
}

// AgentGrant lets an operator make changing calls on a server's agent.
type AgentGrant struct {
	ID        string
	Server    string
	Operator  string // identity of who may make them
	KeyPrint  string // fingerprint of the operator's public key
	Reason    string
	Creator   string // identity of who made it
	Created   time.Time
	Expires   time.Time
	RevokedAt time.Time // zero while nobody revoked it, its operator or the server's agent
}

// Request is a request that starts no job, by its idempotency key.
type Request struct {
	ID     string
	Hash   string // digest of who asked for what
	Result string // what it made; no secret
	Made   time.Time
}

// Left is how long the grant is in force from then on: never longer than it was made for, also when
// the clock was set back since.
func (g AgentGrant) Left(at time.Time) time.Duration {
	if !g.RevokedAt.IsZero() {
		return 0
	}
	return max(0, min(g.Expires.Sub(at), g.Expires.Sub(g.Created)))
}
