package ca

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Keys are the signing requests (DER) of a server's two keys.
type Keys struct {
	// Agent is that of the agent's key.
	Agent []byte
	// MariaDB is that of MariaDB's key, another one: who has MariaDB's key is not the agent. A
	// renewal without it leaves MariaDB's certificate.
	MariaDB []byte
}

// Bundle is what a server's host gets, each as PEM.
type Bundle struct {
	// CA is what to believe.
	CA []byte
	// Agent is the agent's certificate.
	Agent []byte
	// MariaDB is MariaDB's certificate; empty when none was asked for.
	MariaDB []byte
	// Expires is when the first of them ends.
	Expires time.Time
}

// EnrollRequest shows a join token, or what the machine's provider has signed.
type EnrollRequest struct {
	// Token is the secret.
	Token string
	// Attestation is what the provider has signed about the machine, in place of a token.
	Attestation []byte
	// Server is for whom; the token must be for the same.
	Server string
	// Keys are to be certified.
	Keys Keys
	// Generation is asked for for MariaDB's certificate: that of the host's earlier one, so that
	// its replica signs in as before. It gets another one when certificates of the server were
	// revoked, as those of a deleted server are: an earlier one then opens no account that demands
	// this one.
	Generation string
	// TakesChain says that the agent takes a certificate with its intermediate behind it.
	TakesChain bool
	// Address is where the request came from: an IP address, that goes into the certificates beside
	// the server's name. May be empty.
	Address string
	// RequestID is the id of the call.
	RequestID string
	// Believed is called once the proof has shown that it is no stranger who asks, and before
	// anything is written; its error ends it. May be nil.
	Believed func(ctx context.Context) error
}

// Enroll gives a new machine its certificates for a join token or an attestation. The same proof
// and agent key get certificates again until the proof ends: an answer that was lost costs nothing.
// PERMISSION_DENIED with TOKEN_INVALID, TOKEN_EXPIRED or TOKEN_USED, or with ATTESTATION_INVALID,
// ATTESTATION_EXPIRED or ATTESTATION_USED, INVALID_ARGUMENT with CSR_INVALID or INVALID_FIELD.
func (r *Registry) Enroll(ctx context.Context, req EnrollRequest) (Bundle, error) {
	faults := errs.Fields{}
	if err := inventory.ValidateName(req.Server); err != nil {
		faults.Add("server", err.Error())
	}
	faults.Require("token", req.Token != "" || len(req.Attestation) > 0, "is missing")
	if err := faults.Err(); err != nil {
		return Bundle{}, err
	}
	// Before the machine's provider is asked: anybody may send nonsense.
	keys, err := req.Keys.read(false)
	if err != nil {
		return Bundle{}, err
	}
	e := enrolment{r, req, keys, new(string)}
	p, err := e.prove(ctx)
	if err == nil {
		var bundle Bundle
		if bundle, err = e.admit(ctx, p); err == nil {
			e.alarm()
			r.config.Enrolled(req.Server)
			return bundle, nil
		}
	}
	e.noteRefused(ctx, p, err)
	return Bundle{}, err
}

// enrolment is one call of Enroll.
type enrolment struct {
	*Registry
	req     EnrollRequest
	keys    publicKeys
	strange *string // what is odd about where it came from
}

func (e enrolment) admit(ctx context.Context, p proof) (Bundle, error) {
	req, agent := e.req, identity.Agent(e.req.Server)
	generation, err := e.generation(ctx)
	if err != nil {
		return Bundle{}, storeError("cannot enrol "+req.Server, err)
	}
	return e.certify(ctx, "cannot enrol "+req.Server, certification{
		agent: agent, generation: generation, keys: e.keys, takesChain: req.TakesChain,
		names:  e.namesOf(req.Server, req.Address),
		action: "server.enrol", by: p.by(), caller: Caller{Peer: identity.Peer{Identity: agent},
			RequestID: req.RequestID},
		before: func(ctx context.Context, print string) error {
			return e.believe(ctx, p, print)
		},
		admit: func(ctx context.Context, records Records, print string) error {
			if err := p.redeem(ctx, records, print, e.config.Now()); err != nil {
				return err
			}
			return e.joined(ctx, records, p)
		},
	})
}

// generation is that of MariaDB's certificate for a machine that enrols.
func (e enrolment) generation(ctx context.Context) (string, error) {
	generation := e.req.Generation
	err := e.config.Store.Read(ctx, func(ctx context.Context, records Records) error {
		certs, err := records.Certificates.Of(ctx, inventory.MariaDBIdentity(e.req.Server))
		if slices.ContainsFunc(certs, func(c inventory.Certificate) bool {
			return !c.RevokedAt.IsZero()
		}) {
			generation = identity.NewGeneration()
		}
		return err
	})
	return generation, err
}

