package server

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	"github.com/understudy-db/understudy/controlplane/internal/workflow"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// CreateServer starts a job that makes a primary.
func (s *Service) CreateServer(ctx context.Context,
	req *cpv1.CreateServerRequest) (*cpv1.CreateServerResponse, error) {
	var check wire.Check
	check.ServerID("server_id", req.GetServerId())
	check.Place("image", req.GetImage())
	check.Place("zone", req.GetZone())
	check.Size("volume_size_bytes", req.GetVolumeSizeBytes())
	check.Require("filesystem", isFilesystem(req.GetFilesystem()), `must be "ext4" or "xfs"`)
	check.Port("port", req.GetPort())
	check.Options("options", req.GetOptions())
	requestID := check.RequestID("request_id", req.GetRequestId())
	if err := check.Err(); err != nil {
		return nil, err
	}
	made, err := s.start(ctx, req.GetValidateOnly(), workflow.Ask{Kind: workflow.KindCreatePrimary,
		RequestID: requestID, Args: workflow.Args{
			Server: req.GetServerId(), Image: req.GetImage(), Zone: req.GetZone(),
			VolumeBytes: req.GetVolumeSizeBytes(),
			Filesystem:  req.GetFilesystem(), Port: int(req.GetPort()),
			AutoPurge: req.GetBinlogAutoPurge(), Options: req.GetOptions(),
		}})
	if err != nil {
		return nil, err
	}
	return &cpv1.CreateServerResponse{Job: wire.Job(made, s.cfg.Now())}, nil
}

func isFilesystem(name string) bool { return name == "" || name == "ext4" || name == "xfs" }

var verifies = map[cpv1.CreateReplicaRequest_Verify]workflow.Verify{
	cpv1.CreateReplicaRequest_VERIFY_UNSPECIFIED: workflow.VerifyFence,
	cpv1.CreateReplicaRequest_VERIFY_FENCE:       workflow.VerifyFence,
	cpv1.CreateReplicaRequest_VERIFY_SAMPLE:      workflow.VerifySample,
	cpv1.CreateReplicaRequest_VERIFY_FULL:        workflow.VerifyFull,
}

// CreateReplica starts a job that makes a verified replica, or plans one.
func (s *Service) CreateReplica(ctx context.Context,
	req *cpv1.CreateReplicaRequest) (*cpv1.CreateReplicaResponse, error) {
	var check wire.Check
	check.ServerID("server_id", req.GetServerId())
	primary := check.Server("primary", req.GetPrimary(), false)
	snapshot := check.Snapshot("snapshot", req.GetSnapshot(), false)
	check.Require("primary", req.GetPrimary() != "" || req.GetSnapshot() != "",
		"a primary or a snapshot is needed")
	check.Place("image", req.GetImage())
	check.Place("zone", req.GetZone())
	verify, known := verifies[req.GetVerify()]
	check.Require("verify", known, "must be VERIFY_FENCE, VERIFY_SAMPLE or VERIFY_FULL")
	check.Size("volume_size_bytes", req.GetVolumeSizeBytes())
	check.Port("port", req.GetPort())
	check.Options("options", req.GetOptions())
	check.Require("hold_limit", req.GetHoldLimit() == nil || req.GetHoldLimit().AsDuration() > 0,
		"must be positive")
	requestID := check.RequestID("request_id", req.GetRequestId())
	if err := check.Err(); err != nil {
		return nil, err
	}
	made, err := s.start(ctx, req.GetValidateOnly(), workflow.Ask{Kind: workflow.KindCreateReplica,
		RequestID: requestID, Args: workflow.Args{
			Server: req.GetServerId(), Source: primary, Snapshot: snapshot, Image: req.GetImage(),
			Zone: req.GetZone(), Verify: verify,
			VolumeBytes: req.GetVolumeSizeBytes(), Port: int(req.GetPort()),
			Cleanup:   req.GetCleanup(),
			Options:   req.GetOptions(),
			HoldLimit: req.GetHoldLimit().AsDuration(),
		}})
	if err != nil {
		return nil, err
	}
	return &cpv1.CreateReplicaResponse{Job: wire.Job(made, s.cfg.Now())}, nil
}

// DeleteServer starts a job that takes a server away.
func (s *Service) DeleteServer(ctx context.Context,
	req *cpv1.DeleteServerRequest) (*cpv1.DeleteServerResponse, error) {
	var check wire.Check
	name := check.Server("name", req.GetName(), true)
	check.Etag("etag", req.GetEtag(), true)
	requestID := check.RequestID("request_id", req.GetRequestId())
	if err := check.Err(); err != nil {
		return nil, err
	}
	made, err := s.start(ctx, req.GetValidateOnly(), workflow.Ask{
		Kind: workflow.KindDeleteServer, RequestID: requestID,
		Args: workflow.Args{Server: name, Etag: req.GetEtag()},
	})
	if err != nil {
		return nil, err
	}
	return &cpv1.DeleteServerResponse{Job: wire.Job(made, s.cfg.Now())}, nil
}

func (s *Service) start(ctx context.Context, validateOnly bool, ask workflow.Ask) (job.Job, error) {
	ask.Who = wire.Who(ctx)
	return wire.StartOrPlan(ctx, s.cfg.Jobs, validateOnly, ask)
}

const autoPurgePath = "binlog_auto_purge"

// UpdateServer changes settings of a server.
func (s *Service) UpdateServer(ctx context.Context,
	req *cpv1.UpdateServerRequest) (*cpv1.UpdateServerResponse, error) {
	var check wire.Check
	name := check.Server("server.name", req.GetServer().GetName(), true)
	check.Etag("server.etag", req.GetServer().GetEtag(), false)
	requestID := check.RequestID("request_id", req.GetRequestId())
	for _, path := range req.GetUpdateMask().GetPaths() {
		check.Require("update_mask", path == autoPurgePath || path == "*",
			"can only hold "+autoPurgePath)
	}
	if err := check.Err(); err != nil {
		return nil, err
	}
	// Without a mask a field that is false is one that is not set.
	if len(req.GetUpdateMask().GetPaths()) == 0 && !req.GetServer().GetBinlogAutoPurge() {
		r, err := s.cfg.Records.Get(ctx, name)
		if err != nil {
			return nil, wire.Err(err)
		}
		return &cpv1.UpdateServerResponse{Server: toWire(r)}, nil
	}
	r, err := s.cfg.Records.SetBinlogAutoPurge(ctx, AutoPurge{
		Server: name, On: req.GetServer().GetBinlogAutoPurge(), Etag: req.GetServer().GetEtag(),
		Who: wire.Who(ctx), RequestID: requestID,
		CheckOnly: req.GetValidateOnly(),
	})
	if err != nil {
		return nil, wire.Err(err)
	}
	return &cpv1.UpdateServerResponse{Server: toWire(r)}, nil
}
