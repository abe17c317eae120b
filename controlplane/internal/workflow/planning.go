package workflow

import (
	"context"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// unlessGiven skips a step that takes a snapshot when the request brought one.
func unlessGiven(h handler) handler {
	return func(s *step, ctx context.Context) (outcome, error) {
		if !s.args.TakeSnapshot {
			return notNeeded("snapshot %s was given", s.args.Snapshot)
		}
		return h(s, ctx)
	}
}

// planPrimary checks that a primary can be made and allots what is unique about it.
func (s *step) planPrimary(ctx context.Context) (outcome, error) {
	if _, err := s.begun(ctx); err != nil {
		return outcome{}, err
	}
	image, err := s.image(ctx)
	if err != nil {
		return outcome{}, err
	}
	s.Found("image %s, MariaDB %s", image.Name,
		or(image.MariaDBVersion, "of a version not known yet"))
	return done(s.recordServer(image, "", s.args.Zone))
}

// begun is the record of the server that this job makes, as far as there is one. It refuses a name
// that is taken, and to begin anew, in this step alone, what was deleted.
func (s *step) begun(ctx context.Context) (inventory.Server, error) {
	srv, err := s.record(ctx, s.args.Server)
	switch {
	case missing(err):
		return inventory.Server{}, nil
	case err != nil:
		return srv, err
	case srv.Job == s.JobID && s.Alone:
		return srv, s.still(srv)
	case srv.Job != s.JobID && srv.State != inventory.ServerDeleted:
		return srv, taken(srv.Name)
	case srv.Job != s.JobID:
		return inventory.Server{}, nil
	}
	return srv, nil
}

// planReplica checks that a replica can be made, and allots what is unique about it. From here on
// the primary has a replica.
func (s *step) planReplica(ctx context.Context) (outcome, error) {
	srv, err := s.begun(ctx)
	if err != nil {
		return outcome{}, err
	}
	if everReady(srv) {
		s.Found("%s is a replica of %s with server_id %d", srv.Name, srv.Primary, srv.ServerID)
		return done(nil)
	}
	p, err := s.serving(ctx, s.args.Source)
	if err != nil {
		return outcome{}, err
	}
	if err := s.checkPlan(ctx, p); err != nil {
		return outcome{}, err
	}
	image, err := s.image(ctx)
	if err != nil {
		return outcome{}, err
	}
	s.Found("image %s, MariaDB %s", image.Name,
		or(image.MariaDBVersion, "of a version not known yet"))
	if err := s.checkImage(ctx, p, image); err != nil {
		return outcome{}, err
	}
	if err := s.keepBinlogs(ctx, p); err != nil {
		return outcome{}, err
	}
	if err := s.stopAutoPurge(ctx, p); err != nil {
		return outcome{}, err
	}
	return done(s.recordServer(image, p.srv.Name, or(s.args.Zone, p.srv.Zone)))
}

// checkPlan refuses a replica that cannot come to be as things stand.
func (s *step) checkPlan(ctx context.Context, p *node) error {
	if p.srv.Role != inventory.RolePrimary {
		return refuse(errorsv1.Reason_REASON_WRONG_ROLE,
			"name its primary instead: `understudy server get` says which", "%s is not a primary",
			p.srv.Name)
	}
	if p.srv.State == inventory.ServerDeleting || p.srv.State == inventory.ServerDeleted {
		return refuse(errorsv1.Reason_REASON_WRONG_ROLE,
			"it is going or gone: name another primary", "%s is %s", p.srv.Name, p.srv.State)
	}
	if !p.status.LogBin {
		return refuse(errorsv1.Reason_REASON_BINLOG_OFF,
			"set log_bin in its option files, restart mariadb.service, then ask again",
			"the binary log of %s is off: no replica can follow it", p.srv.Name)
	}
	if !p.status.TLS {
		return refuse(errorsv1.Reason_REASON_MARIADB_SETTING, "set ssl_cert, ssl_key and ssl_ca "+
			"in its option files, restart mariadb.service, then ask again",
			"TLS is off on %s: a replica would not connect", p.srv.Name)
	}
	s.Found("primary %s answers: MariaDB %s, position %s", p.srv.Name,
		shortVersion(p.status.ServerVersion), or(p.status.BinlogPos, "(empty)"))
	if s.args.TakeSnapshot {
		return nil
	}
	snap, err := s.snapshot(ctx)
	if err != nil {
		return err
	}
	return s.checkSnapshot(ctx, snap, p)
}

// checkSnapshot refuses a snapshot that no replica of the primary can be made from.
func (s *step) checkSnapshot(ctx context.Context, snap inventory.Snapshot, p *node) error {
	if err := s.usable(ctx, snap, p.srv.Name); err != nil {
		return err
	}
	at, err := s.w.Cloud.GetSnapshot(ctx, snap.ProviderID)
	switch {
	case missing(err):
		return refuse(errorsv1.Reason_REASON_SNAPSHOT_UNUSABLE,
			"somebody deleted it there: take another one (`understudy snapshot create`)",
			"snapshot %s is gone at the provider", snap.ProviderID)
	case err != nil:
		return err
	case at.State != provider.SnapshotCompleted:
		return refuse(errorsv1.Reason_REASON_SNAPSHOT_UNUSABLE,
			"wait until `understudy snapshot get` says READY, or take another one",
			"snapshot %s is %s at the provider", at.ID, at.State)
	}
	if s.args.VolumeBytes != 0 && s.args.VolumeBytes < at.SizeBytes {
		return errs.New(errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD,
			sprintf("a volume of %s is smaller than the snapshot's %s", sizeOf(s.args.VolumeBytes),
				sizeOf(at.SizeBytes)),
			errs.Field("volume_size_bytes", "must not be smaller than the snapshot"))
	}
	if zone := or(s.args.Zone, p.srv.Zone); !s.snapshotsInEveryZone() && snap.Zone != "" &&
		zone != "" && snap.Zone != zone {
		return refuse(errorsv1.Reason_REASON_SNAPSHOT_UNUSABLE,
			"make the replica with --zone "+snap.Zone, "snapshot %s is of zone %s, not %s", snap.ID,
			snap.Zone, zone)
	}
	s.Found("snapshot %s is READY: position %s, MariaDB %s", snap.ID,
		or(snap.Testimony.Position(), "(empty)"), snap.Testimony.Version)
	return checkBinlogs(snap, p)
}

func (s *step) snapshotsInEveryZone() bool {
	regional, ok := s.w.Cloud.(provider.Regional)
	return ok && regional.SnapshotsInEveryZone()
}

// usable asks the record's rule; a snapshot may also be of a replica of the primary.
func (s *step) usable(ctx context.Context, snap inventory.Snapshot, primary string) error {
	if snap.State != inventory.SnapshotReady || !proved(snap) {
		return refuse(errorsv1.Reason_REASON_SNAPSHOT_UNUSABLE,
			"wait until `understudy snapshot get` says READY, or take another one",
			"snapshot %s is %s", snap.ID, snap.State)
	}
	if err := snap.Usable(snap.Server); err != nil || snap.Server == primary {
		return err
	}
	source, err := s.server(ctx, snap.Server)
	if err != nil {
		return err
	}
	if snap.Testimony.Role != inventory.RoleReplica || source.Primary != primary {
		return refuse(errorsv1.Reason_REASON_SNAPSHOT_UNUSABLE, "take a snapshot of "+primary,
			"snapshot %s is of %s, which does not follow %s", snap.ID, snap.Server, primary)
	}
	return nil
}

// checkBinlogs refuses when the primary no longer has what a replica from the snapshot needs.
func checkBinlogs(snap inventory.Snapshot, p *node) error {
	covered, err := replication.Covers(snap.Testimony.Position(), p.status.OldestGTID)
	if err != nil {
		return err
	}
	if !covered {
		return refuse(errorsv1.Reason_REASON_BINLOGS_PURGED, "they are gone for good: take a new "+
			"snapshot, which `understudy replica create --of` does by itself",
			"%s has purged binary logs that are needed: they begin at %s, the snapshot is at %s",
			p.srv.Name, p.status.OldestGTID, or(snap.Testimony.Position(), "(empty)"))
	}
	return nil
}

// image is the one that was asked for, or the provider's default.
func (s *step) image(ctx context.Context) (provider.Image, error) {
	images, err := s.w.Cloud.Images(ctx)
	if err != nil {
		return provider.Image{}, err
	}
	var names []string
	for _, image := range images {
		if image.Name == s.args.Image || s.args.Image == "" && image.Ready {
			return image, nil
		}
		names = append(names, image.Name)
	}
	if s.args.Image == "" {
		return provider.Image{}, refuse(errorsv1.Reason_REASON_NOT_FOUND, "have one made first: "+
			"docs/providers.md says how; `understudy provider images` lists them",
			"the provider has no image that is ready")
	}
	return provider.Image{},
		refuse(errorsv1.Reason_REASON_NOT_FOUND, "name one of: "+someOf(names, 20),
			"there is no image %q", s.args.Image)
}

// checkImage refuses an image with a MariaDB of an older series than the copy's datadir, as far as
// both are known.
func (s *step) checkImage(ctx context.Context, p *node, image provider.Image) error {
	snap, err := s.snapshot(ctx)
	if err != nil && !missing(err) {
		return err
	}
	return checkVersions(copiedVersion(snap, p), image.MariaDBVersion)
}

// copiedVersion is of the MariaDB that wrote the datadir which the replica gets: the snapshot's, or
// that of the source of one to be taken.
func copiedVersion(snap inventory.Snapshot, source *node) string {
	return or(snap.Testimony.Version, or(source.status.ServerVersion, source.status.BinaryVersion))
}

// recordServer adds the record of the server that the job makes, with its server_id. A replica's
// primary loses binlog auto purge in the same transaction.
func (s *step) recordServer(image provider.Image, primary, zone string) commit {
	return func(ctx context.Context, rec Records) error {
		srv, err := rec.Servers().Get(ctx, s.args.Server)
		switch {
		case err == nil && srv.Job == s.JobID && srv.State != inventory.ServerDeleted:
			return nil // written by an earlier run of this step
		case err == nil && srv.State != inventory.ServerDeleted:
			return taken(srv.Name)
		case err != nil && !missing(err):
			return err
		}
		fresh := missing(err)
		if srv, err = s.newServer(srv, image, primary, zone); err != nil {
			return err
		}
		if srv.ServerID, err = rec.ServerIDs().Allot(ctx, srv.Name); err != nil {
			return err
		}
		if fresh {
			err = rec.Servers().Insert(ctx, &srv)
		} else {
			err = rec.Servers().Update(ctx, &srv)
		}
		if err != nil {
			return err
		}
		if err := s.gainReplica(ctx, rec, primary); err != nil {
			return err
		}
		return s.audit(ctx, rec, "server.create", srv.Subject(),
			"%s is being made with server_id %d", srv.Name, srv.ServerID)
	}
}

// newServer is the record as it begins; old is the one of a deleted server of that name.
func (s *step) newServer(old inventory.Server, image provider.Image, primary,
	zone string) (inventory.Server, error) {
	srv := inventory.Server{
		Name: s.args.Server, Provider: s.w.Cloud.Name(), Zone: zone, Image: image.Name,
		Port: s.args.Port, Job: s.JobID,
		Created: old.Created, Updated: old.Updated, Rev: old.Rev,
	}
	if err := srv.SetState(inventory.ServerProvisioning, ""); err != nil {
		return srv, err
	}
	if primary != "" {
		return srv, srv.BecomeReplica(primary, nil)
	}
	if err := srv.BecomePrimary(); err != nil {
		return srv, err
	}
	return srv, srv.SetBinlogAutoPurge(s.args.AutoPurge, nil)
}

// gainReplica readies a primary for a replica: replication counts as configured, and binlog auto
// purge is off.
func (s *step) gainReplica(ctx context.Context, rec Records, primary string) error {
	if primary == "" {
		return nil
	}
	p, err := rec.Servers().Get(ctx, primary)
	if err != nil || p.ReplicationConfigured && !p.BinlogAutoPurge {
		return err
	}
	purged := p.BinlogAutoPurge
	if err := p.GainReplica(); err != nil {
		return err
	}
	if err := rec.Servers().Update(ctx, &p); err != nil {
		return err
	}
	if !purged {
		return nil
	}
	return s.audit(ctx, rec, "server.update", p.Subject(),
		"binlog auto purge is off: %s gets the replica %s", primary, s.args.Server)
}

// reservation is the id under which this replica's job keeps the primary's binary logs: its
// snapshot's when it took one itself.
func (s *step) reservation() string {
	if s.args.TakeSnapshot {
		return s.args.Snapshot
	}
	return "job-" + s.JobID
}

// keepBinlogs keeps what the replica needs until it is connected, renewing the lease long before it
// ends.
func (s *step) keepBinlogs(ctx context.Context, p *node) error {
	snap, err := s.snapshot(ctx)
	if missing(err) || err == nil && snap.State != inventory.SnapshotReady {
		return nil // reserve_binlogs will see to it
	}
	if err != nil {
		return err
	}
	srv, err := s.server(ctx, s.args.Server)
	if err == nil && everReady(srv) {
		return nil // it is connected
	}
	if !s.renewalDue() {
		return nil
	}
	if p == nil {
		if p, err = s.serving(ctx, s.args.Source); err != nil {
			return err
		}
	}
	r, err := p.agent.ReserveBinlogs(ctx, s.reservation(), defaultReserve,
		snap.Testimony.Position(), s.fence())
	if err != nil {
		return err
	}
	s.renewedNow()
	s.Found("binary logs of %s from %s on are kept until %s", p.srv.Name, r.FirstFile,
		r.Expires.UTC().Format("2006-01-02 15:04 MST"))
	return nil
}

func (s *step) renewalDue() bool {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	last, ok := s.w.renewed[s.JobID]
	return !ok || time.Since(last) > defaultReserve/8
}

// renewAgain makes the next step reserve anew.
func (s *step) renewAgain() {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	delete(s.w.renewed, s.JobID)
}

func (s *step) renewedNow() {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.renewed[s.JobID] = time.Now()
}
