package workflow

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// applierThreads lets a replica commit in groups, as its primary does: with one thread and durable
// commits it falls behind under load.
const applierThreads = "4"

// logName is the same on every server: a copy brings the source's binary logs along, and MariaDB
// recovers by those of its own name.
const logName = "mariadb-bin"

// configuration is the whole of what the server's MariaDB shall read from our option file.
func (s *step) configuration(srv inventory.Server, options map[string]string) Configuration {
	c := Configuration{
		ServerID: srv.ServerID, BindAddress: "0.0.0.0", Port: srv.Port, LogBin: logName,
		LogUpdates: true, StrictMode: true,
		TLS: true, ReportHost: srv.Name, Durable: true, EventScheduler: false,
		Options: cloneOptions(options), Fence: s.fence(),
		BinlogExpire: BinlogExpiry(srv.BinlogAutoPurge),
	}
	if srv.Role == inventory.RoleReplica {
		c.ReadOnly = true
		// Until it was proved to be a replica it starts nothing by itself.
		c.SkipReplicaStart = !everReady(srv)
		c.Options = withDefault(c.Options, "slave_parallel_threads", applierThreads)
	}
	return c
}

func withDefault(options map[string]string, name, value string) map[string]string {
	if _, given := options[name]; given {
		return options
	}
	if options == nil {
		options = map[string]string{}
	}
	options[name] = value
	return options
}

// everReady reports whether the server was proved to do what its role says.
func everReady(srv inventory.Server) bool {
	return srv.State == inventory.ServerReady || srv.State == inventory.ServerUnreachable ||
		srv.State == inventory.ServerDegraded
}

// configureMariaDB writes our option file; MariaDB reads it at its next start.
func (s *step) configureMariaDB(ctx context.Context) (outcome, error) {
	h, err := s.host(ctx)
	if err != nil {
		return outcome{}, err
	}
	if err := s.ensureConfiguration(ctx, h); err != nil {
		return outcome{}, err
	}
	return done(nil)
}

func (s *step) ensureConfiguration(ctx context.Context, h *host) error {
	c, err := h.agent.SetConfiguration(ctx, s.configuration(h.srv, s.args.Options))
	if err != nil {
		return fmt.Errorf("cannot configure MariaDB on %s: %w", h.srv.Name, err)
	}
	if c.Changed {
		s.Changed("wrote the settings of %s: server_id %d", h.srv.Name, h.srv.ServerID)
	}
	if s.Step != "configure_mariadb" && !c.Changed {
		return nil
	}
	for _, line := range c.Overridden {
		s.Found("overridden: %s", line)
	}
	return nil
}

// ensureServing makes sure that MariaDB answers on the server's own data under its own settings,
// whatever state the host is in: the right mounts, the settings, the unit up and ready. A server
// that is so already is left alone.
func (s *step) ensureServing(ctx context.Context, h *host) (replication.Status, error) {
	st, err := h.agent.Status(ctx)
	if err != nil {
		return st, fmt.Errorf("cannot look at MariaDB on %s: %w", h.srv.Name, err)
	}
	if s.servesRightly(h, st) {
		return st, nil
	}
	if st.Answers && (st.ServerID != h.srv.ServerID || st.FilesystemUUID != filesystemUUID(h.vol)) {
		s.Found("MariaDB on %s ran with server_id %d on filesystem %s", h.srv.Name, st.ServerID,
			st.FilesystemUUID)
		if err := s.quiesce(ctx, h.agent); err != nil {
			return st, err
		}
	}
	if err := s.startRightly(ctx, h); err != nil {
		return st, err
	}
	if st, err = h.agent.Status(ctx); err != nil {
		return st, err
	}
	return st, s.ensureReadOnly(ctx, h, &st)
}

// servesRightly reports whether MariaDB answers as the server that it shall be, on the data that it
// shall have.
func (s *step) servesRightly(h *host, st replication.Status) bool {
	return st.Answers && st.ServerID == h.srv.ServerID &&
		st.FilesystemUUID == filesystemUUID(h.vol) && (st.ReadOnly || !h.replica())
}

