// Package replicate makes verified replicas.
package replicate

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// KindCreateReplica makes a replica.
const KindCreateReplica = "create_replica"

// Args are what a replica is asked for with.
type Args struct {
	kit.MakeArgs
	Verify inventory.VerifyLevel `json:"verify,omitempty"`
}

// Kind is create_replica.
func (Args) Kind() string { return KindCreateReplica }

// Resolve sets defaults. A replica from a snapshot follows the snapshot's server, or the primary of
// that when it is a replica itself.
func (a Args) Resolve(ctx context.Context, k *kit.Kit, requestID string) (kit.Args, error) {
	var wrong errs.Fields
	if a.Given = a.Snapshot != ""; a.Given {
		primary, err := k.Follows(ctx, a.Snapshot)
		if err != nil {
			return nil, err
		}
		a.Source = cmp.Or(a.Source, primary)
		wrong.Require("quiesce_limit", a.QuiesceLimit == 0,
			"is for a new snapshot, and the one to use is taken")
	} else {
		a.Snapshot = kit.SnapshotID(requestID)
		a.SnapshotArgs.Fill(&wrong)
	}
	a.ServerArgs.Fill()
	kit.FillLevel(&a.Verify, "verify", &wrong)
	wrong.Require("primary", a.Source != "", "a primary or a snapshot is needed")
	wrong.Require("name", a.Server != a.Source, "a server cannot be its own replica")
	return a, wrong.Err()
}

// Check refuses a name that is taken, and a primary that is not there.
func (a Args) Check(ctx context.Context, k *kit.Kit) error {
	if err := k.NameFree(ctx, a.Server); err != nil {
		return err
	}
	return k.Exists(ctx, a.Source)
}

// Title is what the job is for.
func (a Args) Title() string {
	from := "a new snapshot"
	if a.Given {
		from = "snapshot " + a.Snapshot
	}
	return kit.Sprintf("make %s a replica of %s from %s", a.Server, a.Source, from)
}

// Subjects are the server.
func (a Args) Subjects() []string { return []string{inventory.ServerSubject(a.Server)} }

// Compare compares a replica to a level; a difference is an error.
type Compare func(ctx context.Context, p *host.Pair,
	level inventory.VerifyLevel) (inventory.Verification, error)

// Parts are what other families do for a replica.
type Parts struct {
	Sections     map[string]job.Section
	Snapshot     []kit.Step // take a snapshot, unless one was given
	DropSnapshot func(context.Context, *kit.Call, kit.SnapshotArgs) (kit.Commit, error)
	Machine      []kit.Step // make a host
	// Swap gives it a volume from the snapshot; the title says in whose place.
	Swap         func(title string) kit.Step
	Copy         []kit.Step // make MariaDB serve from it
	DropReplaced func(context.Context, *kit.Call, kit.MakeArgs) (kit.Commit, error)
	// DropAbandoned deletes the volumes that the job made in vain.
	DropAbandoned func(context.Context, *kit.Call, kit.MakeArgs) (kit.Commit, error)
	Compare       Compare
	WouldCompare  func(inventory.VerifyLevel) string
	Cleanup       []kit.Step // remove the server and its snapshot
	RemoveRest    kit.Remover
}

const day = 24 * time.Hour // of steps that depend on how much data there is

// CreateReplica is the kind.
func CreateReplica(parts Parts) kit.Kind {
	plan := kit.Step{Name: "plan", Title: "the request can be met; the server_id is allocated",
		Run: run((*step).plan), DryRun: kit.DryTyped(dryPlan)}
	steps := slices.Concat([]kit.Step{plan}, parts.Snapshot, parts.Machine,
		[]kit.Step{parts.Swap("the image's default data volume is gone, a volume from the " +
			"snapshot is attached")}, parts.Copy, replicaSteps(parts),
		[]kit.Step{settleStep(settle(parts))})
	return kit.Kind{Name: KindCreateReplica, Title: "make a verified replica",
		Decode: kit.Decode[Args], Steps: steps, Cleanup: parts.Cleanup,
		Sections: parts.Sections}
}

