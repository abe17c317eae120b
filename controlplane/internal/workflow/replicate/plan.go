package replicate

import (
	"cmp"
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// plan checks that a replica can be made, and allocates what is unique about it. From here on
// the primary has a replica.
func (s *step) plan(ctx context.Context) (kit.Outcome, error) {
	srv, err := s.Begun(ctx)
	if err != nil {
		return kit.Outcome{}, err
	}
	if srv.State == inventory.ServerProvisioning && !srv.FirstReady.IsZero() {
		s.Found("%s is a replica of %s with server_id %d", srv.Name, srv.Primary, srv.ServerID)
		return kit.Done(nil)
	}
	p, err := s.Serving(ctx, s.args.Source)
	if err != nil {
		return kit.Outcome{}, err
	}
	if err := s.checkPlan(ctx, p); err != nil {
		return kit.Outcome{}, err
	}
	image, err := s.Image(ctx, s.args.Image)
	if err != nil {
		return kit.Outcome{}, err
	}
	s.FoundImage(image)
	if err := s.checkImage(ctx, p, image); err != nil {
		return kit.Outcome{}, err
	}
	if err := host.KeepBinlogs(ctx, s.Call, s.args.MakeArgs, p, false); err != nil {
		return kit.Outcome{}, err
	}
	if err := host.StopAutoPurge(ctx, s.Call, p); err != nil {
		return kit.Outcome{}, err
	}
	return kit.Done(s.RecordServer(kit.Making{ServerArgs: s.args.ServerArgs, Image: image.Name,
		Primary: p.Name, Zone: cmp.Or(s.args.Zone, p.Zone), Logged: p.Status.BinlogState}))
}

// checkPlan refuses a replica that cannot come to be as things stand.
func (s *step) checkPlan(ctx context.Context, p *kit.Node) error {
	if p.Role != inventory.RolePrimary {
		return kit.Refuse(errorsv1.Reason_REASON_WRONG_ROLE,
			kit.Hint("name its primary instead", kit.GetServer(p.Name)), "%s is not a primary",
			p.Name)
	}
	if p.State == inventory.ServerDeleting || p.State == inventory.ServerDeleted {
		return kit.Refuse(errorsv1.Reason_REASON_WRONG_ROLE,
			kit.Hint("it is going or gone: name another primary"), "%s is %s", p.Name, p.State)
	}
	if !p.Status.LogBin {
		return kit.Refuse(errorsv1.Reason_REASON_BINLOG_OFF,
			kit.Hint("set log_bin in its option files, restart mariadb.service, then ask again"),
			"the binary log of %s is off: no replica can follow it", p.Name)
	}
	if !p.Status.TLS {
		return kit.Refuse(errorsv1.Reason_REASON_MARIADB_SETTING, kit.Hint("set ssl_cert, "+
			"ssl_key and ssl_ca in its option files, restart mariadb.service, then ask again"),
			"TLS is off on %s: a replica would not connect", p.Name)
	}
	if err := host.LogsAll(p); err != nil {
		return err
	}
	s.Found("primary %s answers: MariaDB %s, position %s", p.Name,
		kit.ShortVersion(p.Status.ServerVersion), cmp.Or(p.Status.BinlogPos, "(empty)"))
	if !s.args.Given {
		return nil
	}
	snap, err := s.Snapshot(ctx, s.args.Snapshot)
	if err != nil {
		return err
	}
	return s.checkSnapshot(ctx, snap, p)
}

// checkSnapshot refuses a snapshot that no replica of the primary can be made from.
func (s *step) checkSnapshot(ctx context.Context, snap inventory.Snapshot, p *kit.Node) error {
	if err := s.Usable(ctx, snap, p.Name); err != nil {
		return err
	}
	at, err := s.Provider.GetSnapshot(ctx, snap.ProviderID)
	if wait := kit.NotShownYet(s.Call, err, "snapshot "+snap.ProviderID,
		snap.Quiesce.Until); wait != nil {
		return wait
	}
	switch {
	case kit.Missing(err):
		return kit.Refuse(errorsv1.Reason_REASON_SNAPSHOT_UNUSABLE,
			kit.Hint("take another one", kit.TakeSnapshot(snap.Server)),
			"snapshot %s is gone at the provider", snap.ProviderID)
	case err != nil:
		return err
	case at.State != provider.SnapshotCompleted:
		return kit.Refuse(errorsv1.Reason_REASON_SNAPSHOT_UNUSABLE,
			kit.Hint("wait until it is READY, or take another one",
				kit.GetSnapshot(snap.ID), kit.TakeSnapshot(snap.Server)),
			"snapshot %s is %s at the provider", at.ID, at.State)
	}
	if s.args.VolumeBytes != 0 && s.args.VolumeBytes < at.SizeBytes {
		return errs.New(errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD,
			kit.Sprintf("a volume of %s is smaller than the snapshot's %s",
				kit.Size(s.args.VolumeBytes),
				kit.Size(at.SizeBytes)),
			errs.Field("volume_size_bytes", "must not be smaller than the snapshot"))
	}
	if zone := cmp.Or(s.args.Zone, p.Zone); !s.snapshotsInEveryZone() && snap.Zone != "" &&
		zone != "" && snap.Zone != zone {
		return kit.Refuse(errorsv1.Reason_REASON_SNAPSHOT_UNUSABLE,
			kit.Hint("make the replica in zone "+snap.Zone), "snapshot %s is of zone %s, not %s",
			snap.ID,
			snap.Zone, zone)
	}
	s.Found("snapshot %s is READY: position %s, MariaDB %s", snap.ID,
		cmp.Or(snap.Point.Position(), "(empty)"), snap.Point.ServerVersion)
	if err := checkBinlogs(snap, p); err != nil {
		return err
	}
	return host.SameHistory(snap, p)
}

func (s *step) snapshotsInEveryZone() bool {
	regional, ok := s.Provider.(provider.Regional)
	return ok && regional.SnapshotsInEveryZone()
}

// checkBinlogs refuses when the primary no longer has what a replica from the snapshot needs.
func checkBinlogs(snap inventory.Snapshot, p *kit.Node) error {
	covered, err := replication.Covers(snap.Point.Position(), p.Status.OldestGTID)
	if err != nil {
		return err
	}
	if !covered {
		return kit.Refuse(errorsv1.Reason_REASON_BINLOGS_PURGED, kit.Hint("make the replica "+
			"from a new snapshot: what is purged is gone for good",
			errs.Call("CreateReplica", "primary", p.Subject())),
			"%s has purged binary logs that are needed: they begin at %s, the snapshot is at %s",
			p.Name, p.Status.OldestGTID, cmp.Or(snap.Point.Position(), "(empty)"))
	}
	return nil
}

// checkImage refuses an image whose MariaDB cannot read the copy's datadir.
func (s *step) checkImage(ctx context.Context, p *kit.Node, image provider.Image) error {
	snap, err := s.Snapshot(ctx, s.args.Snapshot)
	if err != nil && !kit.Missing(err) {
		return err
	}
	copied := kit.CopiedVersion(snap, p)
	if err := kit.CheckVersions(copied, image.MariaDBVersion); err != nil {
		return err
	}
	return kit.CheckLog(copied, image.MariaDBVersion, cmp.Or(snap.Mode, s.args.Mode))
}

func dryPlan(ctx context.Context, c *kit.Call, p *kit.Preview, args Args) (_ []string,
	err error) {
	s := &step{Call: c, args: args}
	if p.Source, err = s.Serving(ctx, s.args.Source); err != nil {
		return nil, err
	}
	if err := s.checkPlan(ctx, p.Source); err != nil {
		return nil, err
	}
	if p.Image, err = s.Image(ctx, s.args.Image); err != nil {
		return nil, err
	}
	if s.args.Given {
		if p.Snapshot, err = s.Snapshot(ctx, s.args.Snapshot); err != nil {
			return nil, err
		}
	}
	if err := s.checkImage(ctx, p.Source, p.Image); err != nil {
		return nil, err
	}
	would := []string{kit.Sprintf("record %s and allocate a server_id", s.args.Server)}
	if p.Source.BinlogAutoPurge {
		would = append(would, "turn binlog auto purge of "+p.Source.Name+" off: it gets a replica")
	}
	return would, nil
}
