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
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// unended are the states in which something may still happen by itself or waits for an operator.
var unended = []job.State{job.Queued, job.Running, job.Waiting, job.ActionRequired, job.Cancelling}

// ListJobs returns a page of jobs without their steps, newest first.
func (s *Service) ListJobs(ctx context.Context,
	req *cpv1.ListJobsRequest) (*cpv1.ListJobsResponse, error) {
	var check wire.Check
	page := check.Page(req.GetPageSize(), req.GetPageToken())
	filter := jobFilter(&check, req)
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

func jobFilter(check *wire.Check, req *cpv1.ListJobsRequest) job.Filter {
	check.Subject("subject", req.GetSubject())
	check.Require("active_only", !req.GetActiveOnly() || len(req.GetStates()) == 0,
		"excludes states")
	within := check.Range("created_", req.GetCreatedAfter(), req.GetCreatedBefore())
	filter := job.Filter{Subject: req.GetSubject(), Text: check.Text("text", req.GetText()),
		CreatedAfter: within.After, CreatedBefore: within.Before}
	for _, kind := range wire.Enums(check, "kinds", req.GetKinds()) {
		filter.Kinds = append(filter.Kinds, enum.Word(kind))
	}
	for _, state := range wire.Enums(check, "states", req.GetStates()) {
		filter.States = append(filter.States, job.State(enum.Word(state)))
	}
	if req.GetActiveOnly() {
		filter.States = unended
	}
	return filter
}

// ListAttempts returns a page of the attempts of a job's steps, oldest first.
func (s *Service) ListAttempts(ctx context.Context,
	req *cpv1.ListAttemptsRequest) (*cpv1.ListAttemptsResponse, error) {
	var check wire.Check
	page := check.Page(req.GetPageSize(), req.GetPageToken())
	id := check.Job("name", req.GetName())
	check.Step("step", req.GetStep(), false)
	if err := check.Err(); err != nil {
		return nil, err
	}
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
	var check wire.Check
	page := check.Page(req.GetPageSize(), req.GetPageToken())
	check.Subject("subject", req.GetSubject())
	within := check.Range("", req.GetAfter(), req.GetBefore())
	filter := query.EventFilter{Subject: req.GetSubject(), Action: check.Action("action",
		req.GetAction()),
		Actor: check.Text("actor", req.GetActor()), Text: check.Text("text", req.GetText()),
		After: within.After, Before: within.Before}
	if err := check.Err(); err != nil {
		return nil, err
	}
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
