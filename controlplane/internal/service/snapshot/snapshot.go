// Package snapshot serves SnapshotService: it checks requests, asks records and jobs, and writes
// answers.
package snapshot

import (
	"context"
	"strings"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/query"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/remove"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/snapshot"
	"github.com/understudy-db/understudy/proto/rpc/authz"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// Record is a snapshot's record, with the provider's id of the volume.
type Record = query.Snapshot

// Records reads what is known of snapshots.
type Records interface {
	// Get reads one, or answers inventory.ErrNotFound.
	Get(ctx context.Context, id string) (Record, error)
	// List reads a part of the list that the filter lets through, newest first, and the token of
	// the next one.
	List(ctx context.Context, filter query.SnapshotFilter, size int, token string) ([]Record,
		string, error)
}

// Config is what the service needs. Records and Jobs have no default.
type Config = wire.Config[Records]

// Service is SnapshotService.
type Service struct {
	cpv1.UnimplementedSnapshotServiceServer
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
		cpv1.SnapshotService_GetSnapshot_FullMethodName:    reads,
		cpv1.SnapshotService_ListSnapshots_FullMethodName:  reads,
		cpv1.SnapshotService_CreateSnapshot_FullMethodName: changes,
		cpv1.SnapshotService_DeleteSnapshot_FullMethodName: changes,
	}
}

// GetSnapshot returns one snapshot.
func (s *Service) GetSnapshot(ctx context.Context,
	req *cpv1.GetSnapshotRequest) (*cpv1.GetSnapshotResponse, error) {
	id := wire.ID(req.GetName())
	r, err := s.cfg.Records.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	return &cpv1.GetSnapshotResponse{Snapshot: toWire(r)}, nil
}

// ListSnapshots returns a page of snapshots, newest first.
func (s *Service) ListSnapshots(ctx context.Context,
	req *cpv1.ListSnapshotsRequest) (*cpv1.ListSnapshotsResponse, error) {
	page := wire.PageOf(req.GetPageSize(), req.GetPageToken())
	within := wire.RangeOf(req.GetCreatedAfter(), req.GetCreatedBefore())
	filter := query.SnapshotFilter{Server: wire.ID(req.GetServer()),
		Text: req.GetText(), After: within.After, Before: within.Before,
		Scope: wire.ScopeOf(ctx),
		// states that are named may be those of unusable ones
		Usable: !req.GetShowDeleted() && len(req.GetStates()) == 0}
	for _, state := range req.GetStates() {
		filter.States = append(filter.States,
			inventory.SnapshotState(strings.ToUpper(enum.Word(state))))
	}
	list, next, err := wire.Collect(page, func(size int, token string) ([]Record, string, error) {
		return s.cfg.Records.List(ctx, filter, size, token)
	})
	if err != nil {
		return nil, err
	}
	resp := &cpv1.ListSnapshotsResponse{NextPageToken: next}
	for _, r := range list {
		resp.Snapshots = append(resp.Snapshots, toWire(r))
	}
	return resp, nil
}

// CreateSnapshot starts a job that takes a consistent snapshot.
func (s *Service) CreateSnapshot(ctx context.Context,
	req *cpv1.CreateSnapshotRequest) (*cpv1.CreateSnapshotResponse, error) {
	server := wire.ID(req.GetServer())
	requestID := wire.RequestID(req.GetRequestId())
	made, err := s.cfg.Start(ctx, req, kit.Request{RequestID: requestID,
		Args: snapshot.Args{SnapshotArgs: kit.SnapshotArgs{
			Source: server, QuiesceLimit: req.GetQuiesceLimit().AsDuration(),
			Mode:    inventory.SnapshotMode(strings.ToUpper(enum.Word(req.GetMode()))),
			Reserve: req.GetReserveBinlogs().AsDuration(),
		}}})
	if err != nil {
		return nil, err
	}
	return &cpv1.CreateSnapshotResponse{Job: made}, nil
}

// DeleteSnapshot starts a job that deletes a snapshot at the provider.
func (s *Service) DeleteSnapshot(ctx context.Context,
	req *cpv1.DeleteSnapshotRequest) (*cpv1.DeleteSnapshotResponse, error) {
	id := wire.ID(req.GetName())
	requestID := wire.RequestID(req.GetRequestId())
	made, err := s.cfg.Start(ctx, req, kit.Request{RequestID: requestID,
		Args: remove.SnapshotArgs{Snapshot: id, Etag: req.GetEtag()}})
	if err != nil {
		return nil, err
	}
	return &cpv1.DeleteSnapshotResponse{Job: made}, nil
}
