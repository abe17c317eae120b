package workflow

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Ask is what somebody wants done: a kind of job and its arguments, as far as they gave them.
type Ask struct {
	Kind      string
	Args      Args
	RequestID string // idempotency key; minted when empty
	Who       string
}

// Request makes the engine's request from an ask: it fills in what was left out and refuses what
// can never work (errs.InvalidArgument with the fields, errs.NotFound). A repeat of the ask under
// the same request id makes the same request, whatever has happened meanwhile.
func (w *Workflow) Request(ctx context.Context, ask Ask) (job.Request, error) {
	ask.RequestID = mintRequest(ask.RequestID)
	args, err := w.resolve(ctx, ask)
	if err != nil {
		return job.Request{}, err
	}
	if args, err = args.withDefaults(ask.Kind); err != nil {
		return job.Request{}, err
	}
	title, subjects := describe(ask.Kind, args)
	if title == "" {
		return job.Request{}, errs.New(errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD,
			"there are no jobs of kind "+ask.Kind,
			errs.WithHint("ask for one of the jobs of docs/jobs.md"))
	}
	return job.Request{Kind: ask.Kind, Title: title, Args: args, Subjects: subjects,
		RequestID: ask.RequestID, Who: ask.Who}, nil
}

// resolve fills in what follows from the records: the source of a snapshot, the id of a new one.
func (w *Workflow) resolve(ctx context.Context, ask Ask) (Args, error) {
	a := ask.Args
	switch ask.Kind {
	case KindTakeSnapshot:
		a.Snapshot = snapshotID(ask.RequestID)
	case KindCreateReplica:
		if a.TakeSnapshot = a.Snapshot == ""; a.TakeSnapshot {
			a.Snapshot = snapshotID(ask.RequestID)
			return a, nil
		}
		return w.resolveSource(ctx, a)
	case KindDeleteServer:
		return w.resolveMaker(ctx, a)
	case KindDeleteSnapshot:
		return w.resolveSource(ctx, a)
	}
	return a, nil
}

// resolveMaker finds which of the servers that had the name it is.
func (w *Workflow) resolveMaker(ctx context.Context, a Args) (Args, error) {
	err := w.Store.Read(ctx, func(ctx context.Context, rec Records) error {
		srv, err := rec.Servers().Get(ctx, a.Server)
		a.MadeBy = srv.Job
		return err
	})
	return a, err
}

// resolveSource finds whose snapshot it is; of a replica's, its primary is followed.
func (w *Workflow) resolveSource(ctx context.Context, a Args) (Args, error) {
	err := w.Store.Read(ctx, func(ctx context.Context, rec Records) error {
		snap, err := rec.Snapshots().Get(ctx, a.Snapshot)
		if err != nil || a.Source != "" {
			return err
		}
		a.Source = snap.Server
		if snap.Testimony.Role != inventory.RoleReplica || a.Server == "" {
			return nil
		}
		source, err := rec.Servers().Get(ctx, snap.Server)
		a.Source = source.Primary
		return err
	})
	return a, err
}

// describe says what a job is for, and what it locks. The first subject in order is what the job is
// about.
func describe(kind string, a Args) (title string, subjects []string) {
	switch kind {
	case KindCreatePrimary:
		return "make the primary " + a.Server, []string{inventory.ServerSubject(a.Server)}
	case KindCreateReplica:
		from := "snapshot " + a.Snapshot
		if a.TakeSnapshot {
			from = "a new snapshot"
		}
		return fmt.Sprintf("make %s a replica of %s from %s", a.Server, a.Source, from),
			[]string{inventory.ServerSubject(a.Server)}
	case KindTakeSnapshot:
		return "take a snapshot of " + a.Source, []string{inventory.SnapshotSubject(a.Snapshot),
			"snapshotting/" + a.Source}
	case KindDeleteServer:
		return "take " + a.Server + " away", []string{inventory.ServerSubject(a.Server)}
	case KindDeleteSnapshot:
		return "delete snapshot " + a.Snapshot, []string{inventory.SnapshotSubject(a.Snapshot)}
	}
	return "", nil
}

// ArgsOf reads what a job was asked for.
func ArgsOf(j job.Job) (a Args, err error) {
	if err := json.Unmarshal(j.Args, &a); err != nil {
		return a, fmt.Errorf("cannot read the arguments of job %s: %w", j.ID, err)
	}
	return a, nil
}

// Preflight refuses a request that cannot be met as things stand, so that its caller hears it at
// once. Call it only for a request that has no job yet. It changes nothing; the job's own steps
// look again.
func (w *Workflow) Preflight(ctx context.Context, req job.Request) error {
	a, ok := req.Args.(Args)
	if !ok {
		return fmt.Errorf("preflight of a %s job: arguments of type %T", req.Kind, req.Args)
	}
	switch req.Kind {
	case KindCreatePrimary, KindCreateReplica:
		return w.nameFree(ctx, a)
	case KindDeleteServer:
		return w.deletable(ctx, a)
	case KindDeleteSnapshot:
		return w.snapshotDeletable(ctx, a)
	default:
		return w.exists(ctx, a.Source)
	}
}

func (w *Workflow) nameFree(ctx context.Context, a Args) error {
	return w.Store.Read(ctx, func(ctx context.Context, rec Records) error {
		srv, err := rec.Servers().Get(ctx, a.Server)
		if err == nil && srv.State != inventory.ServerDeleted {
			return taken(a.Server)
		}
		if err != nil && !missing(err) {
			return err
		}
		if a.Source == "" {
			return nil
		}
		_, err = rec.Servers().Get(ctx, a.Source)
		return err
	})
}

func taken(name string) error {
	return inventory.Refuse(inventory.ErrExists, inventory.TakenName,
		"use another name; that of a server is free again once it is deleted",
		"there is a server %s already", name)
}

func (w *Workflow) exists(ctx context.Context, server string) error {
	return w.Store.Read(ctx, func(ctx context.Context, rec Records) error {
		_, err := rec.Servers().Get(ctx, server)
		return err
	})
}

func (w *Workflow) deletable(ctx context.Context, a Args) error {
	err := w.Store.Read(ctx, func(ctx context.Context, rec Records) error {
		srv, err := rec.Servers().Get(ctx, a.Server)
		if err != nil {
			return err
		}
		if srv.State == inventory.ServerDeleted {
			return inventory.Refuse(inventory.ErrNotFound, inventory.MissingRecord,
				"nothing is left to do; `understudy server list` shows which there are",
				"server %s was deleted", srv.Name)
		}
		if a.Etag != "" && a.Etag != srv.Etag() {
			return errs.New(errs.Aborted, errorsv1.Reason_REASON_ETAG_MISMATCH,
				srv.Name+" changed since it was read", errs.WithHint("read it again and decide anew"))
		}
		return noReplicas(ctx, rec, srv.Name)
	})
	if err != nil {
		return err
	}
	return w.freeToDelete(ctx, a.Server)
}

func (w *Workflow) snapshotDeletable(ctx context.Context, a Args) error {
	err := w.Store.Read(ctx, func(ctx context.Context, rec Records) error {
		snap, err := rec.Snapshots().Get(ctx, a.Snapshot)
		if err != nil {
			return err
		}
		if a.Etag != "" && a.Etag != snap.Etag() {
			return errs.New(errs.Aborted, errorsv1.Reason_REASON_ETAG_MISMATCH,
				"snapshot "+snap.ID+" changed since it was read",
				errs.WithHint("read it again and decide anew"))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return w.snapshotUnused(ctx, a.Snapshot)
}