// replicaSteps make a verified replica of a MariaDB that serves from a copy.
func replicaSteps(parts Parts) []kit.Step {
	return []kit.Step{
		{Name: "prepare_replica",
			Title: "nothing of the source's replication is left; the replica has its account",
			Run:   onPair((*step).prepare), DryRun: would(wouldPrepare)},
		{Name: "configure_replica",
			Title: "the connection to the primary is set up: GTID, TLS",
			Run:   onPair((*step).configure), DryRun: would(wouldConfigure),
			Attempt: 10 * time.Minute},
		{Name: "start_replica", Title: "both replication threads run",
			Run:     onPair((*step).start),
			DryRun:  kit.Would("start both threads"),
			Attempt: 3 * time.Minute, Timeout: 15 * time.Minute},
		{Name: "catch_up",
			Title: "a target position, taken on the primary after replication started, is " +
				"applied", Run: onPair((*step).catchUp), DryRun: would(wouldCatchUp),
			Attempt: day, Timeout: 2 * day, Attempts: 10},
		{Name: "verify", Title: "the data was compared to the level asked for",
			Run: verify(parts), DryRun: wouldVerify(parts),
			Attempt: day, Timeout: 2 * day, Attempts: 4},
		{Name: "finish",
			Title: "replication starts by itself, all invariants hold, the replica is READY",
			Run:   onPair((*step).finish), DryRun: would(wouldFinish),
			Attempt: 5 * time.Minute, Proves: true},
	}
}

// Reconnect are the steps of the job that made a replica which give its account a new password, set
// its connection up with it and start its threads.
func Reconnect(jobID string) []errs.Action {
	return []errs.Action{kit.RetryStep(jobID, "configure_replica"),
		kit.RetryStep(jobID, "start_replica")}
}

func settleStep(h kit.Handler) kit.Step {
	return kit.Step{Name: "settle", Title: "nothing of this job holds the source up any more",
		Run: h, Always: true, Timeout: 5 * time.Minute}
}

// step is one call of a step of this family.
type step struct {
	*kit.Call
	args Args
}

// forReplica are the arguments of a job that makes a replica, or makes one again.
type forReplica interface{ forReplica() Args }

func (a Args) forReplica() Args { return a }

func run(h func(*step, context.Context) (kit.Outcome, error)) kit.Handler {
	return kit.Typed(func(ctx context.Context, c *kit.Call, args forReplica) (kit.Outcome, error) {
		return h(&step{Call: c, args: args.forReplica()}, ctx)
	})
}

// would is the dry run of a step that says what it would change.
func would(say func(p *kit.Preview, args Args) []string) kit.DryRun {
	return kit.WouldFor(func(p *kit.Preview, args forReplica) []string {
		return say(p, args.forReplica())
	})
}

// onPair is run for a step that works on the replica, up and serving, and its primary.
func onPair(h func(*step, context.Context, *host.Pair) (kit.Outcome, error)) kit.Handler {
	return run(func(s *step, ctx context.Context) (kit.Outcome, error) {
		replica, err := host.Open(ctx, s.Call, s.args.MakeArgs)
		if err != nil {
			return kit.Outcome{}, err
		}
		p, err := replica.Pair(ctx)
		if err != nil {
			return kit.Outcome{}, err
		}
		return h(s, ctx, p)
	})
}

// verify compares the data to the level asked for.
func verify(parts Parts) kit.Handler {
	return onPair(func(s *step, ctx context.Context, p *host.Pair) (kit.Outcome, error) {
		began := s.Now()
		noted, err := p.Agent.Marks(ctx)
		if err != nil {
			return kit.Outcome{}, err
		}
		verified, err := parts.Compare(ctx, p, s.args.Verify)
		if err != nil {
			return kit.Outcome{}, err
		}
		return kit.Done(s.RecordVerified(s.args.Server, verified, began,
			inventory.MarksSeen{Record: noted.Record, Number: noted.Last}))
	})
}

func wouldVerify(parts Parts) kit.DryRun {
	return would(func(_ *kit.Preview, a Args) []string {
		return []string{parts.WouldCompare(a.Verify)}
	})
}

func wouldPrepare(_ *kit.Preview, a Args) []string {
	return []string{kit.Sprintf("make the account %s on %s and set the position",
		kit.Account(a.Server), a.Source)}
}

func wouldConfigure(p *kit.Preview, a Args) []string {
	return []string{kit.Sprintf("point %s to %s:%d, by GTID over TLS", a.Server, p.Source.Address,
		p.Source.Port)}
}

func wouldCatchUp(_ *kit.Preview, a Args) []string {
	return []string{"commit one row on " + a.Source + " as a target position, and wait until " +
		a.Server + " has it"}
}

func wouldFinish(_ *kit.Preview, a Args) []string {
	return []string{"let replication start with MariaDB, give up the reservation, record " +
		a.Server + " as READY"}
}
