package fakecp

import (
	"context"
	"strings"

	"google.golang.org/protobuf/proto"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (s *Server) snapshot(name string) (*cpv1.Snapshot, error) {
	for _, r := range s.scene.snapshots {
		if r.GetName() == name {
			return proto.CloneOf(r), nil
		}
	}
	return nil, notFound(name, "ListSnapshots")
}

// GetSnapshot returns a snapshot.
func (s *Server) GetSnapshot(_ context.Context,
	req *cpv1.GetSnapshotRequest) (*cpv1.GetSnapshotResponse, error) {
	r, err := s.snapshot(req.GetName())
	return &cpv1.GetSnapshotResponse{Snapshot: r}, err
}

// ListSnapshots returns snapshots, two a page.
func (s *Server) ListSnapshots(_ context.Context,
	req *cpv1.ListSnapshotsRequest) (*cpv1.ListSnapshotsResponse, error) {
	var kept []*cpv1.Snapshot
	for _, r := range s.scene.snapshots {
		gone := r.GetState() == cpv1.Snapshot_STATE_FAILED ||
			r.GetState() == cpv1.Snapshot_STATE_DELETED
		if (req.GetShowDeleted() || !gone || len(req.GetStates()) > 0) &&
			has(req.GetStates(), r.GetState()) &&
			within(r.GetCreateTime(), req.GetCreatedAfter(), req.GetCreatedBefore()) &&
			strings.Contains(r.GetName(), req.GetText()) &&
			(req.GetServer() == "" || req.GetServer() == r.GetServer()) {
			kept = append(kept, r)
		}
	}
	snapshots, token := page(kept, req.GetPageToken(), 2)
	return &cpv1.ListSnapshotsResponse{Snapshots: snapshots, NextPageToken: token}, nil
}

// CreateSnapshot starts a job.
func (s *Server) CreateSnapshot(_ context.Context,
	req *cpv1.CreateSnapshotRequest) (*cpv1.CreateSnapshotResponse, error) {
	if _, err := s.server(req.GetServer()); err != nil {
		return nil, err
	}
	job := newJob("j-0103", cpv1.Job_KIND_TAKE_SNAPSHOT, "snapshots/db1-20260102-140000",
		"online snapshot of "+strings.TrimPrefix(req.GetServer(), "servers/"),
		req.GetRequestId(), snapshotSteps())
	if req.GetValidateOnly() {
		return &cpv1.CreateSnapshotResponse{Job: planOf(job)}, nil
	}
	return &cpv1.CreateSnapshotResponse{Job: s.play(snapshotScript(job))}, nil
}

// DeleteSnapshot starts a job.
func (s *Server) DeleteSnapshot(_ context.Context,
	req *cpv1.DeleteSnapshotRequest) (*cpv1.DeleteSnapshotResponse, error) {
	r, err := s.snapshot(req.GetName())
	if err != nil {
		return nil, err
	}
	if err := sameEtag(r.GetEtag(), req.GetEtag(), req.GetName()); err != nil {
		return nil, err
	}
	job := newJob("j-0104", cpv1.Job_KIND_DELETE_SNAPSHOT, req.GetName(), "delete "+req.GetName(),
		req.GetRequestId(),
		[][2]string{{"delete_snapshot", "the provider's snapshot is gone"}})
	return &cpv1.DeleteSnapshotResponse{Job: s.play(oneStep(job, []string{"removed it"}))}, nil
}
