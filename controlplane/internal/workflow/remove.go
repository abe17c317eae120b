package workflow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// What later steps of a removal make sure of.
const (
	stepCheck         = "check"
	stepRelease       = "release_binlogs"
	stepRemoveMachine = "remove_machine"
)

func deleteServerPlan() jobPlan {
	steps := []stepPlan{{kind: stepCheck, title: "nothing depends on the server",
		handle: (*step).checkDelete}}
	return jobPlan{kind: KindDeleteServer, title: "take a server away",
		steps: append(steps, removeServerSteps()...)}
}

func deleteSnapshotPlan() jobPlan {
	return jobPlan{kind: KindDeleteSnapshot, title: "delete a snapshot", steps: []stepPlan{
		{kind: stepCheck, title: "no job needs the snapshot", handle: (*step).checkDeleteSnapshot},
		releaseStep(), removeSnapshotStep(),
	}}
}

// removeServerSteps take away a server: whole, or as far as a job has made it. What is gone already
// is left alone. Each may be run alone and does then what those before it had to do, but for what a
// person skipped.
func removeServerSteps() []stepPlan {
	return []stepPlan{
		{kind: "remove_account", title: "the replication account on the primary is gone",
			handle: (*step).removeAccount, timeout: 2 * time.Minute},
		{kind: stepRemoveMachine, title: "the machine is gone", handle: (*step).removeMachine,
			timeout: 15 * time.Minute},
		{kind: "remove_volumes", title: "the volumes are gone", handle: (*step).removeVolumes,
			timeout: 15 * time.Minute},
		{kind: "forget", title: "the record says so", handle: (*step).removeServer,
			timeout: 15 * time.Minute},
	}
}

func releaseStep() stepPlan {
	return stepPlan{kind: stepRelease, title: "no binary logs are kept any more",
		handle: (*step).releaseReservation, timeout: 2 * time.Minute}
}

func removeSnapshotStep() stepPlan {
	return stepPlan{kind: "remove_snapshot", title: "the snapshot is gone",
		handle: (*step).removeSnapshot}
}

// mine reports whether this job may take the server away: the one that deletes it, or the one that
// was making it.
func (s *step) mine(srv inventory.Server) bool { return s.maker() == "" || srv.Job == s.maker() }

// maker is the job that made the server to take away; empty when an earlier version did not note
// it.
func (s *step) maker() string {
	if s.JobKind == KindDeleteServer {
		return s.args.MadeBy
	}
	return s.JobID
}

func (s *step) leftOut(kind string) bool { return slices.Contains(s.LeftOut, kind) }

// checkDelete refuses to delete what others depend on, and records that the server is on its way
// out.
func (s *step) checkDelete(ctx context.Context) (outcome, error) {
	srv, err := s.record(ctx, s.args.Server)
	if err != nil {
		return outcome{}, err
	}
	if !s.mine(srv) {
		return notNeeded("the server that was to go is gone, %s is another one of that name",
			srv.Name)
	}
	if err := s.w.freeToDelete(ctx, srv.Name); err != nil {
		return outcome{}, err
	}
	return done(func(ctx context.Context, rec Records) error {
		srv, err := rec.Servers().Get(ctx, s.args.Server)
		if err != nil || srv.State == inventory.ServerDeleting ||
			srv.State == inventory.ServerDeleted || !s.mine(srv) {
			return err
		}
		if s.args.Etag != "" && srv.Etag() != s.args.Etag {
			return refuse(errorsv1.Reason_REASON_ETAG_MISMATCH,
				"read it again with `understudy server get`, and decide anew",
				"%s changed since it was read", srv.Name)
		}
		if err := noReplicas(ctx, rec, srv.Name); err != nil {
			return err
		}
		if err := srv.SetState(inventory.ServerDeleting, "job "+s.JobID); err != nil {
			return err
		}
		if err := rec.Servers().Update(ctx, &srv); err != nil {
			return err
		}
		return s.audit(ctx, rec, "server.delete", srv.Subject(), "%s is being taken away", srv.Name)
	})
}

