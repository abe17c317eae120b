package ca

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	tokenBytes = 32
	// noKey stands for a key that has used no token.
	noKey = "none"
)

var newToken = errs.WithHint("make a new join file and put it on the machine",
	errs.Call("CreateJoinToken"))

// JoinFile is the content of a join file for a server's new machine, with a fresh one-time token of
// the usual life; without one where the machine is attested.
func (r *Registry) JoinFile(ctx context.Context, server string) ([]byte, error) {
	if r.config.Attestor != nil {
		if err := r.checkToken(TokenRequest{Server: server, TTL: r.config.TokenLife}); err != nil {
			return nil, err
		}
		r.rotating.RLock()
		defer r.rotating.RUnlock()
		return r.joinFile(identity.JoinFile{Server: server, Attest: r.config.Attestor.Name()})
	}
	self := identity.Peer{Identity: identity.ControlPlane()}
	file, _, err := r.CreateToken(ctx, TokenRequest{Server: server, Caller: Caller{Peer: self}})
	return file, err
}

// TokenRequest asks for a join token.
type TokenRequest struct {
	// Server is the server that it is for.
	Server string
	// Machine is the provider's id of the machine, which its provider signs for; empty: the token
	// is a secret.
	Machine string
	// Replace revokes the certificates of the server's agent that are good. Without it, a server
	// that has one gets no token.
	Replace bool
	// TTL is how long it is good: a minute to a day; the configured life when 0.
	TTL time.Duration
	// ValidateOnly makes no token.
	ValidateOnly bool
	// RequestID is the idempotency key: a repeat gets the token that was made, with another secret.
	RequestID string
	// Caller is who asks.
	Caller Caller
}

// CreateToken makes a join token and answers with the join file and the token's end. Only the
// token's hash is kept, so this is the one time that it is shown. INVALID_ARGUMENT for a wrong name
// or life, FAILED_PRECONDITION for a machine where none is attested, and with ALREADY_EXISTS
// for a server whose agent has a certificate that is not to be replaced, UNAUTHENTICATED for an
// operator whose certificate is revoked or has expired. A repeat is refused as Enroll refuses the
// token, once that cannot be used any more.
func (r *Registry) CreateToken(ctx context.Context, req TokenRequest) ([]byte, time.Time, error) {
	asks := []any{req.Server, req.Machine, req.TTL}
	if req.Replace {
		asks = append(asks, "replace")
	}
	once := askedFor(req.RequestID, req.Caller, "CreateJoinToken", asks...)
	if req.TTL == 0 {
		req.TTL = r.config.TokenLife
	}
	if err := r.checkToken(req); err != nil {
		return nil, time.Time{}, err
	}
	now := r.config.Now().UTC()
	expires := now.Add(req.TTL)
	if req.ValidateOnly {
		return nil, expires, nil
	}
	r.rotating.RLock()
	defer r.rotating.RUnlock()
	file, hash, err := req.newToken(r.config.Attestor)
	if err != nil {
		return nil, time.Time{}, err
	}
	by, revoked := req.Caller.Peer, ""
	err = r.alone(ctx, "cannot make a join token for "+req.Server,
		func(ctx context.Context, records Records) error {
			if by.Identity.Role.IsOperator() {
				// A revocation ends the tokens of until now, and none comes after it.
				if err := r.inForce(ctx, records, by); err != nil {
					return err
				}
			}
			revoked = ""
			record, done := inventory.JoinToken{Hash: hash, Server: req.Server,
				Creator: by.Identity.String(), Created: now, Expires: expires}, "made"
			before, err := once.made(ctx, records)
			switch {
			case err != nil:
				return err
			case before == "":
				if revoked, err = req.replace(ctx, records, &record, now); err == nil {
					err = records.Tokens.Insert(ctx, record)
				}
			default:
				record, err = req.again(ctx, records, before, hash, now)
				done, expires = "given another secret", record.Expires
			}
			if err != nil || record.Hash == before { // which has no secret, and stays as it is
				return err
			}
			if err := once.note(ctx, records, record.Hash, now); err != nil {
				return err
			}
			return records.Events.Add(ctx, req.Caller.event(now, "server.join-token",
				"servers/"+req.Server, fmt.Sprintf("join token %s%s, good until %s%s", done,
					req.forMachine(), expires.Format(time.RFC3339), revoked)))
		})
	if err != nil {
		return nil, time.Time{}, err
	}
	if revoked != "" {
		if err := r.Refresh(ctx); err != nil {
			return nil, time.Time{}, err
		}
	}
	written, err := r.joinFile(file)
	return written, expires, err
}

// again is the token that the request made before, under another hash. Only the hash of its secret
// is on record, so the answer has another secret. One without a secret stays as it is.
func (t TokenRequest) again(ctx context.Context, records Records, before, hash string,
	now time.Time) (inventory.JoinToken, error) {
	record, err := records.Tokens.Get(ctx, before)
	if errors.Is(err, inventory.ErrNotFound) { // it has the hash of the machine that used it
		err = inventory.TokenUsed(t.Server)
	}
	if err != nil {
		return record, err
	}
	used := record
	if err := used.Redeem(t.Server, noKey, now); err != nil || t.Machine != "" {
		return record, err
	}
	record.Hash = hash
	return record, records.Tokens.Rekey(ctx, before, record)
}

func (t TokenRequest) forMachine() string {
	if t.Machine == "" {
		return ""
	}
	return " for machine " + t.Machine
}

