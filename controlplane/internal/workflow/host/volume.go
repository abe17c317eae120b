package host

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// DataVolume reads a server's data volume, from the record and from the provider, and refuses one
// that is not attached to the server's machine.
func DataVolume(ctx context.Context, c *kit.Call,
	srv inventory.Server) (vol inventory.Volume, at provider.Volume, err error) {
	if srv.DataVolume == "" {
		return vol, at, kit.Refuse(errorsv1.Reason_REASON_DEVICE_MISSING,
			kit.Hint("have it attached", kit.RetryStep(srv.Job, kit.StepSwapVolume)),
			"%s has no data volume on record", srv.Name)
	}
	if vol, err = c.Volume(ctx, srv.DataVolume); err != nil {
		return vol, at, err
	}
	if at, err = c.Provider.GetVolume(ctx, vol.ProviderID); err != nil {
		if wait := kit.NotShownYet(c, err, "volume "+vol.ProviderID, vol.Created); wait != nil {
			return vol, at, wait
		}
		return vol, at, err
	}
	if at.MachineID != srv.MachineID || at.Attachment != provider.AttachmentAttached {
		if err := c.MachineFit(ctx, srv); err != nil {
			return vol, at, err
		}
		return vol, at, kit.Refuse(errorsv1.Reason_REASON_DEVICE_MISSING,
			kit.Hint("have it attached again", kit.RetryStep(srv.Job, kit.StepSwapVolume)),
			"volume %s of %s is %s, attached to machine %q and not to %s",
			at.ID, srv.Name, at.State, at.MachineID, srv.MachineID)
	}
	return vol, at, nil
}
