package snapshot

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const minFree = 64 << 20 // bytes that a nonce, a checkpoint and some writes surely fit into

// checkPrimary makes sure that the source can be copied, and records the snapshot as pending.
func (s *step) checkPrimary(ctx context.Context) (kit.Outcome, error) {
	if snap, err := s.snapshot(ctx); err == nil && snap.State == inventory.SnapshotReady {
		s.Found("snapshot %s is READY", snap.ID)
		return kit.Done(nil)
	}
	n, err := s.Serving(ctx, s.args.Source)
	if err != nil {
		return kit.Outcome{}, err
	}
	if n.Status.Held {
		return s.Again("another quiesce is under way on %s", n.Name)
	}
	vol, err := s.checkSource(ctx, n)
	if err != nil {
		return kit.Outcome{}, err
	}
	return kit.Done(s.recordPending(n.Server, vol))
}

// checkSource observes everything that a snapshot of the node needs and returns the volume that its
// datadir is proved to be on. The dry run and the jobs that make a replica come here too.
func (s *step) checkSource(ctx context.Context, n *kit.Node) (inventory.Volume, error) {
	if err := checkSourceState(n, s.args.Mode); err != nil {
		return inventory.Volume{}, err
	}
	if err := host.LogsAll(n); err != nil {
		return inventory.Volume{}, err
	}
	if err := s.CheckCopyTime(s.args); err != nil {
		return inventory.Volume{}, err
	}
	vol, err := s.sourceVolume(ctx, n)
	if err != nil {
		return vol, err
	}
	contract, err := n.Agent.CheckDatadir(ctx)
	if err != nil {
		return vol, fmt.Errorf("cannot take a snapshot of %s: %w", n.Name, err)
	}
	st := n.Status
	s.Found("MariaDB %s answers, server_id %d, position %s", kit.ShortVersion(st.ServerVersion),
		st.ServerID, cmp.Or(st.BinlogPos, "(empty)"))
	s.Found("datadir is on volume %s (%s, %s used, %s free)", vol.ProviderID, st.Filesystem,
		kit.Size(st.FilesystemUsed), kit.Size(st.FilesystemFree))
	s.tellOfTables(st)
	if needs := slices.Concat(contract.Libraries, contract.Collations); len(needs) > 0 {
		s.Found("a replica's host needs %s", kit.SomeOf(needs, 5))
	}
	if contract.KeyLibrary != "" {
		s.Found("a replica's host needs the encryption keys of %s", n.Name)
	}
	if !st.StrictMode {
		s.Found("gtid_strict_mode is off on %s", n.Name)
	}
	return vol, nil
}

// tellOfTables says which tables a copy has differently from what a user may expect.
func (s *step) tellOfTables(st replication.Status) {
	torn := slices.DeleteFunc(slices.Clone(st.NonTransactional),
		func(name string) bool { return slices.Contains(st.Memory, name) })
	if len(torn) > 0 {
		s.Found("%d tables are not transactional; the lock makes them consistent too: %s",
			len(torn), kit.SomeOf(torn, 5))
	}
	if len(st.Memory) > 0 {
		s.Found("%d MEMORY tables: a copy has them without rows, and empty again after each "+
			"start; they are not compared: %s", len(st.Memory), kit.SomeOf(st.Memory, 5))
	}
	if format := st.Settings["binlog_format"]; format != "" && format != "ROW" {
		s.Found("binlog_format is %s: a copy has no temporary tables of sessions that are open "+
			"now, and a statement on one of them would stop its replication (error 1146)", format)
	}
}