// leave has the record say that the server goes before anything of it does, and refuses where
// others depend on it.
func (s *step) leave(ctx context.Context) error {
	if s.JobKind != KindDeleteServer || s.leftOut(stepCheck) {
		return nil
	}
	srv, err := s.record(ctx, s.args.Server)
	if missing(err) || err == nil &&
		(srv.State == inventory.ServerDeleting || srv.State == inventory.ServerDeleted ||
			!s.mine(srv)) {
		return nil
	}
	if err != nil {
		return err
	}
	out, err := s.checkDelete(ctx)
	if err != nil {
		return err
	}
	return waiting{reason: srv.Name + " is recorded as one that goes", commit: out.commit}
}

func noReplicas(ctx context.Context, rec Records, name string) error {
	replicas, err := rec.Servers().ReplicasOf(ctx, name)
	if err != nil || len(replicas) == 0 {
		return err
	}
	return refuse(errorsv1.Reason_REASON_IN_USE,
		"delete its replicas first (`understudy server delete`)", "%s has replicas: %s", name,
		strings.Join(replicas, ", "))
}

// freeToDelete refuses while a job uses the server as a source.
func (w *Workflow) freeToDelete(ctx context.Context, server string) error {
	return w.unused(ctx, "server "+server, func(a Args) bool { return a.Source == server })
}

// unused refuses while an unfinished job's arguments match.
func (w *Workflow) unused(ctx context.Context, what string, uses func(Args) bool) error {
	for token := ""; ; {
		jobs, next, err := w.Jobs.List(ctx,
			job.Filter{States: []job.State{job.Queued, job.Running, job.Waiting, job.ActionRequired,
				job.Cancelling}, PageToken: token})
		if err != nil {
			return err
		}
		for _, j := range jobs {
			if j.Kind != KindCreateReplica && j.Kind != KindTakeSnapshot {
				continue
			}
			if args, err := ArgsOf(j); err == nil && uses(args) {
				return refuse(errorsv1.Reason_REASON_IN_USE, "wait for the job (`understudy job "+
					"watch`), or cancel it (`understudy job cancel`)", "job %s uses %s", j.ID, what)
			}
		}
		if token = next; token == "" {
			return nil
		}
	}
}

// removeAccount drops the server's account on its primary.
func (s *step) removeAccount(ctx context.Context) (outcome, error) {
	if err := s.leave(ctx); err != nil {
		return outcome{}, err
	}
	srv, err := s.record(ctx, s.args.Server)
	if missing(err) || err == nil && (srv.Primary == "" || !s.mine(srv)) {
		return notNeeded("it has no primary")
	}
	if err != nil {
		return outcome{}, err
	}
	if p, err := s.record(ctx, srv.Primary); missing(err) || err == nil &&
		(p.State == inventory.ServerDeleting || p.State == inventory.ServerDeleted) {
		return notNeeded("the primary is gone")
	}
	agent, err := s.w.Agents.Agent(ctx, srv.Primary)
	if s.leaves(ctx, err) {
		return notNeeded("the primary is gone")
	}
	if err != nil {
		return outcome{}, fmt.Errorf("cannot reach the agent of %s: %w", srv.Primary, err)
	}
	changed, err := agent.DeleteReplicationAccount(ctx, accountOf(srv.Name), accountHost, s.fence())
	if err != nil {
		return outcome{}, err
	}
	if changed {
		s.Changed("dropped the account %s on %s", accountOf(srv.Name), srv.Primary)
	}
	return done(nil)
}

// belongs is how the machines and volumes to remove are found: by the server's name and the job
// that made it, as a later server may have the name.
func (s *step) belongs() provider.Filter {
	tags := map[string]string{TagServer: s.args.Server}
	if maker := s.maker(); maker != "" {
		tags[TagJob] = maker
	}
	return s.made(tags)
}

// letGo has the record name no mount any more, in a transaction before the machine or the volume is
// taken away: whatever ends the job then, no record says that there is a mount of a volume that is
// not attached.
func (s *step) letGo(srv inventory.Server) error {
	if len(srv.Mounts) == 0 {
		return nil
	}
	return waiting{reason: "the mounts of " + srv.Name + " are taken off the record",
		commit: s.updateServer(srv.Name, func(srv *inventory.Server) error {
			srv.Mounts = nil
			return nil
		}, "no mount is relied on: what is mounted is about to go")}
}

