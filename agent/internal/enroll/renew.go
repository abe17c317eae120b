package enroll

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	controlplanev1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const (
	// lookAgain bounds each wait, since timers stand still while a machine is suspended and clocks
	// are set.
	lookAgain = time.Hour
	// renewFirst and renewMax bound the wait after a renewal that failed.
	renewFirst = time.Second
	renewMax   = 5 * time.Minute
	// settle is the least time between two renewals, whatever the clocks say.
	settle = time.Minute
	// tellAgain is the wait after the hook failed.
	tellAgain = 10 * time.Second
)

// Run renews the agent's certificate when half of its life is over, and MariaDB's with it when half
// of its own is, until ctx ends. A renewal that fails is tried again; meanwhile the agent continues
// with what it has. A join file that turns up is used. The hook is called at the start too: an
// agent that was killed may not have called it.
func (e *Enroller) Run(ctx context.Context) error {
	e.pending.Store(true)
	k := keeper{Enroller: e, delay: renewFirst}
	for pause(ctx, k.look(ctx), nil) {
	}
	return nil
}

// keeper is what Run remembers from one look to the next.
type keeper struct {
	*Enroller
	delay time.Duration // before the next try of a renewal that failed
}

// look does what is due and says how long to wait before the next look.
func (k *keeper) look(ctx context.Context) time.Duration {
	if _, err := os.Stat(k.config.JoinFile); err == nil {
		if _, err := k.Ensure(ctx); err != nil && ctx.Err() == nil {
			k.config.Logger.Error("cannot use the join file", "error", err, "hint",
				errs.HintOf(err).String())
		}
	}
	wait := k.untilDue()
	if wait == 0 {
		wait = k.tryRenew(ctx)
	}
	if k.notify(ctx); k.pending.Load() {
		wait = min(wait, tellAgain)
	}
	return max(wait, renewFirst)
}

func (k *keeper) tryRenew(ctx context.Context) time.Duration {
	err := k.renewDue(ctx)
	k.late.note(k.slots.current(), err)
	if err == nil {
		k.delay = renewFirst
		return settle
	}
	if ctx.Err() == nil {
		k.config.Logger.Error("cannot renew the identity yet", "error", err, "hint",
			errs.HintOf(err).String())
	}
	wait := k.delay
	k.delay = min(2*k.delay, renewMax)
	return wait
}

// untilDue is how long to wait before looking again; 0 when it is time to renew.
func (e *Enroller) untilDue() time.Duration {
	now := e.config.Now()
	have, err := e.slots.current().load(now)
	if err != nil || have.mariadbIsDue(now) {
		return 0
	}
	left := min(renewTime(have.cert).Sub(now), identity.RenewTime(have.mariadb).Sub(now))
	return max(0, min(left, lookAgain))
}

// renewTime is when half of the life is over, a little earlier for some, so that a fleet does not
// come all at once.
func renewTime(cert *x509.Certificate) time.Time {
	half := cert.NotAfter.Sub(identity.RenewTime(cert))
	return identity.RenewTime(cert).Add(-rand.N(half/10 + 1))
}

// renewal says what a renewal renews beside the agent's certificate.
type renewal struct {
	// key is that of the request that it is for; it gives MariaDB's certificate another generation.
	key string
	// mariadb renews MariaDB's certificate too.
	mariadb bool
}

// renewDue renews the agent's certificate, and MariaDB's when half of its life is over.
func (e *Enroller) renewDue(ctx context.Context) error {
	if err := e.beginRenewing(ctx); err != nil {
		return fmt.Errorf("cannot renew the identity: %w", err)
	}
	defer e.endRenewing()
	return e.renewNow(ctx, renewal{})
}

// Renew gets new certificates for new keys now, over the identity in use, and puts them to use. Run
// tells the hook.
func (e *Enroller) Renew(ctx context.Context) error {
	if err := e.beginRenewing(ctx); err != nil {
		return fmt.Errorf("cannot renew the identity: %w", err)
	}
	defer e.endRenewing()
	return e.renewNow(ctx, renewal{mariadb: true})
}

