// Package server serves ServerService: it checks requests, asks records and jobs, and writes
// answers.
package server

import (
	"context"
	"strings"

	"github.com/understudy-db/understudy/controlplane/internal/fleet"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/proof"
	"github.com/understudy-db/understudy/controlplane/internal/query"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	"github.com/understudy-db/understudy/proto/rpc/authz"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// Record is a server's record with what belongs to it.
type Record = query.Server

// Records reads and changes what is known of servers.
type Records interface {
	// Get reads one, or answers inventory.ErrNotFound.
	Get(ctx context.Context, name string) (Record, error)
	// List reads a part of the list that the filter lets through, by name, and the token of the
	// next one.
	List(ctx context.Context, filter query.ServerFilter, size int, token string) ([]Record, string,
		error)
	// SetBinlogAutoPurge turns binlog auto purge on or off by the records' rules.
	SetBinlogAutoPurge(ctx context.Context, change AutoPurge) (Record, error)
	// Disk is how the filesystem of a server's datadir fills; false when it was not observed.
	Disk(server string) (fleet.Disk, bool)
	// Coverage is what continuous verification knows of a replica; false when nothing.
	Coverage(server string) (proof.Coverage, bool)
	// Stale says whether a server's agent has an old address of the control plane.
	Stale(srv inventory.Server) bool
}

// AutoPurge is a change of binlog auto purge.
type AutoPurge = fleet.AutoPurge

// Config is what the service needs. Records and Jobs have no default.
type Config = wire.Config[Records]

// Service is ServerService.
type Service struct {
	cpv1.UnimplementedServerServiceServer
	cfg Config
}

// New makes the service.
func New(cfg Config) (*Service, error) {
	cfg, err := cfg.Filled()
	return &Service{cfg: cfg}, err
}

// Rules says who may call what.
func Rules() authz.Table {
	reads, changes := authz.Readers(), authz.Changers()
	return authz.Table{
		cpv1.ServerService_GetServer_FullMethodName:                reads,
		cpv1.ServerService_ListServers_FullMethodName:              reads,
		cpv1.ServerService_CreateServer_FullMethodName:             changes,
		cpv1.ServerService_CreateReplica_FullMethodName:            changes,
		cpv1.ServerService_VerifyReplica_FullMethodName:            changes,
		cpv1.ServerService_RebuildReplica_FullMethodName:           changes,
		cpv1.ServerService_PurgeBinlogs_FullMethodName:             changes,
		cpv1.ServerService_RotateReplicaCredentials_FullMethodName: changes,
		cpv1.ServerService_GrowServer_FullMethodName:               changes,
		cpv1.ServerService_RebootServer_FullMethodName:             changes,
		cpv1.ServerService_StopServer_FullMethodName:               changes,
		cpv1.ServerService_StartServer_FullMethodName:              changes,
		cpv1.ServerService_UpdateServer_FullMethodName:             changes,
		cpv1.ServerService_DeleteServer_FullMethodName:             changes,
	}
}

// GetServer returns one server.
func (s *Service) GetServer(ctx context.Context,
	req *cpv1.GetServerRequest) (*cpv1.GetServerResponse, error) {
	name := wire.ID(req.GetName())
	r, err := s.cfg.Records.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	return &cpv1.GetServerResponse{Server: s.toWire(r)}, nil
}

// ListServers returns a page of servers, sorted by name.
func (s *Service) ListServers(ctx context.Context,
	req *cpv1.ListServersRequest) (*cpv1.ListServersResponse, error) {
	page := wire.PageOf(req.GetPageSize(), req.GetPageToken())
	filter := query.ServerFilter{Primary: wire.ID(req.GetPrimary()),
		Role: inventory.Role(strings.ToUpper(enum.Word(req.GetRole()))),
		Text: req.GetText(), Scope: wire.ScopeOf(ctx),
		// states that are named may be that of deleted ones
		NotDeleted: !req.GetShowDeleted() && len(req.GetStates()) == 0}
	for _, state := range req.GetStates() {
		filter.States = append(filter.States,
			inventory.ServerState(strings.ToUpper(enum.Word(state))))
	}
	list, next, err := wire.Collect(page, func(size int, token string) ([]Record, string, error) {
		return s.cfg.Records.List(ctx, filter, size, token)
	})
	if err != nil {
		return nil, err
	}
	resp := &cpv1.ListServersResponse{NextPageToken: next}
	for _, r := range list {
		resp.Servers = append(resp.Servers, s.toWire(r))
	}
	return resp, nil
}
