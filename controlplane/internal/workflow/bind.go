package workflow

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/job"
)

// transaction is the shape of a store's transaction: *store.Tx has it.
type transaction[S ServerRecords, V VolumeRecords, N SnapshotRecords, E EventRecords,
	I ServerIDRecords] interface {
	Servers() S
	Volumes() V
	Snapshots() N
	Events() E
	ServerIDs() I
}

type bound[T transaction[S, V, N, E, I], S ServerRecords, V VolumeRecords, N SnapshotRecords,
	E EventRecords, I ServerIDRecords] struct{ tx T }

// Servers keeps server records.
func (b bound[T, S, V, N, E, I]) Servers() ServerRecords { return b.tx.Servers() }

// Volumes keeps volume records.
func (b bound[T, S, V, N, E, I]) Volumes() VolumeRecords { return b.tx.Volumes() }

// Snapshots keeps snapshot records.
func (b bound[T, S, V, N, E, I]) Snapshots() SnapshotRecords { return b.tx.Snapshots() }

// Events is the audit.
func (b bound[T, S, V, N, E, I]) Events() EventRecords { return b.tx.Events() }

// ServerIDs allots server_ids.
func (b bound[T, S, V, N, E, I]) ServerIDs() ServerIDRecords { return b.tx.ServerIDs() }

// Bind sees a store's transaction as Records: Bind(tx) for a *store.Tx.
func Bind[T transaction[S, V, N, E, I], S ServerRecords, V VolumeRecords, N SnapshotRecords,
	E EventRecords, I ServerIDRecords](tx T) Records {
	return bound[T, S, V, N, E, I]{tx: tx}
}

// transactor is the shape of a store.
type transactor[T any] interface {
	Write(ctx context.Context, fn func(ctx context.Context, tx T) error) error
	Read(ctx context.Context, fn func(ctx context.Context, tx T) error) error
}

type over[T any] struct {
	store transactor[T]
	bind  func(T) Records
}

func (o over[T]) Write(ctx context.Context, fn func(ctx context.Context, rec Records) error) error {
	return o.store.Write(ctx, func(ctx context.Context, tx T) error { return fn(ctx, o.bind(tx)) })
}

func (o over[T]) Read(ctx context.Context, fn func(ctx context.Context, rec Records) error) error {
	return o.store.Read(ctx, func(ctx context.Context, tx T) error { return fn(ctx, o.bind(tx)) })
}

// Over sees a store as Store: Over(st, func(tx *store.Tx) Records { return Bind(tx) }).
func Over[T any](store transactor[T], bind func(T) Records) Store {
	return over[T]{store: store, bind: bind}
}

// Plans returns the jobs as plans for an engine on the same store.
func Plans[T any](w *Workflow, bind func(T) Records) []job.Plan[T] {
	var plans []job.Plan[T]
	for _, p := range w.plans() {
		plan := job.Plan[T]{Kind: p.kind, Title: p.title, Sections: p.sections}
		for _, s := range p.steps {
			plan.Steps = append(plan.Steps, planStep(w, s, bind))
		}
		for _, s := range p.cleanup {
			plan.Cleanup = append(plan.Cleanup, planStep(w, s, bind))
		}
		plans = append(plans, plan)
	}
	return plans
}

func planStep[T any](w *Workflow, s stepPlan, bind func(T) Records) job.PlanStep[T] {
	return job.PlanStep[T]{
		Kind: s.kind, Title: s.title, Section: s.section, Always: s.always,
		Timeout: s.timeout, AttemptTimeout: s.attempt, Attempts: s.attempts, Backoff: s.backoff,
		Handler: func(ctx context.Context, run *job.Run) (job.Outcome[T], error) {
			out, err := w.call(ctx, run, s.handle)
			if err != nil {
				return job.Fail[T](err)
			}
			return convert(out, bind)
		},
	}
}

// convert gives the engine an outcome in its own terms.
func convert[T any](out outcome, bind func(T) Records) (job.Outcome[T], error) {
	var made job.Outcome[T]
	var err error
	switch out.verdict {
	case verdictDone:
		made, err = job.Done[T](nil)
	case verdictNotNeeded:
		made, err = job.NotNeeded[T]("%s", out.reason)
	case verdictAgain:
		made, err = job.Again[T](out.after, "%s", out.reason)
	default:
		made, err = job.Back[T]("%s", out.reason)
	}
	if commit := out.commit; commit != nil {
		made = made.With(func(ctx context.Context,
			tx T) error {
			return explain(commit(ctx, bind(tx)), "")
		})
	}
	return made, err
}
