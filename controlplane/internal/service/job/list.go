package job

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/query"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// ListJobs returns a page of jobs without their steps, newest first.
func (s *Service) ListJobs(ctx context.Context,
	req *cpv1.ListJobsRequest) (*cpv1.ListJobsResponse, error) {
	var check errs.Fields
	check.Require("active_only", !req.GetActiveOnly() || len(req.GetStates()) == 0,
		"excludes states")
	page := wire.PageOf(req.GetPageSize(), req.GetPageToken())
	filter := jobFilter(req)
	if err := check.Err(); err != nil {
		return nil, err
	}
	list, next, err := wire.Collect(page, func(size int, token string) ([]job.Job, string, error) {
		filter.PageSize, filter.PageToken = size, token
		return s.cfg.Engine.List(ctx, filter)
	})
	if err != nil {
		return nil, err
	}
	resp := &cpv1.ListJobsResponse{NextPageToken: next}
	for _, j := range list {
		resp.Jobs = append(resp.Jobs, wire.JobHead(j))
	}
	return resp, nil
}

func jobFilter(req *cpv1.ListJobsRequest) job.Filter {
	within := wire.RangeOf(req.GetCreatedAfter(), req.GetCreatedBefore())
	filter := job.Filter{Subject: req.GetSubject(), Text: req.GetText(),
		CreatedAfter: within.After, CreatedBefore: within.Before}
	for _, kind := range req.GetKinds() {
		filter.Kinds = append(filter.Kinds, enum.Word(kind))
	}
	for _, state := range req.GetStates() {
		filter.States = append(filter.States, job.State(enum.Word(state)))
	}
	if req.GetActiveOnly() {
		filter.States = job.UnendedStates()
	}
	return filter
}

// ListAttempts returns a page of the attempts of a job's steps, oldest first.
func (s *Service) ListAttempts(ctx context.Context,
	req *cpv1.ListAttemptsRequest) (*cpv1.ListAttemptsResponse, error) {
	page := wire.PageOf(req.GetPageSize(), req.GetPageToken())
	id := wire.ID(req.GetName())
	all, unread := s.attempts(ctx, id, req.GetStep())
	all, next, err := wire.Cut(page, all, "attempts of "+id+" "+req.GetStep(),
		func(a *cpv1.Attempt) string {
			return fmt.Sprintf("%020d %s %06d", a.GetStartTime().AsTime().UnixNano(), a.GetStep(),
				a.GetNumber())
		})
	if err = errors.Join(err, unread); err != nil { // a bad page token comes first
		return nil, err
	}
	return &cpv1.ListAttemptsResponse{Attempts: all, NextPageToken: next}, nil
}

func (s *Service) attempts(ctx context.Context, id, step string) ([]*cpv1.Attempt, error) {
	j, err := s.cfg.Engine.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	list, err := s.cfg.Engine.Attempts(ctx, id)
	if err != nil {
		return nil, err
	}
	var all []*cpv1.Attempt
	for _, a := range list {
		if made := wire.Attempt(j, a); step == "" || made.GetStep() == step {
			all = append(all, made)
		}
	}
	return all, nil
}

// ListEvents returns a page of what happened, newest first.
func (s *Service) ListEvents(ctx context.Context,
	req *cpv1.ListEventsRequest) (*cpv1.ListEventsResponse, error) {
	page := wire.PageOf(req.GetPageSize(), req.GetPageToken())
	within := wire.RangeOf(req.GetAfter(), req.GetBefore())
	filter := query.EventFilter{Subject: req.GetSubject(), Action: req.GetAction(),
		Actor: req.GetActor(), Text: req.GetText(),
		After: within.After, Before: within.Before}
	list, next, err := wire.Collect(page, func(size int, token string) ([]inventory.Event, string,
		error) {
		return s.cfg.Events.Events(ctx, filter, size, token)
	})
	if err != nil {
		return nil, err
	}
	resp := &cpv1.ListEventsResponse{NextPageToken: next}
	for _, e := range list {
		resp.Events = append(resp.Events, &cpv1.Event{Time: wire.Time(e.At), Actor: e.Actor,
			Action: e.Action, Subject: e.Subject, Text: e.Message})
	}
	return resp, nil
}
