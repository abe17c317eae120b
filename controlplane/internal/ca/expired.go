package ca

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// ExpiredRequest asks for another certificate in place of one that has expired.
type ExpiredRequest struct {
	// Certificate is the one that has expired, as PEM. It says who asks, and proves nothing.
	Certificate []byte
	// CSR is the signing request (DER) of the key of the newest certificate, which proves it.
	CSR []byte
	// TakesChain is as in EnrollRequest; operators' programs are not asked.
	TakesChain bool
	// Address is where the request came from, host and port.
	Address string
	// RequestID is the id of the call.
	RequestID string
	// Believed is called once it has shown that it is no stranger who asks, and before anything is
	// written; its error ends it. May be nil.
	Believed func(ctx context.Context) error
}

// Renewed is a certificate in place of one that had expired, each as PEM.
type Renewed struct {
	// CA is what to believe, Certificate the new one.
	CA, Certificate []byte
	// Expires is when it ends.
	Expires time.Time
}

// RenewExpired gives an agent or an operator another certificate for the key of the newest one on
// record. A request that somebody else repeats gives them a certificate for a key that they have
// not. UNAUTHENTICATED for anybody else, with CERTIFICATE_REVOKED once it was revoked,
// INVALID_ARGUMENT with CSR_INVALID.
func (r *Registry) RenewExpired(ctx context.Context, req ExpiredRequest) (Renewed, error) {
	key, err := signingRequest("csr", req.CSR)
	if err != nil {
		return Renewed{}, err
	}
	e := &expired{Registry: r, key: key}
	if e.print, err = identity.KeyPrintOf(key); err != nil {
		return Renewed{}, err
	}
	if e.peer, err = shown(req); err != nil {
		return Renewed{}, err
	}
	if err := renewsByLogin(e.peer.Identity); err != nil {
		return Renewed{}, err
	}
	e.foreign = r.config.Authority.believes(e.peer.Certificate)
	renewed, err := e.renew(ctx, req)
	e.noteRefused(ctx, req, err)
	return renewed, err
}

func (e *expired) renew(ctx context.Context, req ExpiredRequest) (Renewed, error) {
	who, what := e.peer.Identity, "cannot renew the certificate of "+e.peer.Identity.String()
	if err := e.config.Store.Read(ctx, e.admit); err != nil {
		return Renewed{}, storeError(what, err)
	}
	if req.Believed != nil {
		if err := req.Believed(ctx); err != nil {
			return Renewed{}, err
		}
	}
	by := Caller{Peer: e.peer, RequestID: req.RequestID}
	if who.Role.IsOperator() {
		bundle, err := e.certifyOperator(ctx, OperatorRequest{Name: who.Name, Role: who.Role,
			Caller: by, key: e.key}, "operator.renew_expired", e.admit)
		return Renewed{CA: bundle.CA, Certificate: bundle.Certificate, Expires: bundle.Expires}, err
	}
	host, _, err := net.SplitHostPort(req.Address)
	if err != nil {
		host = ""
	}
	bundle, err := e.certify(ctx, what, certification{agent: who, keys: publicKeys{agent: e.key},
		takesChain: req.TakesChain, names: e.namesOf(who.Name, host),
		action: "server.renew_expired", caller: by,
		admit: func(ctx context.Context, records Records, _ string) error {
			return e.admit(ctx, records)
		}})
	return Renewed{CA: bundle.CA, Certificate: bundle.Agent, Expires: bundle.Expires}, err
}

// shown is the agent or the operator that a certificate says it is of.
func shown(req ExpiredRequest) (identity.Peer, error) {
	cert, err := parseCertificate(req.Certificate)
	var who identity.Identity
	if err == nil {
		who, err = identity.FromCertificate(cert)
	}
	if err == nil && who.Role != identity.RoleAgent && !who.Role.IsOperator() {
		err = fmt.Errorf("%s does not renew it so", who)
	}
	if err != nil {
		return identity.Peer{}, noneShown(err)
	}
	return identity.Peer{Identity: who, Certificate: cert, Address: req.Address}, nil
}

func noneShown(err error) error {
	return errs.New(errs.Unauthenticated, errorsv1.Reason_REASON_UNAUTHENTICATED,
		"no certificate of this CA was shown", errs.Wrap(err),
		errs.WithHint("show the certificate of an agent or an operator"))
}

// expired is a renewal of a certificate that has expired.
type expired struct {
	*Registry
	peer  identity.Peer    // as the certificate says that was shown
	key   *ecdsa.PublicKey // which was proved
	print string           // of that key
	// foreign is why no root of now signed the certificate that was shown; nil when one did.
	foreign error
	own     inventory.Certificate // the newest of that key; none on record without a serial
}