// checkSourceState refuses by the node's record and status alone. That the datadir's filesystem is
// the one on the data volume is proved after it.
func checkSourceState(n *kit.Node, mode inventory.SnapshotMode) error {
	st, name := n.Status, n.Name
	switch {
	case n.State != inventory.ServerReady && n.State != inventory.ServerUnreachable:
		return kit.Refuse(errorsv1.Reason_REASON_WRONG_ROLE, kit.Hint("wait until it is READY, "+
			"or name another server", kit.GetServer(name)), "%s is %s", name, n.State)
	case !st.LogBin && n.Role != inventory.RoleReplica:
		return kit.Refuse(errorsv1.Reason_REASON_BINLOG_OFF,
			kit.Hint("set log_bin in its option files, restart mariadb.service, then ask again"),
			"the binary log of %s is off: no replica could follow it", name)
	case cmp.Or(st.Settings["gtid_slave_pos_engine"], "InnoDB") != "InnoDB": // a copy has it too
		return kit.Refuse(errorsv1.Reason_REASON_MARIADB_SETTING,
			kit.Hint("make it so there: ALTER TABLE mysql.gtid_slave_pos ENGINE=InnoDB"),
			"the table that keeps the position of %s is not transactional", name)
	case st.FilesystemFree < minFree:
		return kit.Refuse(errorsv1.Reason_REASON_DISK_FULL,
			kit.Hint("delete what is not needed there, or grow the volume, then ask again"),
			"the data volume of %s has %s left", name, kit.Size(st.FilesystemFree))
	case mode == inventory.ModeCrash && (st.SyncBinlog != 1 || st.FlushAtCommit != 1):
		return kit.Refuse(errorsv1.Reason_REASON_MARIADB_SETTING,
			kit.Hint("set both to 1, or take the snapshot with --mode online"),
			"a snapshot without a lock needs sync_binlog=1 and "+
				"innodb_flush_log_at_trx_commit=1; on %s they are %d and %d", name, st.SyncBinlog,
			st.FlushAtCommit)
	case mode == inventory.ModeCrash && len(st.NonTransactional) > 0:
		return kit.Refuse(errorsv1.Reason_REASON_TABLES_NOT_TRANSACTIONAL,
			kit.Hint("take the snapshot with --mode online, which holds them still"),
			"a snapshot without a lock would tear tables that are not transactional: %s",
			kit.SomeOf(st.NonTransactional, 5))
	}
	return nil
}

// sourceVolume proves that the datadir is on the one data volume that the record names.
func (s *step) sourceVolume(ctx context.Context, n *kit.Node) (inventory.Volume, error) {
	vol, at, err := host.DataVolume(ctx, s.Call, n.Server)
	if err != nil {
		return vol, err
	}
	mount, err := n.Agent.Mount(ctx, kit.DataMount)
	if err != nil {
		return vol, err
	}
	if !mount.Mounted || !kit.Overlap(mount.DeviceIDs, s.Provider.DeviceNames(at.ID)) ||
		mount.UUID != n.Status.FilesystemUUID {
		return vol, kit.Refuse(errorsv1.Reason_REASON_MOUNT_WRONG_SOURCE,
			kit.Hint("see what is mounted there (`findmnt` on the host), detach what does not "+
				"belong", kit.RetryThis()),
			"the datadir of %s is not on its data volume %s: %s is mounted at %s, the datadir's "+
				"filesystem is %s", n.Name, at.ID,
			kit.SomeOf(mount.DeviceIDs, 3), kit.DataMount, n.Status.FilesystemUUID)
	}
	return vol, nil
}

// recordPending writes the snapshot's record, or makes one that failed before pending again.
func (s *step) recordPending(srv inventory.Server, vol inventory.Volume) kit.Commit {
	return func(ctx context.Context, rec kit.Records) error {
		snap, err := rec.Snapshots.Get(ctx, s.args.Snapshot)
		if kit.Missing(err) {
			snap = inventory.Snapshot{
				ID: s.args.Snapshot, Server: srv.Name, Volume: vol.ID, Provider: srv.Provider,
				Zone: srv.Zone, SizeBytes: vol.SizeBytes,
				Mode: s.args.Mode, State: inventory.SnapshotPending, Job: s.JobID,
				EffectKey: s.EffectKey,
			}
			if err := rec.Snapshots.Insert(ctx, &snap); err != nil {
				return err
			}
			return s.Event(ctx, rec, "snapshot.create", snap.Subject(), "snapshot of %s began",
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
		return rec.Snapshots.Update(ctx, &snap)
	}
}
