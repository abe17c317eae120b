// Package snapshot serves SnapshotService: it checks requests, asks records and jobs, and writes
// answers.
package snapshot

import (
	"context"
	"errors"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/query"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	"github.com/understudy-db/understudy/controlplane/internal/workflow"
	"github.com/understudy-db/understudy/proto/rpc/authz"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// Record is a snapshot's record, with the provider's id of the volume.
type Record = query.Snapshot

// Records reads what is known of snapshots.
type Records interface {
	// Get reads one, or answers inventory.ErrNotFound.
	Get(ctx context.Context, id string) (Record, error)
	// List reads a part of the list, newest first, all of them or those of one server, and the
	// token of the next one.
	List(ctx context.Context, server string, size int, token string) ([]Record, string, error)
}

// Config is what the service needs. Records and Jobs have no default.
type Config struct {
	Records Records
	Jobs    wire.Starter
	Now     func() time.Time // default time.Now
}

// Service is SnapshotService.
type Service struct {
	cpv1.UnimplementedSnapshotServiceServer
	cfg Config
}

// New makes the service.
func New(cfg Config) (*Service, error) {
	if cfg.Records == nil || cfg.Jobs == nil {
		return nil, errors.New("cannot make the snapshot service: records and jobs are needed")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{cfg: cfg}, nil
}

// Rules says who may call what.
func Rules() authz.Table {
	operator := []identity.Role{identity.RoleOperator}
	return authz.Table{
		cpv1.SnapshotService_GetSnapshot_FullMethodName:    operator,
		cpv1.SnapshotService_ListSnapshots_FullMethodName:  operator,
		cpv1.SnapshotService_CreateSnapshot_FullMethodName: operator,
		cpv1.SnapshotService_DeleteSnapshot_FullMethodName: operator,
	}
}

// GetSnapshot returns one snapshot.
func (s *Service) GetSnapshot(ctx context.Context,
	req *cpv1.GetSnapshotRequest) (*cpv1.GetSnapshotResponse, error) {
	var check wire.Check
	id := check.Snapshot("name", req.GetName(), true)
	if err := check.Err(); err != nil {
		return nil, err
	}
	r, err := s.cfg.Records.Get(ctx, id)
	if err != nil {
		return nil, wire.Err(err)
	}
	return &cpv1.GetSnapshotResponse{Snapshot: toWire(r)}, nil
}

// ListSnapshots returns a page of snapshots, newest first.
func (s *Service) ListSnapshots(ctx context.Context,
	req *cpv1.ListSnapshotsRequest) (*cpv1.ListSnapshotsResponse, error) {
	var check wire.Check
	page := check.Page(req.GetPageSize(), req.GetPageToken())
	server := check.Server("server", req.GetServer(), false)
	if err := check.Err(); err != nil {
		return nil, err
	}
	list, next, err := wire.Collect(page, func(size int, token string) ([]Record, string, error) {
		return s.cfg.Records.List(ctx, server, size, token)
	}, func(r Record) bool {
		return req.GetShowDeleted() || r.State != inventory.SnapshotDeleted &&
			r.State != inventory.SnapshotFailed
	})
	if err != nil {
		return nil, wire.Err(err)
	}
	resp := &cpv1.ListSnapshotsResponse{NextPageToken: next}
	for _, r := range list {
		resp.Snapshots = append(resp.Snapshots, toWire(r))
	}
	return resp, nil
}

// modes has no "": the default is for the job to know.
var modes = map[cpv1.Snapshot_Mode]inventory.SnapshotMode{
	cpv1.Snapshot_MODE_UNSPECIFIED: inventory.ModeOnline,
	cpv1.Snapshot_MODE_ONLINE:      inventory.ModeOnline,
	cpv1.Snapshot_MODE_OFFLINE:     inventory.ModeOffline,
	cpv1.Snapshot_MODE_CRASH:       inventory.ModeCrash,
}

// CreateSnapshot starts a job that takes a consistent snapshot.
func (s *Service) CreateSnapshot(ctx context.Context,
	req *cpv1.CreateSnapshotRequest) (*cpv1.CreateSnapshotResponse, error) {
	var check wire.Check
	server := check.Server("server", req.GetServer(), true)
	mode, known := modes[req.GetMode()]
	check.Require("mode", known, "must be MODE_ONLINE, MODE_OFFLINE or MODE_CRASH")
	check.Require("hold_limit", req.GetHoldLimit() == nil || req.GetHoldLimit().AsDuration() > 0,
		"must be positive")
	check.Require("reserve_binlogs", req.GetReserveBinlogs() == nil ||
		req.GetReserveBinlogs().AsDuration() > 0, "must be positive")
	requestID := check.RequestID("request_id", req.GetRequestId())
	if err := check.Err(); err != nil {
		return nil, err
	}
	made, err := wire.StartOrPlan(ctx, s.cfg.Jobs, req.GetValidateOnly(), workflow.Ask{
		Kind: workflow.KindTakeSnapshot, RequestID: requestID, Who: wire.Who(ctx),
		Args: workflow.Args{
			Source: server, Mode: mode, HoldLimit: req.GetHoldLimit().AsDuration(),
			Reserve: req.GetReserveBinlogs().AsDuration(),
		},
	})
	if err != nil {
		return nil, err
	}
	return &cpv1.CreateSnapshotResponse{Job: wire.Job(made, s.cfg.Now())}, nil
}

// DeleteSnapshot starts a job that deletes a snapshot at the provider.
func (s *Service) DeleteSnapshot(ctx context.Context,
	req *cpv1.DeleteSnapshotRequest) (*cpv1.DeleteSnapshotResponse, error) {
	var check wire.Check
	id := check.Snapshot("name", req.GetName(), true)
	check.Etag("etag", req.GetEtag(), true)
	requestID := check.RequestID("request_id", req.GetRequestId())
	if err := check.Err(); err != nil {
		return nil, err
	}
	made, err := wire.StartOrPlan(ctx, s.cfg.Jobs, req.GetValidateOnly(), workflow.Ask{
		Kind: workflow.KindDeleteSnapshot, RequestID: requestID, Who: wire.Who(ctx),
		Args: workflow.Args{Snapshot: id, Etag: req.GetEtag()},
	})
	if err != nil {
		return nil, err
	}
	return &cpv1.DeleteSnapshotResponse{Job: wire.Job(made, s.cfg.Now())}, nil
}
