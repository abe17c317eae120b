// Package job serves JobService: it checks requests, asks the engine, and writes answers.
package job

import (
	"context"
	"errors"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/query"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	"github.com/understudy-db/understudy/proto/rpc/authz"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// Engine runs the jobs; *job.Engine is one.
type Engine interface {
	// Get reads a job with its steps.
	Get(ctx context.Context, id string) (job.Job, error)
	// List reads a page of jobs, newest first, and the token of the next page.
	List(ctx context.Context, filter job.Filter) ([]job.Job, string, error)
	// Attempts reads every try of every step of a job, oldest first.
	Attempts(ctx context.Context, id string) ([]job.Attempt, error)
	// Watch sends the job as it is now and then after every change.
	Watch(ctx context.Context, id string) (<-chan job.Job, error)
	// Retry goes on from the step that failed, was cancelled or needs an operator.
	Retry(ctx context.Context, id string, req job.ChangeRequest) (job.Job, error)
	// RetryStep runs one step alone.
	RetryStep(ctx context.Context, id, step string, req job.ChangeRequest) (job.Job, error)
	// Redo does the step and all after it again.
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

// Events reads what happened.
type Events interface {
	// Events reads a part of the events that the filter lets through, newest first, and the token
	// of the next one.
	Events(ctx context.Context, filter query.EventFilter, size int,
		token string) ([]inventory.Event,
		string, error)
}

// Config is what the service needs. All but Now are required.
type Config struct {
	Engine   Engine
	Cleanups Cleanups
	Events   Events
	Now      func() time.Time // default time.Now
}

// Service is JobService.
type Service struct {
	cpv1.UnimplementedJobServiceServer
	cfg Config
}

// New makes the service.
func New(cfg Config) (*Service, error) {
	if cfg.Engine == nil || cfg.Cleanups == nil || cfg.Events == nil {
		return nil, errors.New(
			"cannot make the job service: engine, cleanups and events are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{cfg: cfg}, nil
}

// Rules says who may call what.
func Rules() authz.Table {
	reads, changes := authz.Readers(), authz.Changers()
	return authz.Table{
		cpv1.JobService_GetJob_FullMethodName:       reads,
		cpv1.JobService_ListJobs_FullMethodName:     reads,
		cpv1.JobService_ListAttempts_FullMethodName: reads,
		cpv1.JobService_WatchJob_FullMethodName:     reads,
		cpv1.JobService_RetryJob_FullMethodName:     changes,
		cpv1.JobService_RedoStep_FullMethodName:     changes,
		cpv1.JobService_SkipStep_FullMethodName:     changes,
		cpv1.JobService_CancelJob_FullMethodName:    changes,
		cpv1.JobService_CleanupJob_FullMethodName:   changes,
		cpv1.JobService_ListEvents_FullMethodName:   reads,
	}
}

// GetJob returns one job with its steps.
func (s *Service) GetJob(ctx context.Context,
	req *cpv1.GetJobRequest) (*cpv1.GetJobResponse, error) {
	id := wire.ID(req.GetName())
	j, err := s.cfg.Engine.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	return &cpv1.GetJobResponse{Job: wire.Job(j, s.cfg.Now())}, nil
}
