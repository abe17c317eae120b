package agentpool

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

const pageSize = 1000

// volumes are the calls about an agent's block devices and what is mounted.
type volumes struct{ a *agent }

// BlockDevices lists the devices that are attached to the host, all pages.
func (v volumes) BlockDevices(ctx context.Context) ([]kit.BlockDevice, error) {
	var all []kit.BlockDevice
	for token := ""; ; {
		resp, err := call(ctx, v.a, lookLimit, v.a.mounts.ListBlockDevices,
			&agentv1.ListBlockDevicesRequest{PageSize: pageSize, PageToken: token})
		if err != nil {
			return nil, err
		}
		for _, d := range resp.GetDevices() {
			all = append(all, blockDevice(d))
		}
		if token = resp.GetNextPageToken(); token == "" {
			return all, nil
		}
	}
}

// Mount reads what is mounted at a path and what its unit file says.
func (v volumes) Mount(ctx context.Context, path string) (kit.Mount, error) {
	resp, err := call(ctx, v.a, lookLimit, v.a.mounts.GetMount,
		&agentv1.GetMountRequest{Path: path})
	return mount(resp.GetMount()), err
}

// EnsureMount makes sure that the volume is mounted at the path, now and after a reboot.
func (v volumes) EnsureMount(ctx context.Context, req kit.EnsureMount,
	progress kit.Progress) (kit.Mounted, error) {
	var last *agentv1.EnsureMountResponse
	limit := orDefault(req.DeviceTimeout, deviceDefault) + fileLimit
	err := follow(ctx, v.a, limit, v.a.mounts.EnsureMount, ensureMount(req),
		func(m *agentv1.EnsureMountResponse) {
			tell(progress, m.GetProgress())
			last = m
		})
	if err == nil && last.GetMount() == nil {
		err = cutShort(v.a.server, "EnsureMount")
	}
	return kit.Mounted{Mount: mount(last.GetMount()), Found: last.GetFound(),
		Changes: last.GetChanges()}, err
}

// EnsureBindMount makes sure that a directory is bound to another path.
func (v volumes) EnsureBindMount(ctx context.Context,
	req kit.EnsureBindMount) (kit.Mounted, error) {
	resp, err := call(ctx, v.a, fileLimit, v.a.mounts.EnsureBindMount,
		&agentv1.EnsureBindMountRequest{
			Source: req.Source, Path: req.Path, Owner: req.Owner, Create: req.Create,
			BoundUnits: req.BoundUnits, StopUnits: req.StopUnits,
			FencingToken: fencingToken(req.Token),
		})
	return kit.Mounted{Mount: mount(resp.GetMount()), Changes: resp.GetChanges()}, err
}

// EnsureUnmounted makes sure that nothing is mounted at the path, now and after a reboot.
func (v volumes) EnsureUnmounted(ctx context.Context,
	req kit.EnsureUnmounted) ([]string, error) {
	resp, err := call(ctx, v.a, changeLimit, v.a.mounts.EnsureUnmounted,
		&agentv1.EnsureUnmountedRequest{
			Path: req.Path, ExpectedDeviceIds: req.ExpectedDeviceIDs, StopUnits: req.StopUnits,
			FencingToken: fencingToken(req.Token),
		})
	return resp.GetChanges(), err
}

// FormatVolume makes a filesystem on a volume that is recorded blank and probes blank.
func (v volumes) FormatVolume(ctx context.Context,
	req kit.FormatVolume) (kit.BlockDevice, bool, error) {
	limit := orDefault(req.DeviceTimeout, deviceDefault) + fileLimit
	resp, err := call(ctx, v.a, limit, v.a.mounts.FormatVolume, &agentv1.FormatVolumeRequest{
		DeviceIds: req.DeviceIDs, Filesystem: req.Filesystem, FilesystemUuid: req.FilesystemUUID,
		RecordedBlank: req.RecordedBlank,
		DeviceTimeout: duration(req.DeviceTimeout), FencingToken: fencingToken(req.Token),
	})
	return blockDevice(resp.GetDevice()), resp.GetChanged(), err
}

// GrowFilesystem grows what is mounted at a path to its device.
func (v volumes) GrowFilesystem(ctx context.Context, path string,
	token kit.FencingToken) (kit.Mount, bool, error) {
	resp, err := call(ctx, v.a, fileLimit, v.a.mounts.GrowFilesystem,
		&agentv1.GrowFilesystemRequest{Path: path, FencingToken: fencingToken(token)})
	return mount(resp.GetMount()), resp.GetChanged(), err
}
