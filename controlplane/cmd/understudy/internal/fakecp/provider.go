package fakecp

import (
	"context"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// CheckProvider says that all is well.
func (s *Server) CheckProvider(context.Context,
	*cpv1.CheckProviderRequest) (*cpv1.CheckProviderResponse, error) {
	return &cpv1.CheckProviderResponse{Provider: "nspawn"}, nil
}

// ListImages returns two images.
func (s *Server) ListImages(context.Context,
	*cpv1.ListImagesRequest) (*cpv1.ListImagesResponse, error) {
	return &cpv1.ListImagesResponse{Images: []*cpv1.Image{
		{Name: "trixie", Description: "Debian 13 with MariaDB 11.8", IsDefault: true},
		{Name: "bookworm", Description: "Debian 12 with MariaDB 10.11"}}}, nil
}

// ListObjects returns an object of each kind, and one that no record names.
func (s *Server) ListObjects(context.Context,
	*cpv1.ListObjectsRequest) (*cpv1.ListObjectsResponse, error) {
	return &cpv1.ListObjectsResponse{Objects: []*cpv1.ProviderObject{
		{Kind: cpv1.ProviderObject_KIND_MACHINE, Id: "i-1", State: "running", Address: "10.88.0.2",
			Owner: "servers/db1", CreateTime: ago(26 * time.Hour),
			Tags: map[string]string{"understudy-job": "j-0001", "understudy-server": "db1"}},
		{Kind: cpv1.ProviderObject_KIND_VOLUME, Id: "vol-1", State: "in-use",
			SizeBytes: 2 << 30, Machine: "i-1",
			Owner: "servers/db1", CreateTime: ago(26 * time.Hour)},
		{Kind: cpv1.ProviderObject_KIND_SNAPSHOT, Id: "snap-3", State: "completed",
			SizeBytes: 2 << 30,
			Owner:     "snapshots/db1-20260102-140000", CreateTime: ago(64 * time.Minute)},
		{Kind: cpv1.ProviderObject_KIND_VOLUME, Id: "vol-8", State: "available", SizeBytes: 1 << 30,
			CreateTime: ago(3 * time.Minute), Tags: map[string]string{"understudy-job": "j-0004"}},
	}}, nil
}

// SweepProvider lists the volume that no record names, and removes it.
func (s *Server) SweepProvider(_ context.Context,
	req *cpv1.SweepProviderRequest) (*cpv1.SweepProviderResponse, error) {
	left := &cpv1.ProviderObject{Kind: cpv1.ProviderObject_KIND_VOLUME, Id: "vol-8",
		State:     "available",
		SizeBytes: 1 << 30, CreateTime: ago(3 * time.Minute),
		Tags: map[string]string{"understudy-job": "j-0004"}}
	if !req.GetValidateOnly() && (len(req.GetIds()) != 1 || req.GetIds()[0] != left.GetId()) {
		return nil, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_ETAG_MISMATCH,
			"these were not left behind", errs.WithHint("sweep again"))
	}
	return &cpv1.SweepProviderResponse{Objects: []*cpv1.ProviderObject{left}}, nil
}

// ListTasks returns what a person is asked to do.
func (s *Server) ListTasks(context.Context,
	*cpv1.ListTasksRequest) (*cpv1.ListTasksResponse, error) {
	return &cpv1.ListTasksResponse{Tasks: []*cpv1.Task{theTask(cpv1.Task_STATE_OPEN)}}, nil
}

func theTask(state cpv1.Task_State) *cpv1.Task {
	return &cpv1.Task{Id: "task-0123456789ab", Kind: cpv1.Task_KIND_MAKE_MACHINE, State: state,
		CreateTime: ago(3 * time.Minute), Object: "i-2", MachineName: "db2", Image: "trixie",
		Instruction: "task-0123456789ab: make machine db2 from image trixie; then: understudy " +
			"provider done task-0123456789ab --address IP"}
}

// CompleteTask wants the address.
func (s *Server) CompleteTask(_ context.Context,
	req *cpv1.CompleteTaskRequest) (*cpv1.CompleteTaskResponse, error) {
	if req.GetId() != theTask(0).GetId() {
		return nil, notFound(req.GetId(), "ListTasks")
	}
	if req.GetAddress() == "" {
		return nil, errs.New(errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD,
			"the address of the machine is missing", errs.WithHint("say --address IP"))
	}
	return &cpv1.CompleteTaskResponse{Task: theTask(cpv1.Task_STATE_DONE)}, nil
}

// RefuseTask takes any reason.
func (s *Server) RefuseTask(_ context.Context,
	_ *cpv1.RefuseTaskRequest) (*cpv1.RefuseTaskResponse, error) {
	return &cpv1.RefuseTaskResponse{Task: theTask(cpv1.Task_STATE_REFUSED)}, nil
}
