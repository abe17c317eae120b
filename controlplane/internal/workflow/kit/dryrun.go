package kit

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Request is what a user wants done.
type Request struct {
	Args      Args
	RequestID string // idempotency key; minted when empty
	Who       string
}

// Repeat is the engine's request for what was asked for before under the same id. It makes no job.
func (r Request) Repeat() job.Request {
	return job.Request{Kind: r.Args.Kind(), RequestID: r.RequestID, Asked: r.Args, Who: r.Who}
}

// Resolve makes the engine's request: it fills in what was left out and refuses what can never work
// (errs.InvalidArgument with the fields, errs.NotFound).
func (k *Kit) Resolve(ctx context.Context, req Request) (Args, job.Request, error) {
	if req.RequestID == "" {
		req.RequestID = uuid.NewString()
	}
	args, err := req.Args.Resolve(ctx, k, req.RequestID)
	if err != nil {
		return nil, job.Request{}, err
	}
	return args, job.Request{Kind: args.Kind(), Title: args.Title(), Args: args,
		Subjects: args.Subjects(), RequestID: req.RequestID, Asked: req.Args, Who: req.Who}, nil
}

// Preview is what a dry run has observed so far, for the steps that come later.
type Preview struct {
	Source   *Node
	Snapshot inventory.Snapshot
	Volume   inventory.Volume // of the source
	Image    provider.Image
}

// CopiedVersion is of the MariaDB that wrote the datadir which the replica gets: the snapshot's, or
// that of the source of one to be taken.
func CopiedVersion(snap inventory.Snapshot, source *Node) string {
	return cmp.Or(snap.Point.ServerVersion, source.Status.ServerVersion,
		source.Status.BinaryVersion)
}

// skipped is the error of a step that would not be needed.
type skipped struct{ reason string }

func (s skipped) Error() string { return s.reason }

// Skip says in a dry run that the step would not be needed.
func Skip(format string, args ...any) error { return skipped{Sprintf(format, args...)} }

// Would is the dry run of a step that observes nothing: it says what the step would change.
func Would(texts ...string) DryRun {
	return func(context.Context, *Call, *Preview) ([]string, error) { return texts, nil }
}

// WouldFor is the dry run of a step that says what it would change from what was observed before.
func WouldFor[A any](say func(p *Preview, args A) []string) DryRun {
	return DryTyped(func(_ context.Context, _ *Call, p *Preview, args A) ([]string, error) {
		return say(p, args), nil
	})
}

// DryTyped makes a dry run of one that takes its job's arguments as A; see Typed.
func DryTyped[A any](run func(ctx context.Context, c *Call, p *Preview, args A) ([]string, error),
) DryRun {
	return func(ctx context.Context, c *Call, p *Preview) ([]string, error) {
		return run(ctx, c, p, c.Args.(A))
	}
}

// DryRun says what the job that is asked for would find and do, as a job without an id whose steps
// have what was found and what would be changed. It observes the provider, the records and the
// source's agent, refuses what the job would refuse, and changes nothing.
func (k *Kit) DryRun(ctx context.Context, req Request) (job.Job, error) {
	args, made, err := k.Resolve(ctx, req)
	if err != nil {
		return job.Job{}, err
	}
	if err := args.Check(ctx, k); err != nil {
		return job.Job{}, err
	}
	raw, err := json.Marshal(args)
	if err != nil {
		return job.Job{}, fmt.Errorf("cannot encode the arguments: %w", err)
	}
	planned := job.Job{Kind: made.Kind, Title: made.Title, Args: raw, Subjects: made.Subjects,
		Who: made.Who, RequestID: made.RequestID}
	c := k.newCall(&job.Run{JobKind: made.Kind}, args)
	preview := &Preview{}
	for i, s := range k.kinds[made.Kind].Steps {
		step, err := c.dryStep(ctx, s, preview)
		if err != nil {
			return job.Job{}, err
		}
		step.Seq = i
		planned.Steps = append(planned.Steps, step)
	}
	return planned, nil
}

func (c *Call) dryStep(ctx context.Context, s Step, p *Preview) (job.Step, error) {
	step := job.Step{Kind: s.Name, Title: s.Title, Section: s.Section, Always: s.Always,
		State: job.StepPending}
	if s.DryRun == nil {
		return step, nil
	}
	c.dry = &lines{}
	would, err := s.DryRun(ctx, c, p)
	var skip skipped
	if errors.As(err, &skip) {
		step.State, step.Reason = job.StepSkipped, skip.reason
		return step, nil
	}
	step.Found, step.Changed = c.dry.found, would
	return step, err
}

// PlanCleanup is the job with the steps of its cleanup, and what each would remove. It refuses a
// job that has nothing to clean up.
func (k *Kit) PlanCleanup(ctx context.Context, id string) (job.Job, error) {
	j, err := k.Jobs.Get(ctx, id)
	if err != nil {
		return job.Job{}, err
	}
	kind := k.kinds[j.Kind]
	rests := j.State.Ended() || j.State == job.ActionRequired
	if !rests || j.State == job.Succeeded || len(kind.Cleanup) == 0 {
		return job.Job{}, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_JOB_WRONG_STATE,
			fmt.Sprintf("cannot clean job %s up: it is %s", id, j.State),
			errs.WithHint("cancel it first, or delete what it made",
				errs.Call("CancelJob", "name", "jobs/"+id)))
	}
	args, err := kind.Decode(j.Args)
	if err != nil {
		return job.Job{}, err
	}
	c := k.newCall(&job.Run{JobID: j.ID, JobKind: j.Kind}, args)
	preview := &Preview{}
	for _, s := range kind.Cleanup {
		if _, there := j.Step(s.Name); there {
			continue
		}
		step, err := c.dryStep(ctx, s, preview)
		if err != nil {
			return job.Job{}, err
		}
		step.Phase = job.CleanupPhase
		j.Steps = append(j.Steps, step)
	}
	return j, nil
}
