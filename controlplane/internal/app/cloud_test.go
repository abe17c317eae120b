package app_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// stillCloud is a provider whose machines never come up, so that jobs wait where a test wants them
// to. It counts what changes it.
type stillCloud struct {
	mu       sync.Mutex
	changes  int
	machines []provider.Machine
	noImages bool
	problems []string
}

func (c *stillCloud) change() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	return nil
}

func (c *stillCloud) changed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changes
}

func (c *stillCloud) Name() string                { return "still" }
func (c *stillCloud) Check(context.Context) error { return nil }
func (c *stillCloud) Problems(context.Context) ([]string, error) {
	return c.problems,
		nil
}
func (c *stillCloud) HostAddress(context.Context) (string, error)              { return "", nil }
func (c *stillCloud) SetTags(context.Context, string, map[string]string) error { return c.change() }
func (c *stillCloud) DeviceNames(
	volume string) []string {
	return []string{"virtio-" + volume}
}

func (c *stillCloud) Images(context.Context) ([]provider.Image, error) {
	if c.noImages {
		return nil, nil
	}
	return []provider.Image{{Name: "trixie", Description: "Debian trixie", MariaDBVersion: "11.8.6",
		Ready: true}, {Name: "bookworm"}}, nil
}

func (c *stillCloud) CreateMachine(_ context.Context,
	req provider.CreateMachineRequest) (provider.Machine, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	m := provider.Machine{ID: fmt.Sprintf("i-%d", len(c.machines)+1), Name: req.Name,
		State: provider.MachinePending, Image: req.Image, Tags: req.Tags}
	c.machines = append(c.machines, m)
	return m, nil
}

func (c *stillCloud) ListMachines(_ context.Context,
	f provider.Filter) (all []provider.Machine, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.machines {
		if f.Matches(m.Tags) {
			all = append(all, m)
		}
	}
	return all, nil
}

func (c *stillCloud) GetMachine(_ context.Context, id string) (provider.Machine, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.machines {
		if m.ID == id {
			return m, nil
		}
	}
	return provider.Machine{}, provider.Errorf(provider.ErrNotFound, id, "machine %s not found", id)
}

func (c *stillCloud) TerminateMachine(_ context.Context, id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	for i := range c.machines {
		if c.machines[i].ID == id {
			c.machines[i].State = provider.MachineTerminated
		}
	}
	return nil
}

func (c *stillCloud) StartMachine(context.Context, string) error  { return c.change() }
func (c *stillCloud) StopMachine(context.Context, string) error   { return c.change() }
func (c *stillCloud) RebootMachine(context.Context, string) error { return c.change() }

func (c *stillCloud) CreateVolume(context.Context,
	provider.CreateVolumeRequest) (provider.Volume, error) {
	return provider.Volume{}, c.change()
}

func (c *stillCloud) GetVolume(_ context.Context, id string) (provider.Volume, error) {
	return provider.Volume{}, provider.Errorf(provider.ErrNotFound, id, "volume %s not found", id)
}

func (c *stillCloud) ListVolumes(context.Context, provider.Filter) ([]provider.Volume, error) {
	return nil, nil
}

func (c *stillCloud) AttachVolume(context.Context, string, string) (provider.Volume, error) {
	return provider.Volume{}, c.change()
}

func (c *stillCloud) DetachVolume(context.Context, string, string) (provider.Volume, error) {
	return provider.Volume{}, c.change()
}

func (c *stillCloud) DeleteVolume(context.Context, string) error { return c.change() }

func (c *stillCloud) GrowVolume(context.Context, string, int64) (provider.Volume, error) {
	return provider.Volume{}, c.change()
}

func (c *stillCloud) CreateSnapshot(context.Context,
	provider.CreateSnapshotRequest) (provider.Snapshot, error) {
	return provider.Snapshot{}, c.change()
}

func (c *stillCloud) GetSnapshot(_ context.Context, id string) (provider.Snapshot, error) {
	return provider.Snapshot{}, provider.Errorf(provider.ErrNotFound, id, "snapshot %s not found",
		id)
}

func (c *stillCloud) ListSnapshots(context.Context, provider.Filter) ([]provider.Snapshot, error) {
	return nil, nil
}

func (c *stillCloud) DeleteSnapshot(context.Context, string) error { return c.change() }