func (s *step) startRightly(ctx context.Context, h *host) error {
	data, err := s.ensureMounts(ctx, h)
	if err != nil {
		return err
	}
	if err := checkRoom(h, data); err != nil {
		return err
	}
	if err := s.ensureCleanCopy(ctx, h); err != nil {
		return err
	}
	if err := s.ensureConfiguration(ctx, h); err != nil {
		return err
	}
	up, err := h.agent.EnsureUnit(ctx, EnsureUnit{Unit: mariadbUnit, Timeout: s.leftOf(ctx),
		Fence: s.fence()}, s.say)
	if err != nil {
		return fmt.Errorf("cannot start MariaDB on %s: %w", h.srv.Name, err)
	}
	s.changed(mariadbUnit, up.Changes)
	return nil
}

// roomToStart is what MariaDB needs on its volume to recover and to open its logs.
const roomToStart = 16 << 20

// checkRoom refuses to start MariaDB on a full volume: it would not fail but wait for room, for as
// long as the step may take.
func checkRoom(h *host, data Mount) error {
	if data.SizeBytes == 0 || data.FreeBytes >= roomToStart {
		return nil
	}
	return refuse(errorsv1.Reason_REASON_DISK_FULL,
		"delete what is not needed there, or grow the volume, then `understudy job retry JOB`",
		"the data volume of %s has %s left of %s: MariaDB does not start on a full disk",
		h.srv.Name, sizeOf(data.FreeBytes), sizeOf(data.SizeBytes))
}

// leftOf is the time that a long call of an agent may take: a little less than the attempt still
// has, at most the agent's limit.
func (s *step) leftOf(ctx context.Context) time.Duration {
	end, ok := ctx.Deadline()
	if !ok {
		return time.Hour
	}
	left := time.Until(end)
	return max(min(left-left/10, 6*time.Hour), time.Second)
}

// ensureReadOnly proves that the started MariaDB is the right one, and read-only when it is to be a
// replica.
func (s *step) ensureReadOnly(ctx context.Context, h *host, st *replication.Status) error {
	if !st.Answers {
		return errs.New(errs.Unavailable, errorsv1.Reason_REASON_MARIADB_NOT_READY,
			sprintf("MariaDB on %s does not answer: %s", h.srv.Name, st.DownReason),
			errs.WithHint("see journalctl -u mariadb on "+h.srv.Name))
	}
	if st.ServerID != h.srv.ServerID {
		return refuse(errorsv1.Reason_REASON_MARIADB_SETTING, "take server_id out of the other "+
			"option files there (`my_print_defaults --mysqld` shows all), then `understudy job "+
			"retry JOB`",
			"MariaDB on %s came up with server_id %d instead of %d", h.srv.Name, st.ServerID,
			h.srv.ServerID)
	}
	if st.FilesystemUUID != filesystemUUID(h.vol) {
		return refuse(errorsv1.Reason_REASON_DEVICE_WRONG, "see what is mounted there (`findmnt` "+
			"on the host), detach what does not belong, then `understudy job retry JOB`",
			"MariaDB on %s runs on filesystem %s instead of %s", h.srv.Name, st.FilesystemUUID,
			filesystemUUID(h.vol))
	}
	if h.replica() && !st.ReadOnly {
		if _, err := h.agent.SetReadOnly(ctx, true, s.fence()); err != nil {
			return err
		}
		st.ReadOnly = true
		s.Changed("made %s read-only", h.srv.Name)
	}
	return nil
}

