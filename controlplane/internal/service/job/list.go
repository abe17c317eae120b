package job

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
	filter.Scope = wire.ScopeOf(ctx)
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
	j, all, unread := s.attempts(ctx, id, req.GetStep())
	all, next, err := wire.Cut(page, all, "attempts of "+id+" "+req.GetStep(), attemptKey)
	if err = errors.Join(err, unread); err != nil { // a bad page token comes first
		return nil, err
	}
	resp := &cpv1.ListAttemptsResponse{NextPageToken: next}
	for _, a := range all {
		resp.Attempts = append(resp.Attempts, wire.Attempt(j, a))
	}
	return resp, nil
}

// attemptKey orders attempts as the store does: steps that are quick begin at one time.
func attemptKey(a job.Attempt) string {
	return fmt.Sprintf("%020d %06d %06d", a.Started.UnixNano(), a.Seq, a.Number)
}

func (s *Service) attempts(ctx context.Context, id, step string) (job.Job, []job.Attempt, error) {
	j, err := s.cfg.Engine.Get(ctx, id)
	if err != nil {
		return j, nil, err
	}
	all, err := s.cfg.Engine.Attempts(ctx, id)
	if err != nil {
		return j, nil, err
	}
	return j, slices.DeleteFunc(all, func(a job.Attempt) bool {
		return step != "" && wire.Attempt(j, a).GetStep() != step
	}), nil
}

// ListEvents returns a page of what happened, newest first.
func (s *Service) ListEvents(ctx context.Context,
	req *cpv1.ListEventsRequest) (*cpv1.ListEventsResponse, error) {
	page := wire.PageOf(req.GetPageSize(), req.GetPageToken())
	within := wire.RangeOf(req.GetAfter(), req.GetBefore())
	filter := query.EventFilter{Subject: req.GetSubject(), Action: req.GetAction(),
		Actor: req.GetActor(), Text: req.GetText(),
		After: within.After, Before: within.Before, Scope: wire.ScopeOf(ctx)}
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