// newToken is what the join file of a new token says, and what the token is recorded under.
func (t TokenRequest) newToken(attestor Attestor) (file identity.JoinFile, hash string,
	err error) {
	secret := make([]byte, tokenBytes)
	if _, err := rand.Read(secret); err != nil {
		return file, "", err
	}
	file.Server = t.Server
	if t.Machine != "" {
		file.Attest = attestor.Name()
		return file, inventory.NamedKey(file.Attest, t.Machine, hex.EncodeToString(secret[:8])),
			nil
	}
	file.Token = base64.RawURLEncoding.EncodeToString(secret)
	return file, tokenHash(file.Token), nil
}

func (r *Registry) checkToken(req TokenRequest) error {
	if len(r.config.ControlPlane) == 0 {
		return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_INVALID_FIELD,
			"cannot make a join token: the control plane does not know under which address "+
				"machines reach it",
			errs.WithHint("give the control plane its address in its configuration"))
	}
	if req.Machine != "" && r.config.Attestor == nil {
		return noAttestation("cannot make a join token for machine " + req.Machine)
	}
	faults := errs.Fields{}
	if err := inventory.ValidateName(req.Server); err != nil {
		faults.Add("server", err.Error())
	}
	faults.Require("ttl", req.TTL >= minTokenLife && req.TTL <= maxTokenLife,
		fmt.Sprintf("must be %s to %s", minTokenLife, maxTokenLife))
	return faults.Err()
}

func (r *Registry) joinFile(file identity.JoinFile) ([]byte, error) {
	root, pin := r.config.Authority.Shown()
	file.ControlPlane, file.CASPKISHA256, file.CAPEM = r.config.ControlPlane, pin, string(root)
	return json.MarshalIndent(file, "", "  ")
}

func tokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// wellFormed spares the store what cannot be a token.
func wellFormed(token string) bool {
	secret, err := base64.RawURLEncoding.DecodeString(token)
	// line breaks are passed over
	return err == nil && len(secret) == tokenBytes &&
		len(token) == base64.RawURLEncoding.EncodedLen(tokenBytes)
}

// usable is the token's record, marked as used by the key but not written, or why it cannot be.
func usable(ctx context.Context, records Records, token, server, keyPrint string,
	now time.Time) (inventory.JoinToken, error) {
	none := inventory.JoinToken{}
	if !wellFormed(token) {
		return none, tokenRefused("the join token is malformed")
	}
	hash := tokenHash(token)
	record, err := records.Tokens.Get(ctx, hash)
	if errors.Is(err, inventory.ErrNotFound) {
		return none, tokenRefused("the join token is unknown")
	}
	if err != nil {
		return none, err
	}
	if subtle.ConstantTimeCompare([]byte(record.Hash), []byte(hash)) != 1 {
		return none, tokenRefused("the join token is unknown")
	}
	unused := record
	if err := record.Redeem(server, keyPrint, now); err != nil {
		return none, err
	}
	if err := onlyOne(ctx, records, unused, keyPrint, now); err != nil {
		return none, err
	}
	if err := outlivesRevocation(ctx, records, record); err != nil {
		return none, err
	}
	return record, withinScope(ctx, records, record)
}

// withinScope refuses a token of an operator who works with some servers, for one that is not among
// them now, or that became the replica of one that is not: its agent would read what that one
// writes.
func withinScope(ctx context.Context, records Records, token inventory.JoinToken) error {
	creator, foreign := identity.Parse(token.Creator) // which may be older than such records
	byOperator := foreign == nil && creator.Role.IsOperator()
	if !byOperator || records.Operators == nil {
		return nil
	}
	scopes, err := records.Operators.Scopes(ctx)
	if err != nil {
		return err
	}
	scope := inventory.ScopeOf(scopes[creator.Name])
	if !scope.Has(token.Server) {
		return tokenRefused(fmt.Sprintf("%s, who made the join token, does not work with server %s",
			creator, token.Server))
	}
	if len(scope) == 0 || records.Primary == nil {
		return nil
	}
	primary, err := records.Primary(ctx, token.Server)
	if err == nil && primary != "" && !scope.Has(primary) {
		err = tokenRefused(fmt.Sprintf("%s, who made the join token, does not work with the "+
			"primary of server %s", creator, token.Server))
	}
	return err
}

// CheckToken says until when a join token is good for a server, and redeems nothing. It refuses as
// Enroll does, a token that was used as well. The address is where the request came from.
func (r *Registry) CheckToken(ctx context.Context, token, server,
	address string) (time.Time, error) {
	var record inventory.JoinToken
	err := r.config.Store.Read(ctx, func(ctx context.Context, records Records) (err error) {
		record, err = usable(ctx, records, token, server, noKey, r.config.Now())
		return err
	})
	if err != nil {
		noteToken(ctx, r, token, address, "", err)
	}
	return record.Expires, storeError("cannot use the join token", err)
}

// Root is the certificate of the root that the control plane shows, as PEM, and the time of the
// clock that certificates are issued by.
func (r *Registry) Root() ([]byte, time.Time) {
	root, _ := r.config.Authority.Shown()
	return root, r.config.Now()
}

// outlivesRevocation refuses a token that was made before its server's certificates were revoked:
// who had it then could use it to get new ones.
func outlivesRevocation(ctx context.Context, records Records, token inventory.JoinToken) error {
	certs, err := records.Certificates.Of(ctx, identity.Agent(token.Server).String())
	if err != nil {
		return err
	}
	for _, cert := range certs {
		if !cert.RevokedAt.IsZero() && !cert.RevokedAt.Before(token.Created) {
			return tokenRefused("the join token was made before the certificates of server " +
				token.Server + " were revoked")
		}
	}
	return nil
}

func tokenRefused(cause string) error {
	return errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_TOKEN_INVALID, cause, newToken)
}
