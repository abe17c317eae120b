package replicate

import (
	"cmp"
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// rebuild is one call of a step that only a rebuild has.
type rebuild struct {
	step
	args RebuildArgs
}

func rebuilding(h func(*rebuild, context.Context) (kit.Outcome, error)) kit.Handler {
	return kit.Typed(func(ctx context.Context, c *kit.Call, args RebuildArgs) (kit.Outcome,
		error) {
		return h(&rebuild{step: step{Call: c, args: args.Args}, args: args}, ctx)
	})
}

// takeBack takes back that the replica is READY and verified, in the transaction of the request.
// The server, and all of its volumes, are this job's from then on: no request on the job that made
// them reaches them.
func takeBack(ctx context.Context, rec kit.Records, j job.Job) error {
	decoded, err := kit.Decode[RebuildArgs](j.Args)
	if err != nil {
		return err
	}
	a := decoded.(RebuildArgs)
	srv, err := rec.Servers.Get(ctx, a.Server)
	if err != nil {
		return err
	}
	if err := a.unchanged(srv); err != nil {
		return err
	}
	reason := "job " + j.ID + " makes it again on a new volume"
	if err := srv.SetState(inventory.ServerProvisioning, reason); err != nil {
		return err
	}
	srv.TakeBackVerified()
	srv.Job = j.ID
	if err := rec.Servers.Update(ctx, &srv); err != nil {
		return err
	}
	if err := takeVolumes(ctx, rec, a, j.ID); err != nil {
		return err
	}
	return rec.Events.Add(ctx, inventory.Event{Actor: "controlplane", Action: "server.update",
		Subject: srv.Subject(), Job: j.ID,
		Message: kit.Sprintf("%s is %s: %s", srv.Name, srv.State, reason)})
}

func takeVolumes(ctx context.Context, rec kit.Records, a RebuildArgs, jobID string) error {
	volumes, err := rec.Volumes.OfServer(ctx, a.Server)
	if err != nil {
		return err
	}
	for _, v := range volumes {
		if v.Job != a.MadeBy || v.State == inventory.VolumeDeleted {
			continue
		}
		v.Job = jobID
		if err := rec.Volumes.Update(ctx, &v); err != nil {
			return err
		}
	}
	return nil
}

// plan checks that the replica can be made again, before anything of it is touched.
func (s *rebuild) plan(ctx context.Context) (kit.Outcome, error) {
	srv, err := s.Server(ctx, s.args.Server)
	if err != nil {
		return kit.Outcome{}, err
	}
	if err := s.Adopt(ctx, srv, s.args.MadeBy); err != nil {
		return kit.Outcome{}, err
	}
	p, err := s.Serving(ctx, s.args.Source)
	if err != nil {
		return kit.Outcome{}, err
	}
	if _, err := s.check(ctx, srv, p); err != nil {
		return kit.Outcome{}, err
	}
	if err := host.KeepBinlogs(ctx, s.Call, s.args.MakeArgs, p, false); err != nil {
		return kit.Outcome{}, err
	}
	return kit.DoneUnless(host.StopAutoPurge(ctx, s.Call, p))
}

// check refuses a replica that cannot come to be as things stand, and answers with the version of
// the MariaDB on its machine.
func (s *rebuild) check(ctx context.Context, srv inventory.Server,
	p *kit.Node) (version string, err error) {
	if err := s.checkPlan(ctx, p); err != nil {
		return "", err
	}
	agent, err := s.Agent(ctx, srv.Name)
	if err != nil {
		return "", err
	}
	is, err := agent.Host(ctx)
	if err != nil {
		return "", err
	}
	s.Found("machine %s: MariaDB %s, agent %s", srv.MachineID,
		cmp.Or(is.MariaDBVersion, "not installed"), is.AgentVersion)
	if err := host.ComparesWith(ctx, p.Agent, p.Name, srv.Name, is); err != nil {
		return "", err
	}
	snap, err := s.Snapshot(ctx, s.args.Snapshot)
	if err != nil && !kit.Missing(err) {
		return "", err
	}
	copied := kit.CopiedVersion(snap, p)
	order, known := replication.CompareSeries(copied, is.MariaDBVersion)
	if is.MariaDBVersion == "" || known && order > 0 {
		return "", kit.Refuse(errorsv1.Reason_REASON_DATADIR_NEWER,
			kit.Hint("install MariaDB "+replication.Series(copied)+" or newer on the machine of "+
				srv.Name),
			"the copy is of MariaDB %s, the machine of %s has %s: a datadir never goes back",
			copied, srv.Name, cmp.Or(is.MariaDBVersion, "none"))
	}
	return is.MariaDBVersion, kit.CheckLog(copied, is.MariaDBVersion,
		cmp.Or(snap.Mode, s.args.Mode))
}

func dryRebuild(ctx context.Context, c *kit.Call, p *kit.Preview, a RebuildArgs) (_ []string,
	err error) {
	s := &rebuild{step: step{Call: c, args: a.Args}, args: a}
	srv, err := c.Record(ctx, a.Server)
	if err != nil {
		return nil, err
	}
	if p.Source, err = c.Serving(ctx, a.Source); err != nil {
		return nil, err
	}
	if p.Image.MariaDBVersion, err = s.check(ctx, srv, p.Source); err != nil {
		return nil, err
	}
	if a.Given {
		if p.Snapshot, err = c.Snapshot(ctx, a.Snapshot); err != nil {
			return nil, err
		}
	}
	vol, err := c.Volume(ctx, a.Replaces)
	return []string{
		kit.Sprintf("take back that %s is READY and verified", a.Server),
		kit.Sprintf("keep its volume %s until it is READY on another one, then delete it",
			vol.ProviderID)}, err
}

// settle deletes what was replaced once the replica is READY on the new volume. When the job ended
// before, it leaves the primary as it was, and says what is left of the replica.
func (s *rebuild) settle(ctx context.Context, parts Parts) (kit.Outcome, error) {
	if !s.Unwinding {
		dropped, err := parts.DropReplaced(ctx, s.Call, s.args.MakeArgs)
		if err != nil {
			return kit.Outcome{}, err
		}
		return kit.Done(dropped)
	}
	srv, err := s.Server(ctx, s.args.Server)
	there := err == nil
	if err != nil && !kit.Missing(err) {
		return kit.Outcome{}, err
	}
	if there {
		err := s.Adopt(ctx, srv, s.args.MadeBy) // the job may have ended before its first step
		if err != nil && !kit.IsReason(err, errorsv1.Reason_REASON_MACHINE_GONE) {
			return kit.Outcome{}, err
		}
	}
	dropped, err := parts.DropSnapshot(ctx, s.Call, s.args.SnapshotArgs)
	if err != nil {
		return kit.Outcome{}, err
	}
	err = host.ReleaseBinlogs(ctx, s.Call, s.args.Source,
		s.args.SnapshotArgs.Reservation(s.JobID))
	if err != nil {
		return kit.Outcome{}, err
	}
	if there && s.untouched(srv) {
		gone, err := parts.DropAbandoned(ctx, s.Call, s.args.MakeArgs)
		if err != nil {
			return kit.Outcome{}, err
		}
		dropped = kit.Both(dropped, gone)
	}
	if err := s.tellVolumes(ctx, srv); err != nil {
		return kit.Outcome{}, err
	}
	return kit.Done(kit.Both(dropped, s.recordEnded()))
}

// untouched reports whether nothing was taken off the replica: its record names its mounts until
// the first of them goes.
func (s *rebuild) untouched(srv inventory.Server) bool {
	return srv.DataVolume == s.args.Replaces && len(srv.Mounts) > 0
}

// tellVolumes says where the data of a replica that is not whole are.
func (s *rebuild) tellVolumes(ctx context.Context, srv inventory.Server) error {
	old, err := s.Volume(ctx, s.args.Replaces)
	if kit.Missing(err) || srv.Name == "" || s.untouched(srv) {
		return nil
	}
	if err != nil {
		return err
	}
	s.Found("its old volume %s is kept as it was, %s, until the replica is READY on another one; "+
		"only its provider can give it back", old.ProviderID, whereIs(old))
	if srv.DataVolume == s.args.Replaces {
		s.Found("no new volume is its own yet: the retry of this job goes on with swap_volume")
		return nil
	}
	now, err := s.Volume(ctx, srv.DataVolume)
	if err != nil {
		return err
	}
	s.Found("its new volume %s is %s: the retry of this job goes on with it", now.ProviderID,
		whereIs(now))
	return nil
}

func whereIs(v inventory.Volume) string {
	if v.MachineID == "" {
		return "attached to nothing"
	}
	return "attached to machine " + v.MachineID
}

// recordEnded records that the rebuild failed. A replica that nothing was taken from is what it
// was, and is judged by what is observed of it.
func (s *rebuild) recordEnded() kit.Commit {
	return func(ctx context.Context, rec kit.Records) error {
		srv, err := rec.Servers.Get(ctx, s.args.Server)
		if kit.Missing(err) || err == nil &&
			(srv.Job != s.JobID || srv.State != inventory.ServerProvisioning) {
			return nil
		}
		if err != nil {
			return err
		}
		to, text := inventory.ServerFailed, "job %s ended before the replica was READY on its "+
			"new volume, and keeps the old one: retry it, or rebuild the replica again"
		if s.untouched(srv) {
			srv.GiveBackVerified()
		}
		if s.untouched(srv) && s.args.Served {
			to, text = inventory.ServerDegraded, "job %s ended before it took anything off the "+
				"replica"
		}
		if err := srv.SetState(to, kit.Sprintf(text, s.JobID)); err != nil {
			return err
		}
		if err := rec.Servers.Update(ctx, &srv); err != nil {
			return err
		}
		return s.Event(ctx, rec, "server.update", srv.Subject(), "%s is %s: %s", srv.Name,
			srv.State, srv.StateReason)
	}
}
