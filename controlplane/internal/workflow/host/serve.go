package host

import (
	"cmp"
	"context"
	"fmt"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// EnsureServing makes sure that MariaDB answers on the server's own data under its own settings,
// whatever state the host is in: the right mounts, the settings, the unit up and ready. A server
// that is so already is left alone.
func (h *Host) EnsureServing(ctx context.Context) (replication.Status, error) {
	st, err := h.Agent.Status(ctx)
	if err != nil {
		return st, fmt.Errorf("cannot observe MariaDB on %s: %w", h.Srv.Name, err)
	}
	if h.ServesRightly(st) {
		return st, nil
	}
	if h.observing {
		return st, h.ensureReadOnly(ctx, &st)
	}
	if st.Answers && len(st.Mismatches) > 0 {
		h.Found("MariaDB on %s ran with other settings: %s", h.Srv.Name, st.Mismatch())
		if err := StopMariaDB(ctx, h.Call, h.Agent); err != nil {
			return st, err
		}
	} else if st.Answers && (st.ServerID != h.Srv.ServerID ||
		st.FilesystemUUID != kit.FilesystemUUID(h.Vol)) {
		h.Found("MariaDB on %s ran with server_id %d on filesystem %s", h.Srv.Name, st.ServerID,
			st.FilesystemUUID)
		if err := StopMariaDB(ctx, h.Call, h.Agent); err != nil {
			return st, err
		}
	}
	if err := h.startRightly(ctx); err != nil {
		return st, err
	}
	if st, err = h.Agent.Status(ctx); err != nil {
		return st, err
	}
	return st, h.ensureReadOnly(ctx, &st)
}

// ServesRightly reports whether MariaDB answers as the server that it shall be, on the data that it
// shall have.
func (h *Host) ServesRightly(st replication.Status) bool {
	return st.Answers && len(st.Mismatches) == 0 && st.ServerID == h.Srv.ServerID &&
		st.FilesystemUUID == kit.FilesystemUUID(h.Vol) && (st.ReadOnly || !h.Replica())
}

func (h *Host) startRightly(ctx context.Context) error {
	data, err := h.EnsureMounts(ctx)
	if err != nil {
		return err
	}
	if err := h.checkRoom(data.Mount); err != nil {
		return err
	}
	if err := h.EnsureCleanCopy(ctx); err != nil {
		return err
	}
	if err := h.EnsureConfiguration(ctx); err != nil {
		return err
	}
	changes, err := h.Agent.EnsureUnit(ctx, kit.UnitRequest{Unit: kit.MariaDBUnit,
		Timeout: h.LeftFor(ctx),
		Token:   h.FencingToken()}, h.Say)
	if err != nil {
		return fmt.Errorf("cannot start MariaDB on %s: %w", h.Srv.Name, err)
	}
	h.ChangedAll(kit.MariaDBUnit, changes)
	return nil
}

// roomToStart is what MariaDB needs on its volume to recover and to open its logs.
const roomToStart = 16 << 20

// checkRoom refuses to start MariaDB on a full volume: it would not fail but wait for room, for as
// long as the step may take.
func (h *Host) checkRoom(data kit.Mount) error {
	if data.SizeBytes == 0 || data.FreeBytes >= roomToStart {
		return nil
	}
	return kit.Refuse(errorsv1.Reason_REASON_DISK_FULL,
		kit.Hint("delete what is not needed there, or grow the volume", kit.RetryThis()),
		"the data volume of %s has %s left of %s: MariaDB does not start on a full disk",
		h.Srv.Name, kit.Size(data.FreeBytes), kit.Size(data.SizeBytes))
}

// ensureReadOnly proves that the started MariaDB is the right one, and read-only when it is to be a
// replica.
func (h *Host) ensureReadOnly(ctx context.Context, st *replication.Status) error {
	if st.AccessDenied {
		return kit.NotAnswering(h.Srv.Name, *st)
	}
	if !st.Answers {
		return errs.New(errs.Unavailable, errorsv1.Reason_REASON_MARIADB_NOT_READY,
			kit.Sprintf("MariaDB on %s does not answer: %s", h.Srv.Name, st.DownReason),
			errs.WithHint("see journalctl -u mariadb on "+h.Srv.Name))
	}
	if len(st.Mismatches) > 0 {
		return kit.Refuse(errorsv1.Reason_REASON_MARIADB_SETTING, kit.Hint("remove the option "+
			"where the text says it is (`systemctl cat mariadb` there shows the unit with its "+
			"drop-ins)", kit.RetryThis()),
			"MariaDB on %s does not run with the settings that it needs: %s", h.Srv.Name,
			st.Mismatch())
	}
	if st.ServerID != h.Srv.ServerID {
		return kit.Refuse(errorsv1.Reason_REASON_MARIADB_SETTING, kit.Hint("take server_id out "+
			"of the other option files there (`my_print_defaults "+
			"--defaults-group-suffix=.understudy --mysqld` shows all)", kit.RetryThis()),
			"MariaDB on %s came up with server_id %d instead of %d", h.Srv.Name, st.ServerID,
			h.Srv.ServerID)
	}
	if st.FilesystemUUID != kit.FilesystemUUID(h.Vol) {
		return kit.Refuse(errorsv1.Reason_REASON_DEVICE_WRONG, kit.Hint("see what is mounted "+
			"there (`findmnt` on the host), detach what does not belong", kit.RetryThis()),
			"MariaDB on %s runs on filesystem %s instead of %s", h.Srv.Name, st.FilesystemUUID,
			kit.FilesystemUUID(h.Vol))
	}
	if h.Replica() && !st.ReadOnly {
		if h.observing {
			return kit.Refuse(errorsv1.Reason_REASON_WRONG_ROLE,
				kit.Hint("find what turned read_only off there, then ask again"),
				"%s is a replica and takes writes", h.Srv.Name)
		}
		if _, err := h.Agent.SetReadOnly(ctx, true, h.FencingToken()); err != nil {
			return err
		}
		st.ReadOnly = true
		h.Changed("made %s read-only", h.Srv.Name)
	}
	return nil
}

// pointOf is the position that the copy must come up at.
func pointOf(snap inventory.Snapshot) replication.Point {
	return replication.Point{Low: snap.Point.Position(), High: snap.MaxPosition,
		OfReplica: snap.Point.Replica}
}

// CheckRecovered refuses a copy that is not at the recorded position, or that wrote something
// itself. Once it replicates its position moves, and only the latter is asked.
func (h *Host) CheckRecovered(st replication.Status) error {
	way := kit.Hint("something wrote on the copy, so it is no copy any more: rebuild it",
		kit.Rebuild(h.Srv.Name))
	if errant := replication.Errant(st); errant != "" {
		return kit.Refuse(errorsv1.Reason_REASON_GTID_ERRANT, way,
			"%s holds transactions of its own: %s (it is at %s, the snapshot recorded %s)",
			h.Srv.Name, errant, st.BinlogPos, cmp.Or(h.Snap.Point.Position(), "(empty)"))
	}
	if _, ours := replication.Find(st.Connections, kit.Account(h.Srv.Name)); ours {
		h.Found("it replicates already")
		return nil
	}
	point := pointOf(h.Snap)
	if err := point.Check(st); err != nil {
		return kit.Refuse(errorsv1.Reason_REASON_GTID_MISMATCH, way, "%s: %v",
			h.Srv.Name, err)
	}
	h.Found("it came up at the recorded position %s", cmp.Or(point.Recovered(st), "(empty)"))
	return nil
}