// believe looks at the proof without redeeming it.
func (e enrolment) believe(ctx context.Context, p proof, print string) error {
	if e.req.Believed == nil {
		return nil
	}
	err := e.config.Store.Read(ctx, func(ctx context.Context, records Records) error {
		_, err := p.admit(ctx, records, print, e.config.Now())
		return err
	})
	if err != nil {
		return storeError("cannot enrol "+e.req.Server, err)
	}
	return e.req.Believed(ctx)
}

// RenewRequest asks for new certificates in place of those that the caller showed.
type RenewRequest struct {
	// Peer is the agent, as its connection proved it.
	Peer identity.Peer
	// Keys are to be certified.
	Keys Keys
	// Generation is that of MariaDB's certificate: the same, or another one for a rotation.
	Generation string
	// TakesChain is as in EnrollRequest.
	TakesChain bool
	// RequestID is the id of the call.
	RequestID string
}

// Renew gives an agent new certificates for itself. PERMISSION_DENIED for any other role,
// UNAUTHENTICATED with CERTIFICATE_REVOKED for a certificate that is revoked or on no record.
// RESOURCE_EXHAUSTED with RATE_LIMITED for one that renews all the time.
func (r *Registry) Renew(ctx context.Context, req RenewRequest) (Bundle, error) {
	agent := req.Peer.Identity
	if agent.Role != identity.RoleAgent || req.Peer.Certificate == nil {
		return Bundle{}, errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_NOT_ALLOWED,
			"only an agent renews its certificates",
			errs.WithHint("renew an operator's certificate", errs.Call("RenewOperator")))
	}
	keys, err := req.Keys.read(len(req.Keys.MariaDB) == 0)
	if err != nil {
		return Bundle{}, err
	}
	host, _, err := net.SplitHostPort(req.Peer.Address)
	if err != nil {
		host = ""
	}
	bundle, err := r.certify(ctx, "cannot renew certificates of "+agent.Name, certification{
		agent: agent, generation: req.Generation, keys: keys, takesChain: req.TakesChain,
		names:  r.namesOf(agent.Name, host),
		action: actionRenew, caller: Caller{Peer: req.Peer, RequestID: req.RequestID},
		admit: func(ctx context.Context, records Records, _ string) error {
			return mayRenewAgent(ctx, r, records, req.Peer)
		},
	})
	return bundle, err
}

// stillGood asks the record itself, not the deny list's copy.
func (r *Registry) stillGood(ctx context.Context, records Records, peer identity.Peer) error {
	if peer.Certificate == nil {
		return errs.New(errs.Unauthenticated, errorsv1.Reason_REASON_UNAUTHENTICATED,
			peer.Identity.String()+" has shown no certificate",
			errs.WithHint("call it with a certificate", another(peer.Identity)))
	}
	record, err := records.Certificates.Get(ctx, peer.Serial())
	if err != nil && !errors.Is(err, inventory.ErrNotFound) {
		return err
	}
	if err == nil && record.Identity == peer.Identity.String() && record.RevokedAt.IsZero() {
		return nil
	}
	if err != nil && records.Lost != nil {
		// It is of this CA, as the handshake proved, and its record may be what a restore lost.
		lost, err := records.Lost(ctx, peer.Identity.String(),
			identity.IssuedAt(peer.Certificate.NotBefore, peer.Certificate.NotAfter))
		if err != nil || lost {
			return err
		}
	}
	return revoked(peer.Serial(), peer.Identity)
}

func revoked(serial string, who identity.Identity) error {
	return errs.New(errs.Unauthenticated, errorsv1.Reason_REASON_CERTIFICATE_REVOKED,
		"the certificate with serial "+serial+" is revoked",
		errs.WithHint("ask an admin for new credentials; a machine needs a new join file",
			another(who)))
}

// another makes a new certificate for somebody.
func another(who identity.Identity) errs.Action {
	if who.Role.IsOperator() {
		return errs.Call("CreateOperator", "name", operatorSubject(who.Name))
	}
	return errs.Call("CreateJoinToken")
}

// actionRenew is how events name an agent's renewal.
const actionRenew = "server.renew"

// certification is one pair of certificates to be issued.
type certification struct {
	agent identity.Identity
	// generation is that of MariaDB's certificate.
	generation string
	takesChain bool

	keys   publicKeys
	names  []string
	action string
	by     string // what its event says of how it was admitted; may be empty
	caller Caller
	// admit says, in the transaction that records the certificates, whether they may be issued to
	// the key of that print.
	admit func(ctx context.Context, records Records, print string) error
	// before is called before that transaction; may be nil.
	before func(ctx context.Context, print string) error
}

