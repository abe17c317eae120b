package agentpool_test

import (
	"context"

	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// The services of a test's agent: what a test does not set is not implemented.

type hostService struct {
	agentv1.UnimplementedHostServiceServer
	get   func(context.Context) (*agentv1.GetHostResponse, error)
	grant func(context.Context, *agentv1.SetGrantsRequest) (*agentv1.SetGrantsResponse, error)
}

func (s hostService) SetGrants(ctx context.Context,
	req *agentv1.SetGrantsRequest) (*agentv1.SetGrantsResponse, error) {
	if s.grant == nil {
		return nil, unset
	}
	return s.grant(ctx, req)
}

func (s hostService) GetHost(ctx context.Context,
	_ *agentv1.GetHostRequest) (*agentv1.GetHostResponse, error) {
	if s.get == nil {
		return nil, unset
	}
	return s.get(ctx)
}

var unset = errs.New(errs.Unimplemented, errorsv1.Reason_REASON_UNIMPLEMENTED,
	"the test does not answer this")

type systemdService struct {
	agentv1.UnimplementedSystemdServiceServer
	ensure func(*agentv1.EnsureUnitRequest,
		grpc.ServerStreamingServer[agentv1.EnsureUnitResponse]) error
}

func (s systemdService) EnsureUnit(req *agentv1.EnsureUnitRequest,
	out grpc.ServerStreamingServer[agentv1.EnsureUnitResponse]) error {
	if s.ensure == nil {
		return unset
	}
	return s.ensure(req, out)
}

type mountService struct {
	agentv1.UnimplementedMountServiceServer
	devices func(*agentv1.ListBlockDevicesRequest) (*agentv1.ListBlockDevicesResponse, error)
	ensure  func(*agentv1.EnsureMountRequest,
		grpc.ServerStreamingServer[agentv1.EnsureMountResponse]) error
}

func (s mountService) ListBlockDevices(_ context.Context,
	req *agentv1.ListBlockDevicesRequest) (*agentv1.ListBlockDevicesResponse, error) {
	if s.devices == nil {
		return nil, unset
	}
	return s.devices(req)
}

func (s mountService) EnsureMount(req *agentv1.EnsureMountRequest,
	out grpc.ServerStreamingServer[agentv1.EnsureMountResponse]) error {
	if s.ensure == nil {
		return unset
	}
	return s.ensure(req, out)
}

type mariadbService struct {
	agentv1.UnimplementedMariaDBServiceServer
	status func(context.Context) (*agentv1.GetStatusResponse, error)
	hold   func(grpc.BidiStreamingServer[agentv1.QuiesceRequest,
		agentv1.QuiesceResponse]) error
	wait func(*agentv1.WaitForGtidRequest,
		grpc.ServerStreamingServer[agentv1.WaitForGtidResponse]) error
	checksum func(*agentv1.ChecksumTablesRequest,
		grpc.ServerStreamingServer[agentv1.ChecksumTablesResponse]) error
	end       func(*agentv1.EndQuiesceRequest) (*agentv1.EndQuiesceResponse, error)
	prepare   func(*agentv1.PrepareReplicaRequest) (*agentv1.PrepareReplicaResponse, error)
	inventory func(grpc.ServerStreamingServer[agentv1.ReadInventoryResponse]) error
	tables    func(*agentv1.ListTablesRequest) (*agentv1.ListTablesResponse, error)
	confirm   func(*agentv1.ConfirmHistoryRequest) (*agentv1.ConfirmHistoryResponse, error)
}

func (s mariadbService) ConfirmHistory(_ context.Context,
	r *agentv1.ConfirmHistoryRequest) (*agentv1.ConfirmHistoryResponse, error) {
	if s.confirm == nil {
		return nil, unset
	}
	return s.confirm(r)
}

func (s mariadbService) ListTables(_ context.Context,
	r *agentv1.ListTablesRequest) (*agentv1.ListTablesResponse, error) {
	if s.tables == nil {
		return nil, unset
	}
	return s.tables(r)
}

func (s mariadbService) ReadInventory(_ *agentv1.ReadInventoryRequest,
	out grpc.ServerStreamingServer[agentv1.ReadInventoryResponse]) error {
	if s.inventory == nil {
		return unset
	}
	return s.inventory(out)
}

func (s mariadbService) GetStatus(ctx context.Context,
	_ *agentv1.GetStatusRequest) (*agentv1.GetStatusResponse, error) {
	if s.status == nil {
		return nil, unset
	}
	return s.status(ctx)
}

func (s mariadbService) Quiesce(
	stream grpc.BidiStreamingServer[agentv1.QuiesceRequest,
		agentv1.QuiesceResponse]) error {
	if s.hold == nil {
		return unset
	}
	return s.hold(stream)
}

func (s mariadbService) EndQuiesce(_ context.Context,
	req *agentv1.EndQuiesceRequest) (*agentv1.EndQuiesceResponse, error) {
	if s.end == nil {
		return nil, unset
	}
	return s.end(req)
}

func (s mariadbService) WaitForGtid(req *agentv1.WaitForGtidRequest,
	out grpc.ServerStreamingServer[agentv1.WaitForGtidResponse]) error {
	if s.wait == nil {
		return unset
	}
	return s.wait(req, out)
}

func (s mariadbService) ChecksumTables(req *agentv1.ChecksumTablesRequest,
	out grpc.ServerStreamingServer[agentv1.ChecksumTablesResponse]) error {
	if s.checksum == nil {
		return unset
	}
	return s.checksum(req, out)
}

func (s mariadbService) PrepareReplica(_ context.Context,
	req *agentv1.PrepareReplicaRequest) (*agentv1.PrepareReplicaResponse, error) {
	if s.prepare == nil {
		return nil, unset
	}
	return s.prepare(req)
}

// observationService sends what the test wants.
type observationService struct {
	agentv1.UnimplementedObservationServiceServer
	observe func(*agentv1.ObserveRequest,
		grpc.ServerStreamingServer[agentv1.ObserveResponse]) error
}

func (s observationService) Observe(r *agentv1.ObserveRequest,
	stream grpc.ServerStreamingServer[agentv1.ObserveResponse]) error {
	return s.observe(r, stream)
}
