package workflow

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// step is one call of a handler with all that it works with.
type step struct {
	*job.Run
	w    *Workflow
	args Args
	dry  *lines // of a plan that runs nothing; nil for a real call
}

// lines are what a plan has to say about a step.
type lines struct{ found []string }

// Found tells people what the step found.
func (s *step) Found(format string, args ...any) {
	if s.dry != nil {
		s.dry.found = append(s.dry.found, sprintf(format, args...))
		return
	}
	s.Run.Found(format, args...)
}

type handler func(s *step, ctx context.Context) (outcome, error)

// call runs a handler and turns its error into what the engine understands: a wait, a failure, or
// the end.
func (w *Workflow) call(ctx context.Context, run *job.Run, h handler) (outcome, error) {
	s := &step{Run: run, w: w}
	if err := run.ReadArgs(&s.args); err != nil {
		return outcome{}, err
	}
	out, err := h(s, ctx)
	if err == nil || ctx.Err() != nil {
		return out, err
	}
	if after, ok := pause(err); ok {
		if gone := s.whyAway(ctx, err); gone != nil {
			return outcome{}, explain(gone, run.JobID)
		}
		again := outcome{verdict: verdictAgain, after: max(after, w.Poll), reason: err.Error()}
		var own waiting
		if errors.As(err, &own) {
			again.commit = own.commit
		}
		return again, nil
	}
	return outcome{}, explain(err, run.JobID)
}

// fence says on whose behalf a change is made.
func (s *step) fence() Fence {
	return Fence{Job: "jobs/" + s.JobID, Epoch: s.Epoch, EffectKey: s.EffectKey}
}

// say tells watchers what goes on.
func (s *step) say(line string) { s.Progress(job.Progress{Text: line}) }

// changed tells what an agent changed, one line each.
func (s *step) changed(what string, changes []string) {
	for _, c := range changes {
		s.Changed("%s: %s", what, c)
	}
}

// tags are put on what this step makes at the provider.
func (s *step) tags(server, role string) map[string]string {
	return map[string]string{
		TagFleet: s.w.Fleet, TagJob: s.JobID, TagStep: s.EffectKey, TagServer: server,
		TagRole: role,
	}
}

// made finds what was made at the provider with these tags and the fleet's, by earlier workers of
// the job too.
func (s *step) made(tags map[string]string) provider.Filter {
	tags[TagFleet] = s.w.Fleet
	return provider.Filter{Tags: tags, MadeUntil: s.TakenOver}
}

func (s *step) read(ctx context.Context, fn func(ctx context.Context, rec Records) error) error {
	return s.w.Store.Read(ctx, fn)
}

// server is a server's record: of the one that this job makes only while that is there, not when it
// was deleted or a later one has its name.
func (s *step) server(ctx context.Context, name string) (inventory.Server, error) {
	srv, err := s.record(ctx, name)
	if making := s.JobKind == KindCreatePrimary || s.JobKind == KindCreateReplica; err != nil ||
		!making || name != s.args.Server {
		return srv, err
	}
	if srv.Job != s.JobID {
		return srv, inventory.Refuse(inventory.ErrNotFound, inventory.MissingRecord,
			"ask anew for what you want of it; `understudy server get "+name+"` shows how it is",
			"the server of this job is gone, %s is a later one, which job %s made", name, srv.Job)
	}
	return srv, s.still(srv)
}

// still refuses when the server that this job made was deleted, or is about to be.
func (s *step) still(srv inventory.Server) error {
	if srv.State != inventory.ServerDeleting && srv.State != inventory.ServerDeleted {
		return nil
	}
	return inventory.Refuse(inventory.ErrNotFound, inventory.MissingRecord,
		"ask for another, or, once it is gone, have it made anew: `understudy job redo "+s.JobID+
			" plan --reason …`",
		"server %s of this job is %s", srv.Name, srv.State)
}

// record is a server's record, whatever it says.
func (s *step) record(ctx context.Context, name string) (srv inventory.Server, err error) {
	err = s.read(ctx, func(ctx context.Context, rec Records) (err error) {
		srv, err = rec.Servers().Get(ctx, name)
		return err
	})
	return srv, err
}

func (s *step) snapshot(ctx context.Context) (snap inventory.Snapshot, err error) {
	err = s.read(ctx, func(ctx context.Context, rec Records) (err error) {
		snap, err = rec.Snapshots().Get(ctx, s.args.Snapshot)
		return err
	})
	return snap, err
}

// node is a server with its agent, looked at just now.
type node struct {
	srv    inventory.Server
	agent  Agent
	status replication.Status
}

// node reads a server's record and asks its agent how MariaDB is.
func (s *step) node(ctx context.Context, name string) (*node, error) {
	srv, err := s.server(ctx, name)
	if err != nil {
		return nil, err
	}
	agent, err := s.w.Agents.Agent(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("cannot reach the agent of %s: %w", name, err)
	}
	status, err := agent.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot look at MariaDB on %s: %w", name, err)
	}
	return &node{srv: srv, agent: agent, status: status}, nil
}

// serving is a node whose MariaDB answers; it waits for one that does not.
func (s *step) serving(ctx context.Context, name string) (*node, error) {
	n, err := s.node(ctx, name)
	if err != nil {
		return nil, err
	}
	if !n.status.Answers {
		return nil, errs.New(errs.Unavailable, errorsv1.Reason_REASON_MARIADB_DOWN,
			sprintf("MariaDB on %s does not answer: %s", name, n.status.DownReason),
			errs.WithHint("start mariadb.service on "+name))
	}
	return n, nil
}

// audit adds a line to the audit with the step that caused it.
func (s *step) audit(ctx context.Context, rec Records, action, subject, format string,
	args ...any) error {
	return rec.Events().Add(ctx, inventory.Event{
		Actor: "controlplane", Action: action, Subject: subject, Job: s.JobID, Step: s.Step,
		Message: sprintf(format, args...),
	})
}

// updateServer is a commit that changes a server's record and says so in the audit.
func (s *step) updateServer(name string, change func(srv *inventory.Server) error, format string,
	args ...any) commit {
	return func(ctx context.Context, rec Records) error {
		srv, err := rec.Servers().Get(ctx, name)
		if err != nil {
			return err
		}
		if err := change(&srv); err != nil {
			return err
		}
		if err := rec.Servers().Update(ctx, &srv); err != nil {
			return err
		}
		return s.audit(ctx, rec, "server.update", srv.Subject(), format, args...)
	}
}

// updateSnapshot is a commit that changes the snapshot's record and says so in the audit.
func (s *step) updateSnapshot(change func(snap *inventory.Snapshot) error, format string,
	args ...any) commit {
	return func(ctx context.Context, rec Records) error {
		snap, err := rec.Snapshots().Get(ctx, s.args.Snapshot)
		if err != nil {
			return err
		}
		if err := change(&snap); err != nil {
			return err
		}
		if err := rec.Snapshots().Update(ctx, &snap); err != nil {
			return err
		}
		return s.audit(ctx, rec, "snapshot.update", snap.Subject(), format, args...)
	}
}

// missing reports whether a record, a unit, a mount or an object is not there.
func missing(err error) bool {
	return errors.Is(err, inventory.ErrNotFound) || isNotFound(err)
}