func (s *step) letGoOfOwn(ctx context.Context) error {
	if err := s.leave(ctx); err != nil {
		return err
	}
	srv, err := s.record(ctx, s.args.Server)
	if missing(err) || err == nil && !s.mine(srv) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.letGo(srv)
}

// removeMachine ends the machine and waits until it is gone.
func (s *step) removeMachine(ctx context.Context) (outcome, error) {
	if err := s.letGoOfOwn(ctx); err != nil {
		return outcome{}, err
	}
	list, err := s.w.Cloud.ListMachines(ctx, s.belongs())
	if err != nil {
		return outcome{}, err
	}
	var going []string
	why := ""
	for _, m := range list {
		switch m.State {
		case provider.MachineTerminated:
			continue
		case provider.MachineStopping:
			why = because(m.Reason)
		default:
			if err := s.w.Cloud.TerminateMachine(ctx, m.ID); err != nil && !missing(err) {
				return outcome{}, fmt.Errorf("cannot end machine %s: %w", m.ID, err)
			}
			s.Changed("ended machine %s", m.ID)
		}
		going = append(going, m.ID)
	}
	if len(going) > 0 {
		return s.again("machine %s is going%s", someOf(going, 3), why)
	}
	return done(nil)
}

// removeVolumes deletes the volumes, which nobody has attached any more.
func (s *step) removeVolumes(ctx context.Context) (outcome, error) {
	if !s.leftOut(stepRemoveMachine) {
		if out, err := s.removeMachine(ctx); err != nil || out.verdict == verdictAgain {
			return out, err
		}
	}
	if err := s.letGoOfOwn(ctx); err != nil {
		return outcome{}, err
	}
	list, err := s.w.Cloud.ListVolumes(ctx, s.belongs())
	if err != nil {
		return outcome{}, err
	}
	var going []string
	for _, v := range list {
		if v.State == provider.VolumeDeleted || v.State == provider.VolumeDeleting {
			continue
		}
		err := s.w.Cloud.DeleteVolume(ctx, v.ID)
		switch {
		case errors.Is(err, provider.ErrInUse) || errors.Is(err, provider.ErrIncorrectState):
			going = append(going, v.ID)
		case err != nil && !missing(err):
			return outcome{}, fmt.Errorf("cannot delete volume %s: %w", v.ID, err)
		default:
			s.Changed("deleted volume %s", v.ID)
		}
	}
	if len(going) > 0 {
		return s.again("volume %s is still attached", someOf(going, 3))
	}
	return done(nil)
}

func (s *step) recordGone() commit {
	return func(ctx context.Context, rec Records) error {
		srv, err := rec.Servers().Get(ctx, s.args.Server)
		if missing(err) || err == nil && (srv.State == inventory.ServerDeleted || !s.mine(srv)) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.volumeGone(ctx, rec, srv.DataVolume); err != nil {
			return err
		}
		if srv.State != inventory.ServerDeleting {
			if err := srv.SetState(inventory.ServerDeleting, "job "+s.JobID); err != nil {
				return err
			}
		}
		if err := srv.SetState(inventory.ServerDeleted,
			"job "+s.JobID+" took it away"); err != nil {
			return err
		}
		srv.MachineID, srv.Address, srv.DataVolume, srv.Mounts = "", "", "", nil
		if err := rec.Servers().Update(ctx, &srv); err != nil {
			return err
		}
		if err := rec.ServerIDs().Release(ctx, srv.Name); err != nil {
			return err
		}
		if err := loseReplica(ctx, rec, srv); err != nil {
			return err
		}
		return s.audit(ctx, rec, "server.delete", srv.Subject(), "%s is gone", srv.Name)
	}
}

// loseReplica records on the primary that a replica of it is gone.
func loseReplica(ctx context.Context, rec Records, gone inventory.Server) error {
	if gone.Primary == "" {
		return nil
	}
	p, err := rec.Servers().Get(ctx, gone.Primary)
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	rest, err := rec.Servers().ReplicasOf(ctx, p.Name)
	if err != nil {
		return err
	}
	was := p.ReplicationConfigured
	p.LoseReplica(slices.DeleteFunc(rest, func(name string) bool { return name == gone.Name }))
	if p.ReplicationConfigured == was {
		return nil
	}
	return rec.Servers().Update(ctx, &p)
}

