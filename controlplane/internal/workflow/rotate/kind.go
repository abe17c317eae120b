// Package rotate gets replicas new credentials for their primaries.
package rotate

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// KindRotateCredentials gets a replica a new certificate, and has it sign in with that.
const KindRotateCredentials = "rotate_credentials"

// Args are what a rotation is asked for with.
type Args struct {
	Replica string `json:"replica"`
	Primary string `json:"primary"`
	MadeBy  string `json:"made_by"` // job that made the replica
}

// stepRenew gives the replica a certificate that its account does not take yet, and stepSignIn may
// leave replication stopped.
const (
	stepRenew  = "renew"
	stepSignIn = "sign_in"
)

// Kind is rotate_credentials.
func (Args) Kind() string { return KindRotateCredentials }

// Resolve finds the primary.
func (a Args) Resolve(ctx context.Context, k *kit.Kit, _ string) (kit.Args, error) {
	var wrong errs.Fields
	wrong.Require("name", a.Replica != "", "a replica is needed")
	if err := wrong.Err(); err != nil {
		return nil, err
	}
	srv, err := k.Record(ctx, a.Replica)
	a.Primary, a.MadeBy = srv.Primary, srv.Job
	return a, err
}

// Check refuses a server that is no replica, or was never READY.
func (a Args) Check(ctx context.Context, k *kit.Kit) error {
	srv, err := k.Record(ctx, a.Replica)
	if err != nil {
		return err
	}
	return host.CheckReplica(srv)
}

// Title is what the job is for.
func (a Args) Title() string { return "rotate the credentials of " + a.Replica }

// Subjects are the replica.
func (a Args) Subjects() []string { return []string{inventory.ServerSubject(a.Replica)} }

// Uses are the replica and its primary.
func (a Args) Uses() []string {
	return []string{inventory.ServerSubject(a.Replica), inventory.ServerSubject(a.Primary)}
}

// Credentials is the kind.
func Credentials() kit.Kind {
	return kit.Kind{Name: KindRotateCredentials, Title: "rotate the credentials of a replica",
		Decode: kit.Decode[Args],
		Steps: []kit.Step{
			{Name: "check", Title: "the replica follows its primary, or is refused by it",
				Run: kit.Typed(check), DryRun: kit.DryTyped(dryCheck)},
			{Name: stepRenew, Title: "the replica's MariaDB has a new certificate",
				Run: kit.Typed(renew), DryRun: kit.WouldFor(wouldRenew),
				Attempt: 3 * time.Minute},
			{Name: stepSignIn, Title: "the replica has signed in to its primary with it",
				Run: kit.Typed(signIn), DryRun: kit.WouldFor(wouldSignIn),
				Attempt: 5 * time.Minute},
			{Name: "settle", Title: "the replica and its account have the same credentials",
				Run: kit.Typed(settle), Always: true, Timeout: 10 * time.Minute},
		}}
}

func check(ctx context.Context, c *kit.Call, a Args) (kit.Outcome, error) {
	p, err := pair(ctx, c, a)
	if err != nil {
		return kit.Outcome{}, err
	}
	return kit.DoneUnless(p.CheckSignsIn())
}

func dryCheck(ctx context.Context, c *kit.Call, _ *kit.Preview, a Args) ([]string, error) {
	p, err := pair(ctx, c, a)
	if err != nil {
		return nil, err
	}
	return nil, p.CheckSignsIn()
}

// renew gets the replica's host new certificates, once for each generation of the step.
func renew(ctx context.Context, c *kit.Call, a Args) (kit.Outcome, error) {
	p, err := pair(ctx, c, a)
	if err != nil {
		return kit.Outcome{}, err
	}
	if p.St.Certificate.Expires.IsZero() {
		return kit.NotNeeded("the agent of %s knows no certificates for replicas", a.Replica)
	}
	changed, err := p.Agent.RenewCertificates(ctx, c.FencingToken())
	if err != nil {
		return kit.Outcome{}, fmt.Errorf("cannot renew the certificates of %s: %w", a.Replica, err)
	}
	if changed {
		c.Changed("renewed the certificates of %s", a.Replica)
	}
	return kit.Done(nil)
}

func wouldRenew(_ *kit.Preview, a Args) []string {
	return []string{"renew the certificates of the agent and of MariaDB on " + a.Replica}
}

func signIn(ctx context.Context, c *kit.Call, a Args) (kit.Outcome, error) {
	p, err := pair(ctx, c, a)
	if err != nil {
		return kit.Outcome{}, err
	}
	if err := p.SignIn(ctx); err != nil {
		return kit.Outcome{}, err
	}
	how := "a certificate"
	if !p.Want.Certificate {
		how = "a new password"
	}
	c.Found("%s signed in to %s with %s", a.Replica, p.Primary.Name, how)
	return kit.Done(nil)
}

func wouldSignIn(_ *kit.Preview, a Args) []string {
	return []string{kit.Sprintf("have the account %s on %s demand the certificate of %s, and "+
		"restart the IO thread there", kit.Account(a.Replica), a.Primary, a.Replica)}
}

// settle completes a rotation that began and did not succeed: the replica may have new credentials,
// and the account demand the old ones, or the other way round.
func settle(ctx context.Context, c *kit.Call, a Args) (kit.Outcome, error) {
	j, err := c.Jobs.Get(ctx, c.JobID)
	if err != nil {
		return kit.Outcome{}, err
	}
	if !begun(j) {
		return kit.NotNeeded("nothing is half done")
	}
	p, err := pair(ctx, c, a)
	if kit.Missing(err) {
		return kit.NotNeeded("the replica is gone")
	}
	if err != nil {
		return kit.Outcome{}, err
	}
	return kit.DoneUnless(p.SignIn(ctx))
}

func begun(j job.Job) bool {
	renewed, _ := j.Step(stepRenew)
	signedIn, _ := j.Step(stepSignIn)
	return !renewed.Started.IsZero() && signedIn.State != job.StepSucceeded
}

// pair is the replica and its primary.
func pair(ctx context.Context, c *kit.Call, a Args) (*host.Pair, error) {
	h, err := host.ObserveReplica(ctx, c, a.Replica, a.MadeBy, "rotation", kit.Rotate(a.Replica))
	if err != nil {
		return nil, err
	}
	return h.Pair(ctx)
}
