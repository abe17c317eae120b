package mount

import (
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	domain "github.com/understudy-db/understudy/agent/internal/mount"
	"github.com/understudy-db/understudy/agent/internal/service/wire"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// EnsureMount makes sure that the volume is mounted at the path, now and after a reboot.
func (s *Service) EnsureMount(r *agentv1.EnsureMountRequest,
	stream grpc.ServerStreamingServer[agentv1.EnsureMountResponse]) error {
	if err := s.checkUnits(r.GetStopUnits(), r.GetBoundUnits()); err != nil {
		return err
	}
	last := ""
	say := func(progress string) {
		if progress == last {
			return
		}
		last = progress
		// A caller that is gone is noticed by the context.
		_ = stream.Send(&agentv1.EnsureMountResponse{Progress: strings.ToValidUTF8(progress, "?")})
	}
	result, err := s.mounts.Ensure(stream.Context(), fromEnsureMount(r), say)
	if err != nil {
		return err
	}
	return stream.Send(&agentv1.EnsureMountResponse{Mount: toMount(result.Mount),
		Changes: result.Changes, Found: result.Found})
}

func fromEnsureMount(r *agentv1.EnsureMountRequest) domain.Request {
	return domain.Request{
		DeviceIDs: r.GetDeviceIds(), Path: r.GetPath(), Filesystem: r.GetFilesystem(),
		UUID:       r.GetFilesystemUuid(),
		SourceUUID: r.GetSourceFilesystemUuid(), Nonce: r.GetExpectedNonce(),
		ReplaceIDs: r.GetReplaceDeviceIds(), StopUnits: r.GetStopUnits(),
		DeviceTimeout: r.GetDeviceTimeout().AsDuration(), Grow: r.GetGrow(),
		Owner: r.GetOwner(), BoundUnits: r.GetBoundUnits(),
	}
}

// FreezeFilesystem freezes the filesystem for as long as the stream lasts, and never longer than
// the limit.
func (s *Service) FreezeFilesystem(r *agentv1.FreezeFilesystemRequest,
	stream grpc.ServerStreamingServer[agentv1.FreezeFilesystemResponse]) error {
	// A server that stops leaves nothing frozen behind.
	ctx, stop := wire.UntilDraining(stream.Context())
	defer stop()
	var began *timestamppb.Timestamp
	report, err := s.mounts.Freezer.Freeze(ctx, r.GetPath(), orDefault(r.GetLimit(), defaultFreeze),
		func(at time.Time) error {
			began = timestamppb.New(at)
			return stream.Send(&agentv1.FreezeFilesystemResponse{Frozen: true, FreezeTime: began})
		})
	if err != nil {
		return err
	}
	return stream.Send(&agentv1.FreezeFilesystemResponse{FreezeTime: began,
		Duration: durationpb.New(report.Lasted), Expired: report.Expired})
}
