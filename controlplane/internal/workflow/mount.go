package workflow

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// host is the server that a job makes: its records, its volume as the provider sees it, its agent.
type host struct {
	srv   inventory.Server
	vol   inventory.Volume
	at    provider.Volume
	snap  inventory.Snapshot // that the volume was made from; zero for a primary
	agent Agent
}

// replica reports whether the server is to follow a primary.
func (h *host) replica() bool { return h.srv.Role == inventory.RoleReplica }

// host reads what is on record of the job's server and looks whether it is so at the provider.
func (s *step) host(ctx context.Context) (*host, error) {
	srv, err := s.server(ctx, s.args.Server)
	if err != nil {
		return nil, err
	}
	h := &host{srv: srv}
	if h.vol, h.at, err = s.dataVolume(ctx, srv); err != nil {
		return nil, err
	}
	if h.vol.Snapshot != "" {
		if h.snap, err = s.snapshot(ctx); err != nil {
			return nil, err
		}
	}
	if h.agent, err = s.w.Agents.Agent(ctx, srv.Name); err != nil {
		return nil, fmt.Errorf("cannot reach the agent of %s: %w", srv.Name, err)
	}
	return h, nil
}

// mountData makes sure that the server's volume, proved to be the right one, is mounted where
// MariaDB expects its datadir, and that the datadir is fit for a first start here.
func (s *step) mountData(ctx context.Context) (outcome, error) {
	h, err := s.host(ctx)
	if err != nil {
		return outcome{}, err
	}
	if h.replica() {
		if err := s.keepBinlogs(ctx, nil); err != nil {
			return outcome{}, err
		}
	}
	settled, err := s.settled(ctx, h)
	if err != nil {
		return outcome{}, err
	}
	if !settled {
		// Whatever runs there now runs on something else than the server's data, and must not wake
		// up on it.
		if err := s.quiesce(ctx, h.agent); err != nil {
			return outcome{}, err
		}
	}
	mount, err := s.ensureMounts(ctx, h)
	if err != nil {
		return outcome{}, err
	}
	if err := s.ensureCleanCopy(ctx, h); err != nil {
		return outcome{}, err
	}
	return done(s.updateServer(h.srv.Name, func(srv *inventory.Server) error {
		srv.Mounts = []inventory.Mount{{Volume: h.vol.ID, Path: dataMount, FSType: mount.Filesystem,
			FSUUID: mount.UUID}}
		return nil
	}, "volume %s is mounted at %s", h.at.ID, dataMount))
}

// settled reports whether both mounts are those of the server's own volume.
func (s *step) settled(ctx context.Context, h *host) (bool, error) {
	names := s.w.Cloud.DeviceNames(h.at.ID)
	for _, path := range []string{dataMount, datadirPath} {
		mount, err := h.agent.Mount(ctx, path)
		if missing(err) {
			return false, nil
		}
		if err != nil || !mount.Mounted || !overlap(mount.DeviceIDs, names) {
			return false, err
		}
	}
	return true, nil
}

// quiesce stops MariaDB and sees to it that nothing starts it before this job does: the unit is
// masked until then, so that no boot script can start it on the copy before the copy has its own
// settings.
func (s *step) quiesce(ctx context.Context, agent Agent) error {
	// The sockets come between: they can wake a service that was just stopped.
	for _, unit := range slices.Concat([]string{mariadbUnit}, mariadbSockets[:],
		[]string{mariadbUnit}) {
		if err := s.stopUnit(ctx, agent, unit); err != nil {
			return err
		}
	}
	changed, err := agent.MaskUnit(ctx, UnitRequest{Unit: mariadbUnit, Fence: s.fence()})
	if err != nil {
		return err
	}
	if changed {
		s.Changed("masked %s until it is started on the right data", mariadbUnit)
	}
	return nil
}

// stopUnit stops a unit. One that is just starting is left to come up first: MariaDB loses a
// SIGTERM that arrives while it starts, and then hangs until systemd kills it.
func (s *step) stopUnit(ctx context.Context, agent Agent, unit string) error {
	u, err := agent.Unit(ctx, unit)
	switch {
	case missing(err) || err == nil && (u.ActiveState == "inactive" || u.ActiveState == "failed"):
		return nil
	case err != nil:
		return err
	case u.ActiveState == "activating" && u.SubState != "auto-restart":
		return wait("%s is starting; it is stopped once it is up", unit)
	}
	changed, err := agent.StopUnit(ctx, UnitRequest{Unit: unit, Timeout: 2 * time.Minute,
		Fence: s.fence()})
	if err != nil {
		return err
	}
	if changed {
		s.Changed("stopped %s, which ran on other data", unit)
	}
	return nil
}