// certify issues the pair and records it in the transaction that admits it.
func (r *Registry) certify(ctx context.Context, what string, c certification) (Bundle, error) {
	print, err := identity.KeyPrintOf(c.keys.agent)
	if err != nil {
		return Bundle{}, err
	}
	if err := identity.CheckGeneration(c.generation); err != nil {
		return Bundle{}, errs.New(errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD,
			what, errs.Wrap(err), errs.Field("mariadb_generation", err.Error()))
	}
	if c.before != nil {
		if err := c.before(ctx, print); err != nil {
			return Bundle{}, err
		}
	}
	var issued []Issued
	err = r.issuing(ctx, what, func(ctx context.Context, records Records,
		certs *issuing) (err error) {
		if err := c.admit(ctx, records, print); err != nil {
			return err
		}
		if err := c.fits(r.config.Authority); err != nil {
			return err
		}
		if issued, err = c.sign(ctx, records, certs, c.wanted(r.config)); err != nil {
			return err
		}
		return c.record(ctx, records, r.config.Now().UTC(), issued)
	})
	if err != nil {
		return Bundle{}, err
	}
	bundle := Bundle{CA: r.config.Authority.PEM(), Agent: issued[0].PEM,
		Expires: issued[0].Record.NotAfter}
	if len(issued) > 1 {
		bundle.MariaDB = issued[1].PEM
		bundle.Expires = earliest(bundle.Expires, issued[1].Record.NotAfter)
	}
	return bundle, nil
}

// wanted are the agent's certificate, and MariaDB's unless it has no key.
func (c certification) wanted(config Config) []request {
	wanted := []request{peerRequest(c.agent, c.names, config.AgentLife, c.keys.agent)}
	if c.keys.mariadb != nil {
		wanted = append(wanted, mariadbRequest(identity.MariaDB{Server: c.agent.Name,
			Generation: c.generation}, c.names, config.MariaDBLife, c.keys.mariadb))
	}
	return wanted
}

// sign issues certificates, for keys that are trusted. Each is issued after all of its identity
// that are on record: a clock that was ahead makes no old key the newest.
func (c certification) sign(ctx context.Context, records Records, certs *issuing,
	wanted []request) (issued []Issued, err error) {
	for _, want := range wanted {
		print, err := identity.KeyPrintOf(want.key)
		if err != nil {
			return nil, err
		}
		if err := trusted(ctx, records, print); err != nil {
			return nil, err
		}
		known, err := records.Certificates.Of(ctx, want.recordedAs)
		if err != nil {
			return nil, err
		}
		want.after = newestOf(known)
		one, err := certs.issue(ctx, want)
		if err != nil {
			return nil, err
		}
		issued = append(issued, one)
	}
	return issued, nil
}

// newestOf is when the newest of the certificates was issued.
func newestOf(certs []inventory.Certificate) (newest time.Time) {
	for _, cert := range certs {
		if at := cert.Issued(); at.After(newest) {
			newest = at
		}
	}
	return newest
}

// record keeps the certificates, of which the agent's is the first. An agent's own renewals, twice
// a day each, are in the audit log alone.
func (c certification) record(ctx context.Context, records Records, now time.Time,
	issued []Issued) error {
	for _, cert := range issued {
		if err := records.Certificates.Insert(ctx, cert.Record); err != nil {
			return err
		}
	}
	agent := issued[0].Record
	if c.keys.mariadb == nil && c.action == actionRenew {
		return nil
	}
	return records.Events.Add(ctx, c.caller.event(now, c.action, "servers/"+c.agent.Name,
		"certificate issued until "+agent.NotAfter.UTC().Format(time.RFC3339)+", serial "+
			agent.Serial+c.by))
}

// publicKeys are those of signing requests, whose sender has them. That of MariaDB is nil when the
// agent's certificate alone is asked for.
type publicKeys struct{ agent, mariadb *ecdsa.PublicKey }

func (k Keys) read(alone bool) (keys publicKeys, err error) {
	if keys.agent, err = signingRequest("agent_csr", k.Agent); err != nil || alone {
		return keys, err
	}
	if keys.mariadb, err = signingRequest("mariadb_csr", k.MariaDB); err != nil {
		return keys, err
	}
	if keys.agent.Equal(keys.mariadb) {
		return keys, errs.New(errs.InvalidArgument, errorsv1.Reason_REASON_CSR_INVALID,
			"agent and MariaDB share a key",
			errs.Field("mariadb_csr", "is for the agent's key"),
			errs.WithHint("make a key of its own for MariaDB"))
	}
	return keys, nil
}

// namesOf is what a client of another make checks: the server's name, and the address that it
// called from, unless that is a NAT's, which is no host's.
func (r *Registry) namesOf(server, address string) []string {
	names := []string{server}
	ip, err := netip.ParseAddr(address)
	ip = ip.Unmap().WithZone("")
	if err == nil && !slices.ContainsFunc(r.config.NAT,
		func(nat netip.Prefix) bool { return nat.Contains(ip) }) {
		names = append(names, ip.String())
	}
	return names
}
