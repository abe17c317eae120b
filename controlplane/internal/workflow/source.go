package workflow

import (
	"context"
	"slices"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const minFree = 64 << 20 // bytes that a nonce, a checkpoint and some writes surely fit into

// checkPrimary makes sure that the source can be copied, and records the snapshot as pending.
func (s *step) checkPrimary(ctx context.Context) (outcome, error) {
	if snap, err := s.snapshot(ctx); err == nil && snap.State == inventory.SnapshotReady {
		s.Found("snapshot %s is READY", snap.ID)
		return done(nil)
	}
	n, err := s.serving(ctx, s.args.Source)
	if err != nil {
		return outcome{}, err
	}
	if n.status.Held {
		return s.again("another hold is under way on %s", n.srv.Name)
	}
	vol, err := s.checkSource(ctx, n)
	if err != nil {
		return outcome{}, err
	}
	return done(s.recordPending(n.srv, vol))
}

// checkSource looks at everything that a snapshot of the node needs and returns the volume that its
// datadir is proved to be on.
func (s *step) checkSource(ctx context.Context, n *node) (inventory.Volume, error) {
	if err := checkSourceState(n, s.args.Mode); err != nil {
		return inventory.Volume{}, err
	}
	if err := s.checkCutTime(); err != nil {
		return inventory.Volume{}, err
	}
	vol, err := s.sourceVolume(ctx, n)
	if err != nil {
		return vol, err
	}
	st := n.status
	s.Found("MariaDB %s answers, server_id %d, position %s", shortVersion(st.ServerVersion),
		st.ServerID, or(st.BinlogPos, "(empty)"))
	s.Found("datadir is on volume %s (%s, %s used, %s free)", vol.ProviderID, st.Filesystem,
		sizeOf(st.FilesystemUsed), sizeOf(st.FilesystemFree))
	if len(st.NonTransactional) > 0 {
		s.Found("%d tables are not transactional; the lock makes them consistent too: %s",
			len(st.NonTransactional), someOf(st.NonTransactional, 5))
	}
	if !st.StrictMode {
		s.Found("gtid_strict_mode is off on %s", n.srv.Name)
	}
	return vol, nil
}

func checkSourceState(n *node, mode inventory.SnapshotMode) error {
	st, name := n.status, n.srv.Name
	switch {
	case n.srv.State != inventory.ServerReady && n.srv.State != inventory.ServerUnreachable:
		return refuse(errorsv1.Reason_REASON_WRONG_ROLE, "see why with `understudy server get`; "+
			"wait until it is READY, or name another server", "%s is %s", name, n.srv.State)
	case !st.LogBin && n.srv.Role != inventory.RoleReplica:
		return refuse(errorsv1.Reason_REASON_BINLOG_OFF,
			"set log_bin in its option files, restart mariadb.service, then ask again",
			"the binary log of %s is off: no replica could follow it", name)
	case n.srv.Role == inventory.RoleReplica && !st.PositionTableIsSafe:
		return refuse(errorsv1.Reason_REASON_MARIADB_SETTING,
			"make it so there: ALTER TABLE mysql.gtid_slave_pos ENGINE=InnoDB",
			"the table that keeps the position of %s is not transactional", name)
	case st.FilesystemFree < minFree:
		return refuse(errorsv1.Reason_REASON_DISK_FULL,
			"delete what is not needed there, or grow the volume, then ask again",
			"the data volume of %s has %s left", name, sizeOf(st.FilesystemFree))
	case mode == inventory.ModeCrash && (st.SyncBinlog != 1 || st.FlushAtCommit != 1):
		return refuse(errorsv1.Reason_REASON_MARIADB_SETTING,
			"set both to 1, or take the snapshot with --mode online",
			"a snapshot without a lock needs sync_binlog=1 and innodb_flush_log_at_trx_commit=1; "+
				"on %s they are %d and %d", name, st.SyncBinlog, st.FlushAtCommit)
	case mode == inventory.ModeCrash && len(st.NonTransactional) > 0:
		return refuse(errorsv1.Reason_REASON_TABLES_NOT_TRANSACTIONAL,
			"take the snapshot with --mode online, which holds them still",
			"a snapshot without a lock would tear tables that are not transactional: %s",
			someOf(st.NonTransactional, 5))
	}
	return nil
}

// sourceVolume proves that the datadir is on the one data volume that the record names.
func (s *step) sourceVolume(ctx context.Context, n *node) (inventory.Volume, error) {
	vol, at, err := s.dataVolume(ctx, n.srv)
	if err != nil {
		return vol, err
	}
	mount, err := n.agent.Mount(ctx, dataMount)
	if err != nil {
		return vol, err
	}
	if !mount.Mounted || !overlap(mount.DeviceIDs, s.w.Cloud.DeviceNames(at.ID)) ||
		mount.UUID != n.status.FilesystemUUID {
		return vol, refuse(errorsv1.Reason_REASON_MOUNT_WRONG_SOURCE, "see what is mounted there "+
			"(`findmnt` on the host), detach what does not belong, then `understudy job retry JOB`",
			"the datadir of %s is not on its data volume %s: %s is mounted at %s, the datadir's "+
				"filesystem is %s", n.srv.Name, at.ID,
			someOf(mount.DeviceIDs, 3), dataMount, n.status.FilesystemUUID)
	}
	return vol, nil
}

// dataVolume reads a server's data volume, from the record and from the provider, and refuses one
// that is not attached to the server's machine.
func (s *step) dataVolume(ctx context.Context,
	srv inventory.Server) (vol inventory.Volume, at provider.Volume, err error) {
	if srv.DataVolume == "" {
		return vol, at, refuse(errorsv1.Reason_REASON_DEVICE_MISSING, "have it attached: "+
			"`understudy job retry JOB --step swap_volume` of the job that made the server",
			"%s has no data volume on record", srv.Name)
	}
	err = s.read(ctx, func(ctx context.Context, rec Records) (err error) {
		vol, err = rec.Volumes().Get(ctx, srv.DataVolume)
		return err
	})
	if err != nil {
		return vol, at, err
	}
	if at, err = s.w.Cloud.GetVolume(ctx, vol.ProviderID); err != nil {
		return vol, at, err
	}
	if at.MachineID != srv.MachineID || at.Attachment != provider.AttachmentAttached {
		if err := s.machineFit(ctx, srv); err != nil {
			return vol, at, err
		}
		return vol, at, refuse(errorsv1.Reason_REASON_DEVICE_MISSING, "have it attached again: "+
			"`understudy job retry JOB --step swap_volume` of the job that made the server",
			"volume %s of %s is %s, attached to machine %q and not to %s",
			at.ID, srv.Name, at.State, at.MachineID, srv.MachineID)
	}
	return vol, at, nil
}

// recordPending writes the snapshot's record, or makes one that failed before pending again.
func (s *step) recordPending(srv inventory.Server, vol inventory.Volume) commit {
	return func(ctx context.Context, rec Records) error {
		snap, err := rec.Snapshots().Get(ctx, s.args.Snapshot)
		if missing(err) {
			snap = inventory.Snapshot{
				ID: s.args.Snapshot, Server: srv.Name, Volume: vol.ID, Provider: srv.Provider,
				Zone: srv.Zone, SizeBytes: vol.SizeBytes,
				Mode: s.args.Mode, State: inventory.SnapshotPending, Job: s.JobID,
				EffectKey: s.EffectKey,
			}
			if err := rec.Snapshots().Insert(ctx, &snap); err != nil {
				return err
			}
			return s.audit(ctx, rec, "snapshot.create", snap.Subject(), "snapshot of %s began",
				srv.Name)
		}
		if err != nil || snap.State == inventory.SnapshotPending ||
			snap.State == inventory.SnapshotReady {
			return err
		}
		if err := snap.SetState(inventory.SnapshotPending, ""); err != nil {
			return err
		}
		snap.ProviderID = ""
		return rec.Snapshots().Update(ctx, &snap)
	}
}

// reserveBinlogs keeps the source's binary logs for whoever replicates from the snapshot.
func (s *step) reserveBinlogs(ctx context.Context) (outcome, error) {
	snap, err := s.snapshot(ctx)
	if err != nil {
		return outcome{}, err
	}
	if snap.State == inventory.SnapshotReady && snap.Reservation == "" {
		s.Found("the reservation of %s has served its purpose", snap.ID)
		return done(nil)
	}
	n, err := s.serving(ctx, s.args.Source)
	if err != nil {
		return outcome{}, err
	}
	for _, r := range n.status.Reservations {
		if r.ID == snap.ID && r.Expires.Sub(s.w.Now()) > s.args.Reserve/2 {
			s.Found("binary logs from %s on are reserved until %s", r.FirstFile,
				r.Expires.UTC().Format("2006-01-02 15:04 MST"))
			return done(s.recordReservation(r.ID, r.Expires))
		}
	}
	r, err := n.agent.ReserveBinlogs(ctx, snap.ID, s.args.Reserve, snap.Testimony.Position(),
		s.fence())
	if err != nil {
		return outcome{}, err
	}
	s.Changed("binary logs from %s on are kept until %s", r.FirstFile,
		r.Expires.UTC().Format("2006-01-02 15:04 MST"))
	return done(s.recordReservation(r.ID, r.Expires))
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}
