// Package snapshot takes consistent snapshots: as a job of its own, and as steps of a replica's.
package snapshot

import (
	"context"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// KindTakeSnapshot takes a snapshot of a server.
const KindTakeSnapshot = "take_snapshot"

// Args are what a snapshot is asked for with.
type Args struct{ kit.SnapshotArgs }

// Kind is take_snapshot.
func (Args) Kind() string { return KindTakeSnapshot }

// Resolve sets defaults and the snapshot's id.
func (a Args) Resolve(_ context.Context, _ *kit.Kit, requestID string) (kit.Args, error) {
	a.Snapshot = kit.SnapshotID(requestID)
	var wrong errs.Fields
	wrong.Require("server", a.Source != "", "a server is needed")
	a.Fill(&wrong)
	return a, wrong.Err()
}

// Check refuses a server that is not there.
func (a Args) Check(ctx context.Context, k *kit.Kit) error { return k.Exists(ctx, a.Source) }

// Title is what the job is for.
func (a Args) Title() string { return "take a snapshot of " + a.Source }

// Subjects are the snapshot, and that no other one is taken of the server.
func (a Args) Subjects() []string {
	return []string{inventory.SnapshotSubject(a.Snapshot), inventory.SnapshottingSubject(a.Source)}
}

// section starts over together: what was taken under a quiesce that was not proved is no snapshot.
const section = "quiesce"

// Sections limit how often a snapshot is tried again.
func Sections() map[string]job.Section {
	return map[string]job.Section{section: {Attempts: 4}}
}

// TakeSnapshot is the kind; cleanup are the steps that remove a snapshot.
func TakeSnapshot(cleanup []kit.Step) kit.Kind {
	return kit.Kind{
		Name: KindTakeSnapshot, Title: "take a consistent snapshot", Decode: kit.Decode[Args],
		Sections: Sections(), Cleanup: cleanup,
		Steps: append(Steps(), kit.Step{Name: "settle",
			Title: "nothing of this job holds the source up any more", Run: run((*step).settle),
			Always: true, Timeout: 5 * time.Minute}),
	}
}

// Steps take a snapshot, unless the job's arguments give one.
func Steps() []kit.Step {
	return []kit.Step{
		{Name: "check_primary",
			Title: "the source can be copied: it answers, has its binary log on and one data " +
				"volume", Run: run((*step).checkPrimary), DryRun: dryRun((*step).wouldCheck)},
		{Name: "reserve_binlogs", Title: "binary logs from here on are kept",
			Run: run((*step).reserveBinlogs), DryRun: dryRun((*step).wouldReserve)},
		{Name: "quiesce", Title: "a consistent point is held: commits blocked, filesystem frozen",
			Run: run((*step).quiesce), DryRun: dryRun((*step).wouldQuiesce), Section: section,
			// long: it waits, holding nothing, for room at the provider
			Timeout: 3 * time.Hour, Attempt: 12 * time.Minute, Attempts: 4,
			Backoff: job.Backoff{First: 2 * time.Second, Max: 10 * time.Second}},
		{Name: "snapshot", Title: "the provider has begun the snapshot", Run: run((*step).take),
			DryRun: dryRun((*step).wouldTake), Section: section,
			Timeout: 5 * time.Minute, Attempt: 30 * time.Second,
			OperatorTimeout: kit.MaxOfflineLimit + time.Hour,
			Backoff:         job.Backoff{First: 50 * time.Millisecond, Max: time.Second}},
		{Name: "resume",
			Title: "the point was held until after the snapshot began, and the source takes " +
				"writes again", Run: run((*step).resume), DryRun: dryRun((*step).wouldResume),
			Section: section, Always: true, Timeout: 15 * time.Minute, Attempt: 7 * time.Minute},
		// Of the section too: when the job ends before, what was taken is deleted, so a retry has
		// to quiesce and take it again.
		{Name: "await_ready", Title: "the provider has completed the snapshot",
			Run: run((*step).awaitReady), DryRun: dryRun((*step).wouldAwait), Section: section,
			Timeout: 24 * time.Hour},
	}
}

// step is one call of a step of this family.
type step struct {
	*kit.Call
	args kit.SnapshotArgs
}

// run skips a step when the request brought a snapshot.
func run(h func(*step, context.Context) (kit.Outcome, error)) kit.Handler {
	return kit.Typed(func(ctx context.Context, c *kit.Call,
		args kit.ForSnapshot) (kit.Outcome, error) {
		s := &step{Call: c, args: args.ForSnapshot()}
		if s.args.Given {
			return kit.NotNeeded("snapshot %s was given", s.args.Snapshot)
		}
		return h(s, ctx)
	})
}

func (s *step) snapshot(ctx context.Context) (inventory.Snapshot, error) {
	return s.Snapshot(ctx, s.args.Snapshot)
}

func (s *step) update(change func(snap *inventory.Snapshot) error, format string,
	args ...any) kit.Commit {
	return s.UpdateSnapshot(s.args.Snapshot, change, format, args...)
}

type dry func(s *step, ctx context.Context, p *kit.Preview) ([]string, error)

func dryRun(say dry) kit.DryRun {
	return kit.DryTyped(func(ctx context.Context, c *kit.Call, p *kit.Preview,
		args kit.ForSnapshot) ([]string, error) {
		s := &step{Call: c, args: args.ForSnapshot()}
		if s.args.Given {
			return nil, kit.Skip("snapshot %s was given", s.args.Snapshot)
		}
		return say(s, ctx, p)
	})
}

func (s *step) wouldCheck(ctx context.Context, p *kit.Preview) (_ []string, err error) {
	if p.Source == nil {
		if p.Source, err = s.Serving(ctx, s.args.Source); err != nil {
			return nil, err
		}
	}
	p.Volume, err = s.checkSource(ctx, p.Source)
	return nil, err
}

func (s *step) wouldReserve(context.Context, *kit.Preview) ([]string, error) {
	return []string{kit.Sprintf("keep the binary logs of %s for %s", s.args.Source,
		s.args.Reserve)}, nil
}

func (s *step) wouldQuiesce(context.Context, *kit.Preview) ([]string, error) {
	return []string{kit.Sprintf("%s: hold a consistent point on %s for at most %s", s.args.Mode,
		s.args.Source, s.args.QuiesceLimit)}, nil
}

func (s *step) wouldTake(_ context.Context, p *kit.Preview) ([]string, error) {
	return []string{kit.Sprintf("snapshot volume %s, %s", p.Volume.ProviderID,
		kit.Size(p.Volume.SizeBytes))}, nil
}

func (s *step) wouldResume(context.Context, *kit.Preview) ([]string, error) {
	return []string{"resume " + s.args.Source + " and prove that it takes writes"}, nil
}

func (s *step) wouldAwait(context.Context, *kit.Preview) ([]string, error) { return nil, nil }