// known refuses a certificate that is neither of a root of now nor on record. One of a root that
// went is on record: its host may have missed that another one came.
func (e *expired) known(ctx context.Context, records Records) error {
	if e.foreign == nil {
		return nil
	}
	record, err := records.Certificates.Get(ctx, e.peer.Serial())
	if err != nil && !errors.Is(err, inventory.ErrNotFound) {
		return err
	}
	if err != nil || record.Identity != e.peer.Identity.String() ||
		record.KeyPrint != identity.Pin(e.peer.Certificate) {
		return noneShown(e.foreign)
	}
	return nil
}

// early says whether the certificate that was shown is still good by any clock that may be right:
// it is renewed otherwise, unless its root has gone.
func (e *expired) early() bool {
	return e.foreign == nil &&
		e.config.Now().Add(identity.MaxClockDifference).Before(e.peer.Certificate.NotAfter)
}

// admit says whether the one who has the key gets another certificate. An agent makes a new key for
// each renewal: only the newest counts, so a key that was stolen before is worth nothing. Operators
// keep theirs, and have one on each computer.
func (e *expired) admit(ctx context.Context, records Records) error {
	who := e.peer.Identity
	if err := e.known(ctx, records); err != nil {
		return err
	}
	known, err := records.Certificates.Of(ctx, who.String())
	if err != nil {
		return err
	}
	own, newer, err := e.newest(ctx, records, known)
	e.own = own
	switch {
	case err != nil:
		return err
	case own.Serial == "":
		return e.refused("its key is that of no certificate on record")
	case newer && who.Role == identity.RoleAgent:
		return e.refused("a certificate for another key was issued since")
	case !own.RevokedAt.IsZero():
		return revoked(own.Serial, who)
	case e.early():
		return e.refused(fmt.Sprintf("the one that was shown has not expired: it ends on %s, and "+
			"it is %s here", e.peer.Certificate.NotAfter.UTC().Format(time.RFC3339),
			e.config.Now().UTC().Format(time.RFC3339)))
	}
	grace := e.config.OperatorGrace
	if who.Role == identity.RoleAgent {
		grace = e.config.AgentGrace
	}
	if e.config.Now().Sub(own.NotAfter) > grace {
		return e.refused(fmt.Sprintf("it expired on %s, more than %s ago",
			own.NotAfter.UTC().Format(time.RFC3339), grace))
	}
	if err := trusted(ctx, records, e.print); err != nil {
		return err
	}
	if who.Role == identity.RoleAgent {
		return e.mayRenew(ctx, records, e.peer, agentRenewals)
	}
	if err := knowsScope(ctx, records, e.peer); err != nil {
		return err
	}
	if err := e.hasNoOtherRole(ctx, records, who); err != nil {
		return err
	}
	return e.mayRenew(ctx, records, e.peer, operatorRenewals)
}

// newest is the newest certificate of the key that was proved, without a serial for none, and
// whether there is a newer one of another key.
func (e *expired) newest(ctx context.Context, records Records,
	known []inventory.Certificate) (own inventory.Certificate, newer bool, err error) {
	for _, cert := range known {
		if cert.KeyPrint == e.print &&
			(own.Serial == "" || cert.Issued().After(own.Issued())) {
			own = cert
		}
	}
	if own.Serial == "" {
		if own, err = e.lost(ctx, records); err != nil || own.Serial == "" {
			return own, false, err
		}
	}
	return own, newestOf(known).After(own.Issued()), nil
}

// lost is the certificate that was shown when a restore may have lost its record.
func (e *expired) lost(ctx context.Context, records Records) (inventory.Certificate, error) {
	cert := e.peer.Certificate
	if records.Lost == nil || identity.Pin(cert) != e.print {
		return inventory.Certificate{}, nil
	}
	lost, err := records.Lost(ctx, e.peer.Identity.String(),
		identity.IssuedAt(cert.NotBefore, cert.NotAfter))
	if err != nil || !lost {
		return inventory.Certificate{}, err
	}
	return recordOf(cert, e.peer.Identity.String()), nil
}

func (e *expired) refused(why string) error {
	return errs.New(errs.Unauthenticated, errorsv1.Reason_REASON_UNAUTHENTICATED,
		fmt.Sprintf("the certificate of %s cannot be renewed: %s", e.peer.Identity, why),
		errs.WithHint("ask an admin for new credentials; a machine needs a new join file",
			another(e.peer.Identity)))
}

// recordOf is what is recorded of a certificate.
func recordOf(cert *x509.Certificate, recordedAs string) inventory.Certificate {
	return inventory.Certificate{Serial: identity.Serial(cert), Identity: recordedAs,
		KeyPrint: identity.Pin(cert), NotBefore: cert.NotBefore, NotAfter: cert.NotAfter}
}
