// Package mariadb serves MariaDBService: it checks requests, asks the core, and converts its
// answers. Errors cross as they are.
package mariadb

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/agent/internal/quiesce"
	"github.com/understudy-db/understudy/proto/consistentpoint/wire"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// Service implements agentv1.MariaDBServiceServer.
type Service struct {
	agentv1.UnimplementedMariaDBServiceServer
	mariadb *mariadb.Host
	quiesce *quiesce.Manager
}

// New makes a Service.
func New(host *mariadb.Host, quiesce *quiesce.Manager) *Service {
	return &Service{mariadb: host, quiesce: quiesce}
}

// GetStatus implements the RPC.
func (s *Service) GetStatus(ctx context.Context,
	_ *agentv1.GetStatusRequest) (*agentv1.GetStatusResponse, error) {
	status, err := s.mariadb.Status(ctx)
	return &agentv1.GetStatusResponse{Status: StatusToProto(status), Time: timestamppb.Now()}, err
}

// SetConfiguration implements the RPC.
func (s *Service) SetConfiguration(ctx context.Context,
	r *agentv1.SetConfigurationRequest) (*agentv1.SetConfigurationResponse, error) {
	settings, err := settingsOf(r)
	if err != nil {
		return nil, err
	}
	done, err := s.mariadb.Configuration.Set(ctx, settings)
	return &agentv1.SetConfigurationResponse{Changed: done.Changed,
		RestartRequired: done.RestartRequired, Overridden: done.Overridden,
		Effective: done.Effective}, err
}

// PrepareDatadir implements the RPC.
func (s *Service) PrepareDatadir(ctx context.Context,
	r *agentv1.PrepareDatadirRequest) (*agentv1.PrepareDatadirResponse, error) {
	f := errs.Fields{}
	f.Require("copy", !r.GetCopy() || !r.GetInitialize(), "and initialize exclude each other")
	contract := wire.FromProto(r.GetContract())
	mariadb.CheckContract(contract, f.Add)
	if err := f.Err(); err != nil {
		return nil, err
	}
	done, err := s.mariadb.Datadirs.Prepare(ctx, mariadb.DatadirPlan{Datadir: r.GetDatadir(),
		Initialize: r.GetInitialize(),
		Nonce:      r.GetExpectedNonce(), Copy: r.GetCopy(), Contract: contract})
	return &agentv1.PrepareDatadirResponse{Changes: done.Changes,
		DatadirVersion: done.Datadir.String(), BinaryVersion: done.Binary.String(),
		UpgradeNeeded: done.UpgradeNeeded}, err
}

// CheckDatadir implements the RPC.
func (s *Service) CheckDatadir(ctx context.Context,
	_ *agentv1.CheckDatadirRequest) (*agentv1.CheckDatadirResponse, error) {
	contract, err := s.mariadb.Server.CheckDatadir(ctx)
	return &agentv1.CheckDatadirResponse{Contract: wire.ToProto(contract)}, err
}

// ProveWritable implements the RPC.
func (s *Service) ProveWritable(ctx context.Context,
	_ *agentv1.ProveWritableRequest) (*agentv1.ProveWritableResponse, error) {
	latency, gtid, err := s.mariadb.Server.ProveWritable(ctx)
	return &agentv1.ProveWritableResponse{Latency: durationpb.New(latency), Gtid: gtid}, err
}

// UpgradeDatadir implements the RPC.
func (s *Service) UpgradeDatadir(r *agentv1.UpgradeDatadirRequest,
	stream agentv1.MariaDBService_UpgradeDatadirServer) error {
	version, changed, err := s.mariadb.Datadirs.Upgrade(stream.Context(),
		orDefault(r.GetTimeout(), time.Hour),
		func(progress string) error {
			return stream.Send(&agentv1.UpgradeDatadirResponse{Progress: progress})
		})
	if err != nil {
		return err
	}
	return stream.Send(&agentv1.UpgradeDatadirResponse{DatadirVersion: version.String(),
		Changed: changed})
}

// stamp is a time on the wire; the zero time is absent.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
