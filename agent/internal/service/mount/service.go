// Package mount serves MountService: it validates, asks package mount, and converts. No logic lives
// here.
package mount

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	domain "github.com/understudy-db/understudy/agent/internal/mount"
	"github.com/understudy-db/understudy/agent/internal/service/wire"
	"github.com/understudy-db/understudy/agent/internal/systemd"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

const (
	defaultFreeze = 10 * time.Second
)

// Service serves MountService.
type Service struct {
	agentv1.UnimplementedMountServiceServer
	mounts *domain.Manager
	allow  *systemd.AllowList
}

// New makes a Service; the allow-list says which units may be stopped, and bound to mounts.
func New(mounts *domain.Manager, allow *systemd.AllowList) *Service {
	return &Service{mounts: mounts, allow: allow}
}

// ListBlockDevices returns the block devices that are attached to this host.
func (s *Service) ListBlockDevices(ctx context.Context,
	r *agentv1.ListBlockDevicesRequest) (*agentv1.ListBlockDevicesResponse, error) {
	devices, err := s.mounts.Devices(ctx)
	if err != nil {
		return nil, err
	}
	page, next, err := wire.Page(devices, func(d domain.Device) string { return d.Path },
		r.GetPageSize(), r.GetPageToken())
	if err != nil {
		return nil, err
	}
	response := &agentv1.ListBlockDevicesResponse{NextPageToken: next}
	for _, device := range page {
		response.Devices = append(response.Devices, toDevice(device))
	}
	return response, nil
}

// GetMount returns what is mounted at a path and what its unit file says.
func (s *Service) GetMount(ctx context.Context,
	r *agentv1.GetMountRequest) (*agentv1.GetMountResponse, error) {
	mount, err := s.mounts.Get(ctx, r.GetPath())
	return &agentv1.GetMountResponse{Mount: toMount(mount)}, err
}

// ListMounts returns all mounts on allowed mount points.
func (s *Service) ListMounts(ctx context.Context,
	r *agentv1.ListMountsRequest) (*agentv1.ListMountsResponse, error) {
	mounts, err := s.mounts.List(ctx)
	if err != nil {
		return nil, err
	}
	page, next, err := wire.Page(mounts, func(m domain.Mount) string { return m.Path },
		r.GetPageSize(), r.GetPageToken())
	if err != nil {
		return nil, err
	}
	response := &agentv1.ListMountsResponse{NextPageToken: next}
	for _, mount := range page {
		response.Mounts = append(response.Mounts, toMount(mount))
	}
	return response, nil
}

// EnsureBindMount makes sure that a directory below a mount is bound to another path.
func (s *Service) EnsureBindMount(ctx context.Context,
	r *agentv1.EnsureBindMountRequest) (*agentv1.EnsureBindMountResponse, error) {
	if err := s.checkUnits(r.GetBoundUnits(), r.GetStopUnits()); err != nil {
		return nil, err
	}
	mount, changes, err := s.mounts.EnsureBind(ctx,
		domain.BindRequest{Source: r.GetSource(), Path: r.GetPath(), Owner: r.GetOwner(),
			Create: r.GetCreate(), BoundUnits: r.GetBoundUnits(), StopUnits: r.GetStopUnits()})
	return &agentv1.EnsureBindMountResponse{Mount: toMount(mount), Changes: changes}, err
}

// EnsureUnmounted makes sure that nothing is mounted at the path and that no unit file will mount
// it again.
func (s *Service) EnsureUnmounted(ctx context.Context,
	r *agentv1.EnsureUnmountedRequest) (*agentv1.EnsureUnmountedResponse, error) {
	if err := s.checkUnits(r.GetStopUnits()); err != nil {
		return nil, err
	}
	changes, err := s.mounts.EnsureUnmounted(ctx, r.GetPath(), r.GetExpectedDeviceIds(),
		r.GetStopUnits())
	return &agentv1.EnsureUnmountedResponse{Changes: changes}, err
}

// FormatVolume makes a filesystem on a volume that is provably blank.
func (s *Service) FormatVolume(ctx context.Context,
	r *agentv1.FormatVolumeRequest) (*agentv1.FormatVolumeResponse, error) {
	device, changed, err := s.mounts.Format(ctx, domain.FormatRequest{DeviceIDs: r.GetDeviceIds(),
		Filesystem: r.GetFilesystem(),
		UUID:       r.GetFilesystemUuid(), RecordedBlank: r.GetRecordedBlank(),
		DeviceTimeout: r.GetDeviceTimeout().AsDuration()})
	return &agentv1.FormatVolumeResponse{Device: toDevice(device), Changed: changed}, err
}

// GrowFilesystem grows a mounted filesystem to its device.
func (s *Service) GrowFilesystem(ctx context.Context,
	r *agentv1.GrowFilesystemRequest) (*agentv1.GrowFilesystemResponse, error) {
	mount, changed, err := s.mounts.Grow(ctx, r.GetPath())
	return &agentv1.GrowFilesystemResponse{Mount: toMount(mount), Changed: changed}, err
}

func orDefault(d *durationpb.Duration, fallback time.Duration) time.Duration {
	if d == nil {
		return fallback
	}
	return d.AsDuration()
}

// checkUnits refuses units that may not be changed.
func (s *Service) checkUnits(lists ...[]string) error {
	for _, unit := range slices.Concat(lists...) {
		if err := s.allow.CheckChange(unit); err != nil {
			return err
		}
	}
	return nil
}
