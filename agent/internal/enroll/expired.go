package enroll

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	controlplanev1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// revive loads the identity in use. One that has expired, because the control plane or this host
// was away for long, gets another certificate for its key first.
func (e *Enroller) revive(ctx context.Context) (have loaded, revived bool, err error) {
	have, err = e.slots.current().load(e.config.Now())
	if !hasExpired(err) {
		return have, false, err
	}
	if clock := e.clockOf(ctx, err); clock != nil {
		return have, false, clock
	}
	if renewErr := e.renewExpired(ctx); renewErr != nil {
		return have, false, notRevived(err, renewErr)
	}
	e.pending.Store(true)
	e.config.Logger.Info("renewed an identity that had expired")
	have, err = e.slots.current().load(e.config.Now())
	return have, true, err
}

func notRevived(expired, err error) error {
	if final(err) {
		// Its hint is for who calls the control plane, not for a host.
		return fmt.Errorf("%w; it is not renewed: %s", expired, err.Error())
	}
	return errs.New(errs.Unavailable, errorsv1.Reason_REASON_UNAUTHENTICATED,
		fmt.Sprintf("%v, and the control plane does not answer", expired), errs.Wrap(err),
		errs.WithHint("start the control plane, or let this host reach it; the agent renews its "+
			"certificate by itself then"))
}

// renewExpired shows the certificate that has expired, and proves its key. Where the answer to the
// last renewal was lost, the newest certificate on record is for the key that waits in the spare
// slot: that one is tried first.
func (e *Enroller) renewExpired(ctx context.Context) error {
	current, spare := e.slots.current(), e.slots.spare()
	have, err := current.meta()
	if err != nil {
		return err
	}
	cert, err := identity.ReadCertificate(current.files().Cert)
	if err != nil {
		return err
	}
	if next, err := spare.meta(); err == nil && next.Purpose == renewalOf(cert) {
		answer, err := e.askForExpired(ctx, have, cert, spare.files().Key)
		if err == nil {
			return e.completeExpired(spare, have.Server, answer)
		}
		if !final(err) {
			return err
		}
	}
	answer, err := e.askForExpired(ctx, have, cert, current.files().Key)
	if err != nil {
		return err
	}
	return e.keep(current, have.Server, answer, false)
}

// completeExpired makes the spare slot the one in use, with MariaDB's certificate of before.
func (e *Enroller) completeExpired(spare slot, server string,
	answer *controlplanev1.Certificates) error {
	if err := e.slots.current().copyMariaDB(spare); err != nil {
		return err
	}
	if err := e.keep(spare, server, answer, false); err != nil {
		return err
	}
	return e.use(spare)
}

func (e *Enroller) askForExpired(ctx context.Context, have meta, cert *x509.Certificate,
	key string) (*controlplanev1.Certificates, error) {
	csr, err := signingRequest(key)
	if err != nil {
		return nil, err
	}
	roots, err := identity.ReadRoots(e.Files().CA)
	if err != nil {
		return nil, err
	}
	shown := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	answer, err := ask(ctx, have.ControlPlane, &identity.Static{Roots: roots},
		func(ctx context.Context, c controlplanev1.EnrollmentServiceClient,
		) (*controlplanev1.RenewExpiredResponse, error) {
			return c.RenewExpired(ctx, &controlplanev1.RenewExpiredRequest{CertificatePem: shown,
				Csr: csr, TakesChain: true})
		})
	if err != nil {
		return nil, err
	}
	return &controlplanev1.Certificates{CaPem: answer.GetCaPem(),
		AgentPem: answer.GetCertificatePem()}, nil
}

// copyMariaDB gives another slot MariaDB's certificate and key.
func (s slot) copyMariaDB(to slot) error {
	from, into := s.mariadbFiles(), to.mariadbFiles()
	key, keyErr := os.ReadFile(from.Key)
	cert, certErr := os.ReadFile(from.Cert)
	if err := errors.Join(keyErr, certErr); err != nil {
		return err
	}
	if err := atomicfile.Write(into.Key, key, 0o600); err != nil {
		return err
	}
	return atomicfile.Write(into.Cert, cert, 0o644)
}

// lateness is a renewal that fails.
type lateness struct {
	mu    sync.Mutex
	since time.Time // it was due
	from  time.Time // on it is late
	why   error
}

// note keeps how the last renewal of the identity in the slot went.
func (l *lateness) note(s slot, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.why = err
	if cert, unread := identity.ReadCertificate(s.files().Cert); unread == nil {
		l.since = identity.RenewTime(cert)
		l.from = cert.NotAfter.Add(-cert.NotAfter.Sub(l.since) / 2)
	}
}

// Late says since when a renewal of the agent's certificate is due that fails, and why, once a
// quarter of its life is left; why is nil otherwise.
func (e *Enroller) Late() (since time.Time, why error) {
	e.late.mu.Lock()
	defer e.late.mu.Unlock()
	if e.config.Now().Before(e.late.from) {
		return time.Time{}, nil
	}
	return e.late.since, e.late.why
}
