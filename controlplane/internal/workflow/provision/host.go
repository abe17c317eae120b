package provision

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// mountData makes sure that the server's volume, proved to be the right one, is mounted where
// MariaDB expects its datadir, and that the datadir is fit for a first start here.
func (s *step) mountData(ctx context.Context, h *host.Host) (kit.Outcome, error) {
	if h.Replica() {
		if err := host.KeepBinlogs(ctx, s.Call, s.args, nil, h.Started()); err != nil {
			return kit.Outcome{}, err
		}
	}
	settled, err := h.Settled(ctx)
	if err != nil {
		return kit.Outcome{}, err
	}
	if !settled {
		// Whatever runs there now runs on something else than the server's data, and must not wake
		// up on it.
		if err := host.StopMariaDB(ctx, s.Call, h.Agent); err != nil {
			return kit.Outcome{}, err
		}
	}
	data, err := h.EnsureMounts(ctx)
	if err != nil {
		return kit.Outcome{}, err
	}
	for _, line := range data.Found {
		s.Found("%s", line)
	}
	if err := h.EnsureCleanCopy(ctx); err != nil {
		return kit.Outcome{}, err
	}
	return kit.Done(s.UpdateServer(h.Srv.Name, func(srv *inventory.Server) error {
		srv.Mounts = []inventory.Mount{{Volume: h.Vol.ID, Path: kit.DataMount,
			FSType: data.Mount.Filesystem, FSUUID: data.Mount.UUID}}
		return nil
	}, "volume %s is mounted at %s", h.At.ID, kit.DataMount))
}

// configureMariaDB writes our option file; MariaDB reads it at its next start.
func (s *step) configureMariaDB(ctx context.Context, h *host.Host) (kit.Outcome, error) {
	return kit.DoneUnless(h.EnsureConfiguration(ctx))
}

// formatVolume makes a filesystem on a volume that is recorded blank and probes blank. One that
// MariaDB was up on is none: what is missing there is lost.
func formatVolume(ctx context.Context, c *kit.Call, a Args) (kit.Outcome, error) {
	h, err := host.Open(ctx, c, a.ForMaking())
	if err != nil {
		return kit.Outcome{}, err
	}
	if !h.Vol.Blank() || h.At.SnapshotID != "" {
		return kit.Outcome{}, kit.Refuse(errorsv1.Reason_REASON_DEVICE_NOT_BLANK,
			kit.Hint("have a blank one made: nothing was written to this one",
				kit.RedoThis(kit.StepSwapVolume)),
			"volume %s is not recorded blank: it is not formatted", h.At.ID)
	}
	if h.Started() {
		c.Found("the volume is in use")
		return kit.Done(nil)
	}
	device, changed, err := h.Agent.FormatVolume(ctx, kit.FormatVolume{
		DeviceIDs: c.Provider.DeviceNames(h.At.ID), Filesystem: a.Filesystem,
		FilesystemUUID: kit.FilesystemUUID(h.Vol), RecordedBlank: true,
		DeviceTimeout: time.Minute, Token: c.FencingToken(),
	})
	if err != nil {
		return kit.Outcome{}, fmt.Errorf("cannot format volume %s: %w", h.At.ID, err)
	}
	c.Found("volume %s is %s as %s", h.At.ID, device.Path, device.Filesystem)
	if changed {
		c.Changed("made %s on volume %s", a.Filesystem, h.At.ID)
	}
	return kit.Done(nil)
}

// initializeDatadir makes a new datadir where there is none. A volume that MariaDB was up on gets
// none: what is missing there is lost.
func (s *step) initializeDatadir(ctx context.Context, h *host.Host) (kit.Outcome, error) {
	st, err := h.Agent.Status(ctx)
	if err != nil {
		return kit.Outcome{}, err
	}
	if h.ServesRightly(st) || h.Started() {
		s.Found("the datadir is in use")
		return kit.Done(nil)
	}
	if _, err := h.EnsureMounts(ctx); err != nil {
		return kit.Outcome{}, err
	}
	p, err := h.Agent.PrepareDatadir(ctx, kit.PrepareDatadir{Datadir: kit.DatadirPath,
		Initialize: true,
		Token:      s.FencingToken()})
	if err != nil {
		return kit.Outcome{}, fmt.Errorf("cannot make the datadir of %s: %w", h.Srv.Name, err)
	}
	s.ChangedAll(kit.DatadirPath, p.Changes)
	return kit.Done(nil)
}

// startMariaDB starts MariaDB on the server's own data and proves a copy's position.
func (s *step) startMariaDB(ctx context.Context, h *host.Host) (kit.Outcome, error) {
	st, err := h.EnsureServing(ctx)
	if err != nil {
		return kit.Outcome{}, err
	}
	s.Found("MariaDB %s answers on %s, server_id %d", kit.ShortVersion(st.ServerVersion),
		h.Srv.Name,
		st.ServerID)
	if h.Replica() {
		if err := h.CheckRecovered(st); err != nil {
			return kit.Outcome{}, err
		}
	}
	return kit.Done(s.UpdateServer(h.Srv.Name, func(srv *inventory.Server) error {
		srv.BinaryVersion, srv.LastSeen = cmp.Or(st.BinaryVersion, srv.BinaryVersion), s.Now()
		// see host.Host.Started
		srv.DatadirVersion = cmp.Or(st.DatadirVersion, h.Snap.Point.ServerVersion,
			st.ServerVersion)
		return nil
	}, "MariaDB %s is up", kit.ShortVersion(st.ServerVersion)))
}

// upgradeMariaDB brings the system tables of an older datadir to the binary's series.
func (s *step) upgradeMariaDB(ctx context.Context, h *host.Host) (kit.Outcome, error) {
	st, err := h.EnsureServing(ctx)
	if err != nil {
		return kit.Outcome{}, err
	}
	datadir := cmp.Or(st.DatadirVersion, h.Snap.Point.ServerVersion)
	if err := kit.CheckVersions(datadir, st.BinaryVersion); err != nil {
		return kit.Outcome{}, err
	}
	if order, ok := replication.CompareSeries(datadir, st.BinaryVersion); ok && order == 0 {
		return kit.NotNeeded("datadir and binary are both of %s",
			replication.Series(st.BinaryVersion))
	}
	version, changed, err := h.Agent.UpgradeDatadir(ctx, s.LeftFor(ctx), s.FencingToken(), s.Say)
	if err != nil {
		return kit.Outcome{}, fmt.Errorf("cannot upgrade the datadir of %s: %w", h.Srv.Name, err)
	}
	if changed {
		s.Changed("upgraded the system tables from %s to %s", datadir, version)
	}
	return kit.Done(s.UpdateServer(h.Srv.Name, func(srv *inventory.Server) error {
		srv.DatadirVersion = version
		return nil
	}, "the datadir is of %s", version))
}
