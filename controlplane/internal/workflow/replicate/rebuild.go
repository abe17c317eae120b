package replicate

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// KindRebuildReplica makes a replica again on its machine.
const KindRebuildReplica = "rebuild_replica"

// RebuildArgs are what a replica is rebuilt with. The steps of a replica's making take the Args in
// them.
type RebuildArgs struct {
	Args
	Etag   string `json:"etag,omitempty"`    // of the record that the request relies on
	MadeBy string `json:"made_by,omitempty"` // job that made what the server has
	Served bool   `json:"served,omitempty"`  // it was in service when this was asked for
}

// Kind is rebuild_replica.
func (RebuildArgs) Kind() string { return KindRebuildReplica }

// Resolve reads from the records what the replica is: whom it follows, the volume that it has, and
// how it was asked for.
func (a RebuildArgs) Resolve(ctx context.Context, k *kit.Kit, requestID string) (kit.Args, error) {
	srv, err := k.Record(ctx, a.Server)
	if err != nil {
		return nil, err
	}
	var wrong errs.Fields
	if a.Given = a.Snapshot != ""; a.Given {
		if _, err := k.Snapshot(ctx, a.Snapshot); err != nil {
			return nil, err
		}
		wrong.Require("quiesce_limit", a.QuiesceLimit == 0,
			"is for a new snapshot, and the one to use is taken")
	} else {
		a.Snapshot = kit.SnapshotID(requestID)
		a.SnapshotArgs.Fill(&wrong)
	}
	kit.FillLevel(&a.Verify, "verify", &wrong)
	a.Source, a.Zone, a.Port = srv.Primary, srv.Zone, srv.Port
	a.Replaces, a.MadeBy, a.Served = srv.DataVolume, srv.Job, srv.InService()
	if err := a.fromMaking(ctx, k); err != nil {
		return nil, err
	}
	return a, wrong.Err()
}

// fromMaking takes over what the replica was asked for with: its options, and a volume that is not
// smaller.
func (a *RebuildArgs) fromMaking(ctx context.Context, k *kit.Kit) error {
	j, err := k.Jobs.Get(ctx, a.MadeBy)
	if err != nil && !kit.Missing(err) {
		return err
	}
	var made kit.ServerArgs
	if err == nil {
		if err := json.Unmarshal(j.Args, &made); err != nil {
			return err
		}
	}
	a.Options = made.Options
	if a.VolumeBytes != 0 || a.Replaces == "" {
		return nil
	}
	vol, err := k.Volume(ctx, a.Replaces)
	a.VolumeBytes = vol.SizeBytes
	return err
}

// Check refuses what is no replica, what was never made up to its volume, and a record that changed
// since it was read.
func (a RebuildArgs) Check(ctx context.Context, k *kit.Kit) error {
	srv, err := k.Record(ctx, a.Server)
	if err != nil {
		return err
	}
	switch {
	case srv.State == inventory.ServerDeleted || srv.State == inventory.ServerDeleting:
		return inventory.NotFound(errs.WithHint("make another one",
			errs.Call("CreateReplica", "primary", inventory.ServerSubject(srv.Primary))),
			"server %s is %s", srv.Name, srv.State)
	case srv.Role != inventory.RoleReplica:
		return kit.Refuse(errorsv1.Reason_REASON_WRONG_ROLE,
			kit.Hint("name a replica", errs.Call("ListServers")),
			"cannot rebuild %s: it is not a replica", srv.Name)
	case srv.MachineID == "" || srv.DataVolume == "":
		return kit.Refuse(errorsv1.Reason_REASON_DEVICE_MISSING,
			kit.Hint("have the job that makes it go on",
				errs.Call("RetryJob", "name", "jobs/"+srv.Job)),
			"cannot rebuild %s: its machine or its volume was never made", srv.Name)
	}
	if err := a.unchanged(srv); err != nil {
		return err
	}
	if !a.Given {
		if err := k.CheckCopyTime(a.SnapshotArgs); err != nil {
			return err
		}
	}
	return k.Exists(ctx, a.Source)
}

// unchanged refuses when the record is no longer what the request relies on.
func (a RebuildArgs) unchanged(srv inventory.Server) error {
	if (a.Etag == "" || a.Etag == srv.Etag()) && srv.Job == a.MadeBy &&
		srv.DataVolume == a.Replaces && srv.InService() == a.Served {
		return nil
	}
	return kit.Changed(srv.Name, kit.GetServer(srv.Name))
}

// Title is what the job is for.
func (a RebuildArgs) Title() string {
	from := "a new snapshot of " + a.Source
	if a.Given {
		from = "snapshot " + a.Snapshot
	}
	return kit.Sprintf("rebuild %s from %s", a.Server, from)
}

// RebuildReplica is the kind. Beside create_replica it has a machine, and a volume that it keeps
// until the replica is READY on another one.
func RebuildReplica(parts Parts) kit.Kind {
	plan := kit.Step{Name: "plan", Title: "the replica can be made again on its machine",
		Run: rebuilding((*rebuild).plan), DryRun: kit.DryTyped(dryRebuild)}
	swap := parts.Swap("a volume from the snapshot is attached; the old one, kept, is not")
	steps := slices.Concat([]kit.Step{plan}, parts.Snapshot, []kit.Step{swap}, parts.Copy,
		replicaSteps(parts), []kit.Step{settleStep(rebuilding(func(s *rebuild,
			ctx context.Context) (kit.Outcome, error) {
			return s.settle(ctx, parts)
		}))})
	return kit.Kind{Name: KindRebuildReplica, Title: "rebuild a replica on a new volume",
		Decode: kit.Decode[RebuildArgs], Steps: steps, Sections: parts.Sections, Begin: takeBack}
}
