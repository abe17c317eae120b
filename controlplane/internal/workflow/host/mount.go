package host

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Settled reports whether both mounts are those of the server's own volume.
func (h *Host) Settled(ctx context.Context) (bool, error) {
	names := h.Provider.DeviceNames(h.At.ID)
	for _, path := range []string{kit.DataMount, kit.DatadirPath} {
		mount, err := h.Agent.Mount(ctx, path)
		if kit.Missing(err) {
			return false, nil
		}
		if err != nil || !mount.Mounted || !kit.Overlap(mount.DeviceIDs, names) {
			return false, err
		}
	}
	return true, nil
}

// StopMariaDB stops MariaDB and sees to it that nothing starts it before this job does: the unit is
// masked until then, so that no boot script can start it on the copy before the copy has its own
// settings.
func StopMariaDB(ctx context.Context, c *kit.Call, agent kit.Agent) error {
	// The sockets come between: they can wake a service that was just stopped.
	for _, unit := range slices.Concat([]string{kit.MariaDBUnit}, kit.MariaDBSockets[:],
		[]string{kit.MariaDBUnit}) {
		if err := stopUnit(ctx, c, agent, unit); err != nil {
			return err
		}
	}
	changed, err := agent.MaskUnit(ctx, kit.UnitRequest{Unit: kit.MariaDBUnit,
		Token: c.FencingToken()})
	if err != nil {
		return err
	}
	if changed {
		c.Changed("masked %s until it is started on the right data", kit.MariaDBUnit)
	}
	return nil
}

// stopUnit stops a unit. One that is just starting is left to come up first: MariaDB loses a
// SIGTERM that arrives while it starts, and then hangs until systemd kills it.
func stopUnit(ctx context.Context, c *kit.Call, agent kit.Agent, unit string) error {
	u, err := agent.Unit(ctx, unit)
	switch {
	case kit.Missing(err) || err == nil && (u.ActiveState == "inactive" ||
		u.ActiveState == "failed"):
		return nil
	case err != nil:
		return err
	case u.ActiveState == "activating" && u.SubState != "auto-restart":
		return kit.Wait("%s is starting; it is stopped once it is up", unit)
	}
	changed, err := agent.StopUnit(ctx, kit.UnitRequest{Unit: unit, Timeout: 2 * time.Minute,
		Token: c.FencingToken()})
	if err != nil {
		return err
	}
	if changed {
		c.Changed("stopped %s, which ran on other data", unit)
	}
	return nil
}

// EnsureMounts makes sure of both mounts and returns the volume's, as proved.
func (h *Host) EnsureMounts(ctx context.Context) (kit.Mounted, error) {
	req, err := h.dataMount(ctx)
	if err != nil {
		return kit.Mounted{}, err
	}
	data, err := h.Agent.EnsureMount(ctx, req, h.Say)
	if err != nil {
		return kit.Mounted{}, wrongCopy(fmt.Errorf("cannot mount volume %s on %s: %w", h.At.ID,
			h.Srv.Name, err))
	}
	if len(data.Changes) > 0 {
		h.tell(data.Found)
	}
	h.ChangedAll(kit.DataMount, data.Changes)
	if !kit.Overlap(data.Mount.DeviceIDs, req.DeviceIDs) || data.Mount.UUID != req.FilesystemUUID {
		return kit.Mounted{}, kit.Refuse(errorsv1.Reason_REASON_DEVICE_WRONG,
			kit.Hint("see what is mounted there "+
				"(`findmnt` on the host), detach what does not belong", kit.RetryThis()),
			"what is mounted at %s on %s is not volume %s: %s with filesystem %s", kit.DataMount,
			h.Srv.Name, h.At.ID, kit.SomeOf(data.Mount.DeviceIDs, 3), data.Mount.UUID)
	}
	bind, err := h.Agent.EnsureBindMount(ctx, kit.EnsureBindMount{
		Source: kit.DataDir, Path: kit.DatadirPath, Owner: "mysql", Create: !h.Replica(),
		BoundUnits: []string{kit.MariaDBUnit},
		StopUnits:  []string{kit.MariaDBUnit}, Token: h.FencingToken(),
	})
	if err != nil {
		return kit.Mounted{}, fmt.Errorf("cannot bind the datadir of %s: %w", h.Srv.Name, err)
	}
	h.ChangedAll(kit.DatadirPath, bind.Changes)
	return data, nil
}

// dataMount is what the server's volume must be, so that no other one is taken for it.
func (h *Host) dataMount(ctx context.Context) (kit.EnsureMount, error) {
	req := kit.EnsureMount{
		DeviceIDs: h.Provider.DeviceNames(h.At.ID), Path: kit.DataMount,
		FilesystemUUID: kit.FilesystemUUID(h.Vol),
		StopUnits:      []string{kit.MariaDBUnit}, DeviceTimeout: time.Minute, Grow: true,
		BoundUnits: []string{kit.MariaDBUnit}, Token: h.FencingToken(),
	}
	if h.Vol.Snapshot != "" {
		p := h.Snap.Point
		req.SourceFilesystemUUID, req.ExpectedNonce, req.Filesystem = p.FilesystemUUID, p.Nonce,
			p.Filesystem
	}
	attached, err := h.Provider.ListVolumes(ctx, provider.Filter{MachineID: h.Srv.MachineID})
	if err != nil {
		return req, err
	}
	for _, v := range attached {
		if v.ID != h.At.ID && h.Replaces(v) {
			req.ReplaceDeviceIDs = append(req.ReplaceDeviceIDs, h.Provider.DeviceNames(v.ID)...)
		}
	}
	return req, nil
}

// tell says what was found, for operators.
func (h *Host) tell(lines []string) {
	for _, line := range lines {
		h.Found("%s", line)
	}
}

// EnsureCleanCopy rids a copy of its source's replication state before its first start. What is
// there later is its own.
func (h *Host) EnsureCleanCopy(ctx context.Context) error {
	if !h.Replica() || h.Started() {
		return nil
	}
	st, err := h.Agent.Status(ctx)
	if err != nil {
		return err
	}
	if h.ServesRightly(st) {
		return nil // this job started it: it was clean then
	}
	p, err := h.Agent.PrepareDatadir(ctx, kit.PrepareDatadir{Datadir: kit.DatadirPath, Copy: true,
		ExpectedNonce: h.Snap.Point.Nonce, Contract: h.Snap.Point.Contract,
		Token: h.FencingToken()})
	if err != nil {
		return wrongCopy(fmt.Errorf("cannot prepare the datadir of %s: %w", h.Srv.Name, err))
	}
	h.ChangedAll(kit.DatadirPath, p.Changes)
	if p.DatadirVersion != "" {
		h.Found("the datadir is of MariaDB %s, the binary %s", p.DatadirVersion, p.BinaryVersion)
	}
	return nil
}

// wrongCopy says how a job gets rid of a volume that is not the snapshot's; what the agent says is
// for whoever has the host alone.
func wrongCopy(err error) error {
	if !kit.IsReason(err, errorsv1.Reason_REASON_NONCE_MISMATCH) {
		return err
	}
	return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_NONCE_MISMATCH, "",
		errs.Wrap(err),
		errs.WithHint("have another volume made from the snapshot",
			kit.RedoThis(kit.StepSwapVolume)))
}
