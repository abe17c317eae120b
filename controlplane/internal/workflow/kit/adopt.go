package kit

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// Adopt has what another job made at the provider for the server count as made by this one, which
// the records say already: the machine and the data volumes. It may be called again.
func (c *Call) Adopt(ctx context.Context, srv inventory.Server, maker string) error {
	m, err := c.Provider.GetMachine(ctx, srv.MachineID)
	if wait := machineNotShownYet(ctx, c, err, srv); wait != nil {
		return wait
	}
	if Missing(err) || err == nil && m.State == provider.MachineTerminated {
		return c.MachineGone(ctx, provider.Machine{ID: srv.MachineID, Reason: m.Reason}, srv)
	}
	if err != nil {
		return err
	}
	if m.Tags[TagJob] != c.JobID {
		if err := c.adopt(ctx, m.ID); err != nil {
			return err
		}
	}
	volumes, err := c.Provider.ListVolumes(ctx, c.Made(map[string]string{TagServer: srv.Name}))
	if err != nil {
		return err
	}
	recorded, err := c.volumesOf(ctx, srv.Name)
	if err != nil {
		return err
	}
	for _, v := range volumes {
		if v.Tags[TagJob] == maker || v.Tags[TagJob] != c.JobID && recorded[v.ID] {
			if err := c.adopt(ctx, v.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Call) adopt(ctx context.Context, id string) error {
	err := c.Provider.SetTags(ctx, id, map[string]string{TagJob: c.JobID})
	if Missing(err) {
		return nil
	}
	return err
}

// volumesOf are the provider's ids of the server's volumes that this job has on record.
func (c *Call) volumesOf(ctx context.Context, server string) (map[string]bool, error) {
	ids := map[string]bool{}
	err := c.Store.Read(ctx, func(ctx context.Context, rec Records) error {
		all, err := rec.Volumes.OfServer(ctx, server)
		for _, v := range all {
			if v.Job == c.JobID && v.State != inventory.VolumeDeleted {
				ids[v.ProviderID] = true
			}
		}
		return err
	})
	return ids, err
}
