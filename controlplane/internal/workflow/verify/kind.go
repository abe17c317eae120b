// Package verify compares replicas with their primaries: as a step of the job that makes a replica,
// and again later as a job of its own.
package verify

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// KindVerifyReplica compares a READY replica again.
const KindVerifyReplica = "verify_replica"

// Args are what a verification is asked for with.
type Args struct {
	Replica string                `json:"replica"`
	Primary string                `json:"primary"`
	Level   inventory.VerifyLevel `json:"level"`
	MadeBy  string                `json:"made_by"` // job that made the replica
	// AcceptHistory is why the history of the primary's binary log is right as it is now; empty for
	// a replica that follows it. History is the one that it had when that was said.
	AcceptHistory string `json:"accept_history,omitempty"`
	History       string `json:"history,omitempty"`
}

// The steps. They are one section: a comparison begins with the check that replication runs, and
// ends with it.
const (
	section    = "comparison"
	stepCheck  = "check"
	stepVerify = "verify" // stops replication for a while
	stepSettle = "settle"
)

// Kind is verify_replica.
func (Args) Kind() string { return KindVerifyReplica }

// Resolve finds the primary, and which history is accepted, and sets the default level.
func (a Args) Resolve(ctx context.Context, k *kit.Kit, _ string) (kit.Args, error) {
	var wrong errs.Fields
	wrong.Require("name", a.Replica != "", "a replica is needed")
	kit.FillLevel(&a.Level, "level", &wrong)
	wrong.Require("level", a.AcceptHistory == "" || a.Level == inventory.VerifyFull,
		"must be full to accept a history")
	wrong.Require("accept_history", a.AcceptHistory != replication.AcceptWhy,
		"must say why nothing is lost")
	if err := wrong.Err(); err != nil {
		return nil, err
	}
	srv, err := k.Record(ctx, a.Replica)
	a.Primary, a.MadeBy = srv.Primary, srv.Job
	if err == nil && a.AcceptHistory != "" && a.Primary != "" {
		a.History, err = historyNow(ctx, k, a.Primary)
	}
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
func (a Args) Title() string {
	title := "verify " + a.Replica + " to level " + strings.ToLower(string(a.Level))
	if a.AcceptHistory != "" {
		title += ", and accept the history of " + a.Primary
	}
	return title
}

// Subjects are the replica.
func (a Args) Subjects() []string { return []string{inventory.ServerSubject(a.Replica)} }

// Uses are the replica and its primary.
func (a Args) Uses() []string {
	return []string{inventory.ServerSubject(a.Replica), inventory.ServerSubject(a.Primary)}
}

// connectTime bounds how long a replica may take until its primary serves it again.
const connectTime = 3 * time.Minute

// Replica is the kind. Each step finds a server that another job made, and repairs nothing on
// it but the replication that this job itself has stopped.
func Replica() kit.Kind {
	const day = 24 * time.Hour
	return kit.Kind{Name: KindVerifyReplica, Title: "verify a replica", Decode: kit.Decode[Args],
		Steps: []kit.Step{
			{Name: stepCheck, Title: "the replica replicates from its primary", Section: section,
				Run: kit.Typed(check), DryRun: kit.DryTyped(dryCheck), Timeout: connectTime},
			{Name: stepVerify, Title: "the data was compared to the level asked for",
				Section: section, Run: kit.Typed(verify),
				DryRun: kit.WouldFor(func(_ *kit.Preview, a Args) []string {
					return []string{Describe(a.Level)}
				}), Attempt: day, Timeout: 2 * day, Attempts: 4},
			{Name: stepSettle, Title: "replication goes on", Section: section,
				Run: kit.Typed(settle), Always: true, Timeout: 5 * time.Minute},
		}}
}

// check refuses a replica that does not replicate, and waits for one that connects.
func check(ctx context.Context, c *kit.Call, a Args) (kit.Outcome, error) {
	p, err := pair(ctx, c, a)
	if err != nil {
		return kit.Outcome{}, err
	}
	if err := p.Compares(ctx, a.Level); err != nil {
		return kit.Outcome{}, err
	}
	return kit.DoneUnless(p.CheckRunning())
}

// verify compares the data and dates the result. A difference takes the date of an earlier result
// away, in a transaction of its own: a failed step commits nothing.
func verify(ctx context.Context, c *kit.Call, a Args) (kit.Outcome, error) {
	p, err := pair(ctx, c, a)
	if err != nil {
		return kit.Outcome{}, err
	}
	began := c.Now()
	verified, err := a.compare(ctx, p)
	if kit.IsReason(err, errorsv1.Reason_REASON_DATA_MISMATCH) {
		differs := c.UpdateServer(a.Replica, func(srv *inventory.Server) error {
			srv.Verified = inventory.Verification{}
			srv.DoubtData(string(replication.DataDiffers), err.Error(), verified.Level,
				c.Now())
			return nil
		}, "its data differs from the primary's: %v", err)
		return kit.Outcome{}, errors.Join(err, c.Store.Write(ctx, differs))
	}
	if err != nil {
		return kit.Outcome{}, err
	}
	recorded := c.RecordVerified(a.Replica, verified, began, inventory.MarksSeen{})
	if a.AcceptHistory != "" {
		recorded = kit.Both(recorded, a.accept(p, verified))
	}
	return kit.Done(recorded)
}

// settle starts replication that this job may have stopped and not started again: that is when its
// comparison began and did not succeed, or when an earlier settle did not get done.
func settle(ctx context.Context, c *kit.Call, a Args) (kit.Outcome, error) {
	j, err := c.Jobs.Get(ctx, c.JobID)
	if err != nil {
		return kit.Outcome{}, err
	}
	if !mayHaveStopped(j) {
		return kit.NotNeeded("replication goes on")
	}
	p, err := pair(ctx, c, a)
	if kit.Missing(err) {
		return kit.NotNeeded("the replica is gone")
	}
	if err != nil {
		return kit.Outcome{}, err
	}
	return kit.DoneUnless(p.EnsureReplicating(ctx))
}

func mayHaveStopped(j job.Job) bool {
	checked, _ := j.Step(stepCheck)
	compared, _ := j.Step(stepVerify)
	settled, _ := j.Step(stepSettle)
	earlier := settled.Started.Before(checked.Started) // it stays begun until it is done
	return earlier || !compared.Started.IsZero() && compared.State != job.StepSucceeded
}

func dryCheck(ctx context.Context, c *kit.Call, _ *kit.Preview, a Args) ([]string, error) {
	p, err := pair(ctx, c, a)
	if err != nil {
		return nil, err
	}
	if err := p.Compares(ctx, a.Level); err != nil {
		return nil, err
	}
	var connecting kit.Waiting
	if err = p.CheckRunning(); errors.As(err, &connecting) {
		return []string{"wait: " + connecting.Reason}, nil
	}
	return nil, err
}

// pair is the replica and its primary.
func pair(ctx context.Context, c *kit.Call, a Args) (*host.Pair, error) {
	h, err := host.ObserveReplica(ctx, c, a.Replica, a.MadeBy, "verification",
		errs.Call("VerifyReplica", "name", inventory.ServerSubject(a.Replica)))
	if err != nil {
		return nil, err
	}
	if a.AcceptHistory != "" {
		h.AnyHistory()
	}
	return h.Pair(ctx)
}

// Describe says what a verification to the level does.
func Describe(level inventory.VerifyLevel) string {
	const always = "compare the definitions of all objects, open every table of the replica, and "
	switch level {
	case inventory.VerifyFull:
		return always + "compare the checksums of all tables at one position, without blocking " +
			"the primary"
	case inventory.VerifySample:
		return always + "compare the checksums of some tables at one position, without blocking " +
			"the primary"
	default:
		return always + "wait until the replica has applied a position that was taken then; no " +
			"rows are compared (the levels sample and full do that)"
	}
}
