package server

import (
	"context"
	"strings"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	domain "github.com/understudy-db/understudy/controlplane/internal/workflow/machine"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/provision"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/purge"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/remove"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/replicate"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/rotate"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/verify"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// machine is what requests for a new server have in common.
type machine interface {
	GetName() string
	GetImage() string
	GetZone() string
	GetVolumeSizeBytes() int64
	GetPort() int32
	GetOptions() map[string]string
	GetRequestId() string
}

func machineArgs(req machine) kit.ServerArgs {
	return kit.ServerArgs{Server: wire.ID(req.GetName()), Image: req.GetImage(),
		Zone:        req.GetZone(),
		VolumeBytes: req.GetVolumeSizeBytes(), Port: int(req.GetPort()),
		Options: req.GetOptions()}
}

// CreateServer starts a job that makes a primary.
func (s *Service) CreateServer(ctx context.Context,
	req *cpv1.CreateServerRequest) (*cpv1.CreateServerResponse, error) {
	made, err := s.cfg.Start(ctx, req, kit.Request{RequestID: wire.RequestID(req.GetRequestId()),
		Args: provision.Args{ServerArgs: machineArgs(req), Filesystem: req.GetFilesystem(),
			AutoPurge: req.GetBinlogAutoPurge()}})
	if err != nil {
		return nil, err
	}
	return &cpv1.CreateServerResponse{Job: made}, nil
}

// levelOf is the level that a request asks for; empty, which means the default, when it asks for
// none. One that this program does not know is no level.
func levelOf(level cpv1.VerifyLevel) inventory.VerifyLevel {
	if level != cpv1.VerifyLevel_VERIFY_LEVEL_UNSPECIFIED && enum.Word(level) == "" {
		return inventory.VerifyLevel(level.String())
	}
	return inventory.VerifyLevel(strings.ToUpper(enum.Word(level)))
}

// CreateReplica starts a job that makes a verified replica, or plans one.
func (s *Service) CreateReplica(ctx context.Context,
	req *cpv1.CreateReplicaRequest) (*cpv1.CreateReplicaResponse, error) {
	var check errs.Fields
	primary := wire.ID(req.GetPrimary())
	snapshot := wire.ID(req.GetSnapshot())
	check.Require("primary", req.GetPrimary() != "" || req.GetSnapshot() != "",
		"one of primary and snapshot is required")
	if err := check.Err(); err != nil {
		return nil, err
	}
	args := replicate.Args{Verify: levelOf(req.GetVerify())}
	args.ServerArgs = machineArgs(req)
	args.Cleanup = req.GetCleanup()
	args.Source, args.Snapshot = primary, snapshot
	args.QuiesceLimit = req.GetQuiesceLimit().AsDuration()
	made, err := s.cfg.Start(ctx, req, kit.Request{
		RequestID: wire.RequestID(req.GetRequestId()), Args: args})
	if err != nil {
		return nil, err
	}
	return &cpv1.CreateReplicaResponse{Job: made}, nil
}

// VerifyReplica starts a job that compares a replica with its primary again.
func (s *Service) VerifyReplica(ctx context.Context,
	req *cpv1.VerifyReplicaRequest) (*cpv1.VerifyReplicaResponse, error) {
	name := wire.ID(req.GetName())
	requestID := wire.RequestID(req.GetRequestId())
	made, err := s.cfg.Start(ctx, req, kit.Request{RequestID: requestID,
		Args: verify.Args{Replica: name, Level: levelOf(req.GetLevel()),
			AcceptHistory: req.GetAcceptHistory()}})
	if err != nil {
		return nil, err
	}
	return &cpv1.VerifyReplicaResponse{Job: made}, nil
}

// RotateReplicaCredentials starts a job that gets a replica new credentials.
func (s *Service) RotateReplicaCredentials(ctx context.Context,
	req *cpv1.RotateReplicaCredentialsRequest) (*cpv1.RotateReplicaCredentialsResponse, error) {
	made, err := s.cfg.Start(ctx, req, kit.Request{RequestID: wire.RequestID(req.GetRequestId()),
		Args: rotate.Args{Replica: wire.ID(req.GetName())}})
	if err != nil {
		return nil, err
	}
	return &cpv1.RotateReplicaCredentialsResponse{Job: made}, nil
}

// RebuildReplica starts a job that makes a replica again on a new volume, or plans one.
func (s *Service) RebuildReplica(ctx context.Context,
	req *cpv1.RebuildReplicaRequest) (*cpv1.RebuildReplicaResponse, error) {
	args := replicate.RebuildArgs{Etag: req.GetEtag(),
		Args: replicate.Args{Verify: levelOf(req.GetVerify())}}
	args.Server, args.VolumeBytes = wire.ID(req.GetName()), req.GetVolumeSizeBytes()
	args.Snapshot = wire.ID(req.GetSnapshot())
	args.QuiesceLimit = req.GetQuiesceLimit().AsDuration()
	made, err := s.cfg.Start(ctx, req, kit.Request{RequestID: wire.RequestID(req.GetRequestId()),
		Args: args})
	if err != nil {
		return nil, err
	}
	return &cpv1.RebuildReplicaResponse{Job: made}, nil
}

// PurgeBinlogs starts a job that deletes binary logs that no replica needs.
func (s *Service) PurgeBinlogs(ctx context.Context,
	req *cpv1.PurgeBinlogsRequest) (*cpv1.PurgeBinlogsResponse, error) {
	args := purge.Args{Server: wire.ID(req.GetName())}
	for _, replica := range req.GetIgnoreReplicas() {
		args.Ignored = append(args.Ignored, wire.ID(replica))
	}
	made, err := s.cfg.Start(ctx, req, kit.Request{RequestID: wire.RequestID(req.GetRequestId()),
		Args: args})
	if err != nil {
		return nil, err
	}
	return &cpv1.PurgeBinlogsResponse{Job: made}, nil
}

// GrowServer starts a job that makes the data volume of a server larger.
func (s *Service) GrowServer(ctx context.Context,
	req *cpv1.GrowServerRequest) (*cpv1.GrowServerResponse, error) {
	made, err := s.cfg.Start(ctx, req, kit.Request{RequestID: wire.RequestID(req.GetRequestId()),
		Args: domain.GrowArgs{Server: wire.ID(req.GetName()), SizeBytes: req.GetSizeBytes()}})
	if err != nil {
		return nil, err
	}
	return &cpv1.GrowServerResponse{Job: made}, nil
}

// RebootServer starts a job that restarts the machine of a server.
func (s *Service) RebootServer(ctx context.Context,
	req *cpv1.RebootServerRequest) (*cpv1.RebootServerResponse, error) {
	made, err := s.cfg.Start(ctx, req, kit.Request{RequestID: wire.RequestID(req.GetRequestId()),
		Args: domain.RebootArgs{PowerArgs: domain.PowerArgs{Server: wire.ID(req.GetName()),
			AllowPrimary: req.GetAllowPrimary()}}})
	if err != nil {
		return nil, err
	}
	return &cpv1.RebootServerResponse{Job: made}, nil
}

// StopServer starts a job that switches the machine of a server off.
func (s *Service) StopServer(ctx context.Context,
	req *cpv1.StopServerRequest) (*cpv1.StopServerResponse, error) {
	made, err := s.cfg.Start(ctx, req, kit.Request{RequestID: wire.RequestID(req.GetRequestId()),
		Args: domain.StopArgs{PowerArgs: domain.PowerArgs{Server: wire.ID(req.GetName()),
			AllowPrimary: req.GetAllowPrimary()}}})
	if err != nil {
		return nil, err
	}
	return &cpv1.StopServerResponse{Job: made}, nil
}

// StartServer starts a job that switches the machine of a server on.
func (s *Service) StartServer(ctx context.Context,
	req *cpv1.StartServerRequest) (*cpv1.StartServerResponse, error) {
	made, err := s.cfg.Start(ctx, req, kit.Request{RequestID: wire.RequestID(req.GetRequestId()),
		Args: domain.StartArgs{PowerArgs: domain.PowerArgs{Server: wire.ID(req.GetName())}}})
	if err != nil {
		return nil, err
	}
	return &cpv1.StartServerResponse{Job: made}, nil
}

// DeleteServer starts a job that deletes a server.
func (s *Service) DeleteServer(ctx context.Context,
	req *cpv1.DeleteServerRequest) (*cpv1.DeleteServerResponse, error) {
	name := wire.ID(req.GetName())
	requestID := wire.RequestID(req.GetRequestId())
	made, err := s.cfg.Start(ctx, req, kit.Request{RequestID: requestID,
		Args: remove.ServerArgs{Server: name, Etag: req.GetEtag()}})
	if err != nil {
		return nil, err
	}
	return &cpv1.DeleteServerResponse{Job: made}, nil
}

const autoPurgePath = "binlog_auto_purge"

// UpdateServer changes settings of a server.
func (s *Service) UpdateServer(ctx context.Context,
	req *cpv1.UpdateServerRequest) (*cpv1.UpdateServerResponse, error) {
	var check errs.Fields
	name := wire.ID(req.GetServer().GetName())
	requestID := wire.RequestID(req.GetRequestId())
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
			return nil, err
		}
		return &cpv1.UpdateServerResponse{Server: s.toWire(r)}, nil
	}
	r, err := s.cfg.Records.SetBinlogAutoPurge(ctx, AutoPurge{
		Server: name, On: req.GetServer().GetBinlogAutoPurge(), Etag: req.GetServer().GetEtag(),
		Who: wire.Who(ctx), RequestID: requestID,
		CheckOnly: req.GetValidateOnly(),
	})
	if err != nil {
		return nil, err
	}
	return &cpv1.UpdateServerResponse{Server: s.toWire(r)}, nil
}