func (s *step) volumeGone(ctx context.Context, rec Records, id string) error {
	if id == "" {
		return nil
	}
	vol, err := rec.Volumes().Get(ctx, id)
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	vol.State, vol.MachineID = inventory.VolumeDeleted, ""
	return rec.Volumes().Update(ctx, &vol)
}

// removeServer takes away what is left of the server and records that it is gone.
func (s *step) removeServer(ctx context.Context) (outcome, error) {
	steps := removeServerSteps()
	for _, part := range steps[:len(steps)-1] {
		if s.leftOut(part.kind) {
			continue
		}
		if out, err := part.handle(s, ctx); err != nil || out.verdict == verdictAgain {
			return out, err
		}
	}
	return done(s.recordGone())
}

// checkDeleteSnapshot refuses to delete a snapshot that a replica is being made from.
func (s *step) checkDeleteSnapshot(ctx context.Context) (outcome, error) {
	snap, err := s.snapshot(ctx)
	if err != nil {
		return outcome{}, err
	}
	if s.args.Etag != "" && snap.State != inventory.SnapshotDeleted && snap.Etag() != s.args.Etag {
		return outcome{}, refuse(errorsv1.Reason_REASON_ETAG_MISMATCH,
			"read it again with `understudy snapshot get`, and decide anew",
			"snapshot %s changed since it was read", snap.ID)
	}
	return outcome{verdict: verdictDone}, s.w.snapshotUnused(ctx, snap.ID)
}

func (w *Workflow) snapshotUnused(ctx context.Context, id string) error {
	return w.unused(ctx, "snapshot "+id, func(a Args) bool { return a.Snapshot == id })
}

// releaseReservation gives up what was kept for the job's or the snapshot's sake.
func (s *step) releaseReservation(ctx context.Context) (outcome, error) {
	if s.args.Source == "" {
		return notNeeded("nothing was reserved")
	}
	id := s.args.Snapshot
	if s.JobKind == KindCreateReplica {
		id = s.reservation()
	}
	return outcome{verdict: verdictDone}, s.releaseBinlogs(ctx, s.args.Source, id)
}

// letGoOfSnapshot does for a deletion what came before, as far as no person skipped it: nobody
// needs the snapshot, nothing is kept for it.
func (s *step) letGoOfSnapshot(ctx context.Context, snap inventory.Snapshot) error {
	if s.JobKind != KindDeleteSnapshot || snap.State == inventory.SnapshotDeleted {
		return nil
	}
	if !s.leftOut(stepCheck) {
		if err := s.w.snapshotUnused(ctx, snap.ID); err != nil {
			return err
		}
	}
	if s.leftOut(stepRelease) {
		return nil
	}
	_, err := s.releaseReservation(ctx)
	return err
}

// removeSnapshot deletes a snapshot at the provider and records it: the one to delete, or the one
// that this job took.
func (s *step) removeSnapshot(ctx context.Context) (outcome, error) {
	snap, err := s.snapshot(ctx)
	if missing(err) || err == nil && s.JobKind != KindDeleteSnapshot && snap.Job != s.JobID {
		return notNeeded("this job took no snapshot")
	}
	if err != nil {
		return outcome{}, err
	}
	if err := s.letGoOfSnapshot(ctx, snap); err != nil {
		return outcome{}, err
	}
	if err := s.deleteSnapshots(ctx, snap.ID); err != nil {
		return outcome{}, err
	}
	return done(func(ctx context.Context, rec Records) error {
		snap, err := rec.Snapshots().Get(ctx, s.args.Snapshot)
		if err != nil || snap.State == inventory.SnapshotDeleted {
			return err
		}
		snap.Reservation, snap.ReservedTo = "", time.Time{}
		if err := snap.SetState(inventory.SnapshotDeleted,
			"job "+s.JobID+" deleted it"); err != nil {
			return err
		}
		if err := rec.Snapshots().Update(ctx, &snap); err != nil {
			return err
		}
		return s.audit(ctx, rec, "snapshot.delete", snap.Subject(), "snapshot %s was deleted",
			snap.ID)
	})
}