// startMariaDB makes sure that MariaDB is up on the server's data, and that a copy came up at the
// position that was recorded.
func (s *step) startMariaDB(ctx context.Context) (outcome, error) {
	h, err := s.host(ctx)
	if err != nil {
		return outcome{}, err
	}
	st, err := s.ensureServing(ctx, h)
	if err != nil {
		return outcome{}, err
	}
	s.Found("MariaDB %s answers on %s, server_id %d", shortVersion(st.ServerVersion), h.srv.Name,
		st.ServerID)
	if h.replica() {
		if err := s.checkRecovered(h, st); err != nil {
			return outcome{}, err
		}
	}
	return done(s.updateServer(h.srv.Name, func(srv *inventory.Server) error {
		srv.BinaryVersion, srv.LastSeen = or(st.BinaryVersion, srv.BinaryVersion), s.w.Now()
		// see host.started
		srv.DatadirVersion = or(st.DatadirVersion, or(h.snap.Testimony.Version, st.ServerVersion))
		return nil
	}, "MariaDB %s is up", shortVersion(st.ServerVersion)))
}

// pointOf is the position that the copy must come up at.
func pointOf(t inventory.Testimony, mode inventory.SnapshotMode) replication.Point {
	p := replication.Point{Low: t.Position(), OfReplica: t.Role == inventory.RoleReplica}
	if mode == inventory.ModeCrash {
		// of a snapshot without a lock: what was committed until after the cut
		p.High = t.GTIDCurrentPos
	}
	return p
}

// checkRecovered refuses a copy that is not at the recorded position, or that wrote something
// itself. Once it replicates its position moves, and only the latter is asked.
func (s *step) checkRecovered(h *host, st replication.Status) error {
	const way = "something wrote on the copy, so it is no copy any more: clean this job up and " +
		"make the replica again"
	if errant := replication.Errant(st); errant != "" {
		return refuse(errorsv1.Reason_REASON_GTID_ERRANT, way,
			"%s holds transactions of its own: %s (it is at %s, the snapshot recorded %s)",
			h.srv.Name, errant, st.BinlogPos, or(h.snap.Testimony.Position(), "(empty)"))
	}
	if _, ours := replication.Find(st.Connections, accountOf(h.srv.Name)); ours {
		s.Found("it replicates already")
		return nil
	}
	point := pointOf(h.snap.Testimony, h.snap.Mode)
	if err := point.Check(st); err != nil {
		return refuse(errorsv1.Reason_REASON_GTID_MISMATCH, way, "%s: %v", h.srv.Name, err)
	}
	s.Found("it came up at the recorded position %s", or(point.Recovered(st), "(empty)"))
	return nil
}

// upgradeMariaDB brings the system tables of an older datadir to the binary's series.
func (s *step) upgradeMariaDB(ctx context.Context) (outcome, error) {
	h, err := s.host(ctx)
	if err != nil {
		return outcome{}, err
	}
	st, err := s.ensureServing(ctx, h)
	if err != nil {
		return outcome{}, err
	}
	datadir := or(st.DatadirVersion, h.snap.Testimony.Version)
	if err := checkVersions(datadir, st.BinaryVersion); err != nil {
		return outcome{}, err
	}
	if order, ok := replication.CompareSeries(datadir, st.BinaryVersion); ok && order == 0 {
		return notNeeded("datadir and binary are both of %s", replication.Series(st.BinaryVersion))
	}
	version, changed, err := h.agent.UpgradeDatadir(ctx, s.leftOf(ctx), s.fence(), s.say)
	if err != nil {
		return outcome{}, fmt.Errorf("cannot upgrade the datadir of %s: %w", h.srv.Name, err)
	}
	if changed {
		s.Changed("upgraded the system tables from %s to %s", datadir, version)
	}
	return done(s.updateServer(h.srv.Name, func(srv *inventory.Server) error {
		srv.DatadirVersion = version
		return nil
	}, "the datadir is of %s", version))
}

// checkVersions refuses a datadir of a newer series than the binary.
func checkVersions(datadir, binary string) error {
	if order, ok := replication.CompareSeries(datadir, binary); ok && order > 0 {
		return refuse(errorsv1.Reason_REASON_DATADIR_NEWER,
			"use an image with MariaDB "+replication.Series(datadir)+" or newer",
			"the datadir is of MariaDB %s, the binary is %s: a datadir never goes back", datadir,
			binary)
	}
	return nil
}