// RenewFor is Renew for a request that may come again: the same key renews once, and gives
// MariaDB's certificate another generation. The hook has taken the certificates when it returns. An
// empty key renews each time, and keeps the generation.
func (e *Enroller) RenewFor(ctx context.Context, key string) (changed bool, until time.Time,
	err error) {
	if err := e.beginRenewing(ctx); err != nil {
		return false, until, fmt.Errorf("cannot renew the identity: %w", err)
	}
	defer e.endRenewing()
	have, err := e.slots.current().meta()
	if err != nil {
		return false, until, e.noIdentity(ctx, err, nil)
	}
	if changed = key == "" || have.Renewal != key; changed {
		if err := e.renewNow(ctx, renewal{key: key, mariadb: true}); err != nil {
			return false, until, err
		}
	}
	// Also for a repeat: the agent may have been killed between the two.
	if err := e.config.Changed(ctx); err != nil {
		return changed, until, fmt.Errorf("cannot pass the new certificates on: %w", err)
	}
	_, until, err = e.Current()
	return changed, until, err
}

// beginRenewing waits until nothing else makes a new identity, or ctx ends.
func (e *Enroller) beginRenewing(ctx context.Context) error {
	select {
	case e.renewing <- struct{}{}: // where it is free the call ends where it always did
		return nil
	default:
	}
	select {
	case e.renewing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("another renewal or enrolment goes on: %w", ctx.Err())
	}
}

func (e *Enroller) endRenewing() { <-e.renewing }

func (e *Enroller) renewNow(ctx context.Context, what renewal) error {
	have, revived, err := e.revive(ctx)
	if err != nil {
		return e.noIdentity(ctx, err, nil)
	}
	what.mariadb = what.mariadb || have.mariadbIsDue(e.config.Now())
	if revived && !what.mariadb {
		return nil
	}
	if err := e.renew(ctx, have, what); err != nil {
		if _, pin, own := e.ControlPlane(); own == nil && !final(err) {
			err = cmp.Or(e.checkClock(ctx, have.ControlPlane, pin), err)
		}
		return fmt.Errorf("cannot renew the identity of %s: %w", have.Server, err)
	}
	e.pending.Store(true)
	e.config.Logger.Info("renewed the identity", "server", have.Server, "mariadb", what.mariadb)
	return nil
}

func (e *Enroller) renew(ctx context.Context, have loaded, what renewal) error {
	next := have.meta
	if what.mariadb {
		next.Renewal = what.key
	}
	next.Purpose = renewalOf(have.cert)
	s, err := e.slots.prepare(next)
	if err != nil {
		return err
	}
	source, err := identity.NewFiles(e.Files())
	if err != nil {
		return err
	}
	agent, mariadb, err := s.requests()
	if err != nil {
		return err
	}
	if !what.mariadb {
		mariadb = nil
	}
	generation := identity.NewGeneration()
	if what.key == "" {
		// What the account on the primary demands is changed by who rotates alone.
		generation = e.slots.current().generation()
	}
	answer, err := ask(ctx, have.ControlPlane, source,
		func(ctx context.Context, c controlplanev1.EnrollmentServiceClient,
		) (*controlplanev1.RenewResponse, error) {
			return c.Renew(ctx,
				&controlplanev1.RenewRequest{AgentCsr: agent, MariadbCsr: mariadb,
					MariadbGeneration: generation, TakesChain: true})
		})
	if err != nil {
		return err
	}
	if !what.mariadb && e.leaves(answer.GetCertificates().GetCaPem()) {
		what.mariadb = true
		return e.renew(ctx, have, what)
	}
	if !what.mariadb {
		if err := e.slots.current().copyMariaDB(s); err != nil {
			return err
		}
	}
	if err := e.keep(s, have.Server, answer.GetCertificates(), what.mariadb); err != nil {
		return err
	}
	return e.use(s)
}

// leaves says whether the roots are no longer those that MariaDB's certificate is of.
func (e *Enroller) leaves(bundle []byte) bool {
	files := e.MariaDBFiles()
	cert, err := os.ReadFile(files.Cert)
	if err != nil {
		return false
	}
	_, err = verify(cert, bundle, files.Key, e.config.Now(), identity.Identity{})
	return isForeign(err)
}

// renewalOf is what the keys of the identity are for that follows the one with that certificate.
func renewalOf(cert *x509.Certificate) string { return "renew:" + identity.Serial(cert) }