// ensureMounts makes sure of both mounts and returns the volume's, as proved.
func (s *step) ensureMounts(ctx context.Context, h *host) (Mount, error) {
	req, err := s.dataMount(ctx, h)
	if err != nil {
		return Mount{}, err
	}
	data, err := h.agent.EnsureMount(ctx, req, s.say)
	if err != nil {
		return Mount{}, wrongCopy(fmt.Errorf("cannot mount volume %s on %s: %w", h.at.ID,
			h.srv.Name, err))
	}
	if s.Step == "mount_data" || len(data.Changes) > 0 {
		for _, line := range data.Found {
			s.Found("%s", line)
		}
	}
	s.changed(dataMount, data.Changes)
	if !overlap(data.Mount.DeviceIDs, req.DeviceIDs) || data.Mount.UUID != req.FilesystemUUID {
		return Mount{}, refuse(errorsv1.Reason_REASON_DEVICE_WRONG, "see what is mounted there "+
			"(`findmnt` on the host), detach what does not belong, then `understudy job retry JOB`",
			"what is mounted at %s on %s is not volume %s: %s with filesystem %s", dataMount,
			h.srv.Name, h.at.ID, someOf(data.Mount.DeviceIDs, 3), data.Mount.UUID)
	}
	bind, err := h.agent.EnsureBindMount(ctx, EnsureBindMount{
		Source: dataDir, Path: datadirPath, Owner: "mysql", Create: !h.replica(),
		BoundUnits: []string{mariadbUnit},
		StopUnits:  []string{mariadbUnit}, Fence: s.fence(),
	})
	if err != nil {
		return Mount{}, fmt.Errorf("cannot bind the datadir of %s: %w", h.srv.Name, err)
	}
	s.changed(datadirPath, bind.Changes)
	return data.Mount, nil
}

// dataMount is what the server's volume must be, so that no other one is taken for it.
func (s *step) dataMount(ctx context.Context, h *host) (EnsureMount, error) {
	req := EnsureMount{
		DeviceIDs: s.w.Cloud.DeviceNames(h.at.ID), Path: dataMount,
		FilesystemUUID: filesystemUUID(h.vol),
		StopUnits:      []string{mariadbUnit}, DeviceTimeout: time.Minute, Grow: true,
		BoundUnits: []string{mariadbUnit}, Fence: s.fence(),
	}
	if h.vol.Snapshot != "" {
		t := h.snap.Testimony
		req.SourceFilesystemUUID, req.ExpectedNonce, req.Filesystem = t.FSUUID, t.Nonce, t.FSType
	}
	attached, err := s.w.Cloud.ListVolumes(ctx, provider.Filter{MachineID: h.srv.MachineID})
	if err != nil {
		return req, err
	}
	for _, v := range attached {
		if v.ID != h.at.ID && s.replaces(v) {
			req.ReplaceDeviceIDs = append(req.ReplaceDeviceIDs, s.w.Cloud.DeviceNames(v.ID)...)
		}
	}
	return req, nil
}

// started reports whether MariaDB was ever up on the server's volume: start_mariadb records the
// datadir's version, swap_volume forgets it.
func (h *host) started() bool { return h.srv.DatadirVersion != "" }

// ensureCleanCopy rids a copy of its source's replication state before its first start. What is
// there later is its own.
func (s *step) ensureCleanCopy(ctx context.Context, h *host) error {
	if !h.replica() || h.started() {
		return nil
	}
	st, err := h.agent.Status(ctx)
	if err != nil {
		return err
	}
	if s.servesRightly(h, st) {
		return nil // this job started it: it was clean then
	}
	p, err := h.agent.PrepareDatadir(ctx, PrepareDatadir{Datadir: datadirPath, Copy: true,
		ExpectedNonce: h.snap.Testimony.Nonce, Fence: s.fence()})
	if err != nil {
		return wrongCopy(fmt.Errorf("cannot prepare the datadir of %s: %w", h.srv.Name, err))
	}
	s.changed(datadirPath, p.Changes)
	if p.DatadirVersion != "" {
		s.Found("the datadir is of MariaDB %s, the binary %s", p.DatadirVersion, p.BinaryVersion)
	}
	return nil
}

// wrongCopy says how a job gets rid of a volume that is not the snapshot's; what the agent says is
// for whoever has the host alone.
func wrongCopy(err error) error {
	if !isReason(err, errorsv1.Reason_REASON_NONCE_MISMATCH) {
		return err
	}
	return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_NONCE_MISMATCH, "",
		errs.Wrap(err),
		errs.WithHint(
			"have another volume made from the snapshot: `understudy job redo JOB swap_volume`"))
}
