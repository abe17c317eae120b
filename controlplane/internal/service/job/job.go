// Package job serves JobService: it checks requests, asks the engine, and writes answers.
package job

import (
	"context"
	"errors"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	"github.com/understudy-db/understudy/proto/rpc/authz"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// Engine runs the jobs; *job.Engine is one.
type Engine interface {
	// Get reads a job with its steps.
	Get(ctx context.Context, id string) (job.Job, error)
	// List reads a page of jobs, newest first, and the token of the next page.
	List(ctx context.Context, filter job.Filter) ([]job.Job, string, error)
	// Watch sends the job as it is now and then after every change.
	Watch(ctx context.Context, id string) (<-chan job.Job, error)
	// Retry goes on from the step that failed, was cancelled or needs a person.
	Retry(ctx context.Context, id string, req job.ChangeRequest) (job.Job, error)
	// RetryStep runs one step alone.
	RetryStep(ctx context.Context, id, step string, req job.ChangeRequest) (job.Job, error)
	// Redo does the step and all after it anew.
	Redo(ctx context.Context, id, step string, req job.ChangeRequest) (job.Job, error)
	// Skip goes past a step without it being done.
	Skip(ctx context.Context, id, step string, req job.ChangeRequest) (job.Job, error)
	// Cancel stops the job at a safe point.
	Cancel(ctx context.Context, id string, req job.ChangeRequest) (job.Job, error)
	// Cleanup removes what the job made.
	Cleanup(ctx context.Context, id string, req job.ChangeRequest) (job.Job, error)
}

// Cleanups says what a cleanup would do.
type Cleanups interface {
	// PlanCleanup is the job with the steps that its cleanup would run, and what each would remove.
	// It changes nothing.
	PlanCleanup(ctx context.Context, id string) (job.Job, error)
}

// Audit reads the audit.
type Audit interface {
	// Events reads a part of the audit, newest first, all of it or what is on one subject, and the
	// token of the next one.
	Events(ctx context.Context, subject string, size int, token string) ([]inventory.Event, string,
		error)
}

// Config is what the service needs. All but Now are required.
type Config struct {
	Engine   Engine
	Cleanups Cleanups
	Audit    Audit
	Now      func() time.Time // default time.Now
}

// Service is JobService.
type Service struct {
	cpv1.UnimplementedJobServiceServer
	cfg Config
}

// New makes the service.
func New(cfg Config) (*Service, error) {
	if cfg.Engine == nil || cfg.Cleanups == nil || cfg.Audit == nil {
		return nil, errors.New("cannot make the job service: engine, cleanups and audit are needed")
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
		cpv1.JobService_GetJob_FullMethodName:     operator,
		cpv1.JobService_ListJobs_FullMethodName:   operator,
		cpv1.JobService_WatchJob_FullMethodName:   operator,
		cpv1.JobService_RetryJob_FullMethodName:   operator,
		cpv1.JobService_RedoStep_FullMethodName:   operator,
		cpv1.JobService_SkipStep_FullMethodName:   operator,
		cpv1.JobService_CancelJob_FullMethodName:  operator,
		cpv1.JobService_CleanupJob_FullMethodName: operator,
		cpv1.JobService_ListEvents_FullMethodName: operator,
	}
}

// GetJob returns one job with its steps.
func (s *Service) GetJob(ctx context.Context,
	req *cpv1.GetJobRequest) (*cpv1.GetJobResponse, error) {
	var check wire.Check
	id := check.Job("name", req.GetName())
	if err := check.Err(); err != nil {
		return nil, err
	}
	j, err := s.cfg.Engine.Get(ctx, id)
	if err != nil {
		return nil, wire.Err(err)
	}
	return &cpv1.GetJobResponse{Job: wire.Job(j, s.cfg.Now())}, nil
}

// unended are the states in which something may still happen by itself or waits for a person.
var unended = []job.State{job.Queued, job.Running, job.Waiting, job.ActionRequired, job.Cancelling}

// ListJobs returns a page of jobs without their steps, newest first.
func (s *Service) ListJobs(ctx context.Context,
	req *cpv1.ListJobsRequest) (*cpv1.ListJobsResponse, error) {
	var check wire.Check
	page := check.Page(req.GetPageSize(), req.GetPageToken())
	check.Subject("subject", req.GetSubject())
	if err := check.Err(); err != nil {
		return nil, err
	}
	filter := job.Filter{Subject: req.GetSubject()}
	if req.GetActiveOnly() {
		filter.States = unended
	}
	list, next, err := wire.Collect(page, func(size int, token string) ([]job.Job, string, error) {
		filter.PageSize, filter.PageToken = size, token
		return s.cfg.Engine.List(ctx, filter)
	}, nil)
	if err != nil {
		return nil, wire.Err(err)
	}
	resp := &cpv1.ListJobsResponse{NextPageToken: next}
	for _, j := range list {
		resp.Jobs = append(resp.Jobs, wire.JobHead(j))
	}
	return resp, nil
}

// ListEvents returns a page of the audit, newest first.
func (s *Service) ListEvents(ctx context.Context,
	req *cpv1.ListEventsRequest) (*cpv1.ListEventsResponse, error) {
	var check wire.Check
	page := check.Page(req.GetPageSize(), req.GetPageToken())
	check.Subject("subject", req.GetSubject())
	if err := check.Err(); err != nil {
		return nil, err
	}
	list, next, err := wire.Collect(page, func(size int, token string) ([]inventory.Event, string,
		error) {
		return s.cfg.Audit.Events(ctx, req.GetSubject(), size, token)
	}, nil)
	if err != nil {
		return nil, wire.Err(err)
	}
	resp := &cpv1.ListEventsResponse{NextPageToken: next}
	for _, e := range list {
		resp.Events = append(resp.Events, &cpv1.Event{Time: wire.Time(e.At), Actor: e.Actor,
			Action: e.Action, Subject: e.Subject, Text: e.Message})
	}
	return resp, nil
}
