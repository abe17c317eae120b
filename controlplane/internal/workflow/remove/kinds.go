// Package remove removes servers and snapshots: as jobs of their own, and as the clean-up of jobs
// that made them.
package remove

import (
	"context"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// The kinds.
const (
	KindDeleteServer   = "delete_server"
	KindDeleteSnapshot = "delete_snapshot"
)

// The steps that later ones do too, unless an operator skipped them.
const (
	stepCheck         = "check"
	stepRelease       = "release_binlogs"
	stepRemoveAccount = "remove_account"
	stepRemoveMachine = "remove_machine"
	stepRemoveVolumes = "remove_volumes"
)

// ServerArgs are what a server's deletion is asked for with.
type ServerArgs struct {
	Server string `json:"server"`
	Etag   string `json:"etag,omitempty"` // of the record that the deletion relies on
	MadeBy string `json:"made_by"`        // job that made the server: a later one may have its name
}

// Kind is delete_server.
func (ServerArgs) Kind() string { return KindDeleteServer }

// Resolve finds which of the servers that had the name it is.
func (a ServerArgs) Resolve(ctx context.Context, k *kit.Kit, _ string) (kit.Args, error) {
	srv, err := k.Record(ctx, a.Server)
	a.MadeBy = srv.Job
	return a, err
}

// Check refuses a server that is deleted, changed since it was read, or that others depend on.
func (a ServerArgs) Check(ctx context.Context, k *kit.Kit) error {
	err := k.Store.Read(ctx, func(ctx context.Context, rec kit.Records) error {
		srv, err := a.unchanged(ctx, rec)
		if err != nil {
			return err
		}
		if srv.State == inventory.ServerDeleted {
			return inventory.NotFound(errs.WithHint("nothing is left to do",
				errs.Call("ListServers")), "server %s was deleted", srv.Name)
		}
		return noReplicas(ctx, rec, srv.Name)
	})
	if err != nil {
		return err
	}
	return k.Unused(ctx, inventory.ServerSubject(a.Server))
}

// unchanged is the record that the request relies on, or the refusal of another one.
func (a ServerArgs) unchanged(ctx context.Context, rec kit.Records) (inventory.Server, error) {
	srv, err := rec.Servers.Get(ctx, a.Server)
	if err == nil && a.Etag != "" && a.Etag != srv.Etag() {
		err = kit.Changed(srv.Name)
	}
	return srv, err
}

// onlyUnchanged compares the record with what the request relies on once more, as the job is made:
// what is noted of it from then on is not the request's concern.
func onlyUnchanged[A interface {
	kit.Args
	unchanged(context.Context, kit.Records) (R, error)
}, R any](ctx context.Context, rec kit.Records, j job.Job) error {
	a, err := kit.Decode[A](j.Args)
	if err != nil {
		return err
	}
	_, err = a.(A).unchanged(ctx, rec)
	return err
}

// Title is what the job is for.
func (a ServerArgs) Title() string { return "delete server " + a.Server }

// Subjects are the server.
func (a ServerArgs) Subjects() []string { return []string{inventory.ServerSubject(a.Server)} }

// SnapshotArgs are what a snapshot's deletion is asked for with.
type SnapshotArgs struct {
	Snapshot string `json:"snapshot"`
	Source   string `json:"source"` // its server
	Etag     string `json:"etag,omitempty"`
}

// Kind is delete_snapshot.
func (SnapshotArgs) Kind() string { return KindDeleteSnapshot }

// Resolve finds whose snapshot it is.
func (a SnapshotArgs) Resolve(ctx context.Context, k *kit.Kit, _ string) (kit.Args, error) {
	snap, err := k.Snapshot(ctx, a.Snapshot)
	a.Source = snap.Server
	return a, err
}

// Check refuses a snapshot that changed since it was read, or that a job uses.
func (a SnapshotArgs) Check(ctx context.Context, k *kit.Kit) error {
	err := k.Store.Read(ctx, func(ctx context.Context, rec kit.Records) error {
		_, err := a.unchanged(ctx, rec)
		return err
	})
	if err != nil {
		return err
	}
	return k.Unused(ctx, inventory.SnapshotSubject(a.Snapshot))
}

// unchanged is the record that the request relies on, or the refusal of another one.
func (a SnapshotArgs) unchanged(ctx context.Context, rec kit.Records) (inventory.Snapshot, error) {
	snap, err := rec.Snapshots.Get(ctx, a.Snapshot)
	if err == nil && a.Etag != "" && a.Etag != snap.Etag() {
		err = kit.Changed("snapshot " + snap.ID)
	}
	return snap, err
}

// ForSnapshot are what the clean-up of other jobs reads too.
func (a SnapshotArgs) ForSnapshot() kit.SnapshotArgs {
	return kit.SnapshotArgs{Source: a.Source, Snapshot: a.Snapshot}
}

// Title is what the job is for.
func (a SnapshotArgs) Title() string { return "delete snapshot " + a.Snapshot }

// Subjects are the snapshot.
func (a SnapshotArgs) Subjects() []string { return []string{inventory.SnapshotSubject(a.Snapshot)} }

// DeleteServer is the kind.
func DeleteServer() kit.Kind {
	check := kit.Step{Name: stepCheck, Title: "nothing depends on the server",
		Run: run(asked, (*server).check)}
	return kit.Kind{Name: KindDeleteServer, Title: "delete a server",
		Decode: kit.Decode[ServerArgs], Begin: onlyUnchanged[ServerArgs],
		Steps: append([]kit.Step{check}, serverSteps(asked)...)}
}

// DeleteSnapshot is the kind.
func DeleteSnapshot() kit.Kind {
	const given = true
	return kit.Kind{Name: KindDeleteSnapshot, Title: "delete a snapshot",
		Decode: kit.Decode[SnapshotArgs], Begin: onlyUnchanged[SnapshotArgs], Steps: []kit.Step{
			{Name: stepCheck, Title: "no job needs the snapshot", Run: kit.Typed(checkSnapshot)},
			releaseStep(), snapshotStep(given),
		}}
}

// Server are the steps that remove what a job has made of its server.
func Server() []kit.Step { return serverSteps(own) }

// Snapshot are the steps that remove the snapshot that a job took.
func Snapshot() []kit.Step {
	const given = false
	return []kit.Step{snapshotStep(given), releaseStep()}
}

// serverSteps remove a server: whole, or as far as a job has made it. What is gone already is left
// alone. Each may be run alone and does then what those before it had to do, but for what an
// operator skipped.
func serverSteps(of which) []kit.Step {
	return []kit.Step{
		{Name: stepRemoveAccount, Title: "the replication account on the primary is gone",
			Run:     run(of, (*server).removeAccount),
			DryRun:  kit.Would("drop its replication account on its primary"),
			Timeout: 2 * time.Minute},
		{Name: stepRemoveMachine, Title: "the machine is gone",
			Run: run(of, (*server).removeMachine), DryRun: dryRun(of, (*server).wouldMachines),
			Timeout: 15 * time.Minute, OperatorTimeout: kit.OperatorTime},
		{Name: stepRemoveVolumes, Title: "the volumes are gone",
			Run: run(of, (*server).removeVolumes), DryRun: dryRun(of, (*server).wouldVolumes),
			Timeout: 15 * time.Minute, OperatorTimeout: kit.OperatorTime},
		{Name: "forget", Title: "the record says so", Run: run(of, (*server).forget),
			Timeout: 15 * time.Minute},
	}
}

func releaseStep() kit.Step {
	return kit.Step{Name: stepRelease, Title: "no binary logs are kept any more",
		Run: kit.Typed(release), DryRun: kit.Would("give up its reservation of binary logs"),
		Timeout: 2 * time.Minute}
}

func snapshotStep(given bool) kit.Step {
	return kit.Step{Name: "remove_snapshot", Title: "the snapshot is gone",
		Run: kit.Typed(func(ctx context.Context, c *kit.Call, a kit.ForSnapshot) (kit.Outcome,
			error) {
			return removeSnapshot(ctx, c, a.ForSnapshot(), given)
		}),
		DryRun: kit.DryTyped(func(ctx context.Context, c *kit.Call, _ *kit.Preview,
			a kit.ForSnapshot) ([]string, error) {
			list, err := c.Provider.ListSnapshots(ctx,
				c.Made(map[string]string{kit.TagSnapshot: a.ForSnapshot().Snapshot}))
			var would []string
			for _, s := range list {
				would = append(would, "remove snapshot "+s.ID)
			}
			return would, err
		})}
}

func noReplicas(ctx context.Context, rec kit.Records, name string) error {
	replicas, err := rec.Servers.ReplicasOf(ctx, name)
	if err != nil || len(replicas) == 0 {
		return err
	}
	return kit.Refuse(errorsv1.Reason_REASON_IN_USE,
		kit.Hint("delete its replicas first",
			errs.Call("DeleteServer", "name", inventory.ServerSubject(replicas[0]))),
		"%s has replicas: %s", name,
		strings.Join(replicas, ", "))
}
