package job

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// request is what all requests on a job have.
type request interface {
	GetName() string
	GetRequestId() string
}

// stepRequest is a request about one step that needs a reason.
type stepRequest interface {
	request
	GetStep() string
	GetReason() string
}

// confirming is a request that may delete data.
type confirming interface {
	GetConfirmDelete() *cpv1.DeleteConfirmation
}

// read is the job's id and the request for the engine.
func read(ctx context.Context, req request) (id string, change job.ChangeRequest) {
	change = job.ChangeRequest{Who: wire.Who(ctx), RequestID: wire.RequestID(req.GetRequestId())}
	if about, ok := req.(stepRequest); ok {
		change.Reason = about.GetReason()
	}
	if c, ok := req.(confirming); ok && c.GetConfirmDelete() != nil {
		change.Confirm = job.Confirm{Name: c.GetConfirmDelete().GetName(),
			Etag: c.GetConfirmDelete().GetEtag()}
	}
	return wire.ID(req.GetName()), change
}

// answer is the job as it is after a request.
func (s *Service) answer(j job.Job, err error) (*cpv1.Job, error) {
	if err != nil {
		return nil, err
	}
	return wire.Job(j, s.cfg.Now()), nil
}

// RetryJob goes on with a job, or runs one step alone.
func (s *Service) RetryJob(ctx context.Context,
	req *cpv1.RetryJobRequest) (*cpv1.RetryJobResponse, error) {
	id, change := read(ctx, req)
	var j job.Job
	var err error
	if req.GetStep() == "" {
		j, err = s.cfg.Engine.Retry(ctx, id, change)
	} else {
		j, err = s.cfg.Engine.RetryStep(ctx, id, req.GetStep(), change)
	}
	answer, err := s.answer(j, err)
	if err != nil {
		return nil, err
	}
	return &cpv1.RetryJobResponse{Job: answer}, nil
}

// RedoStep runs a step and all after it again.
func (s *Service) RedoStep(ctx context.Context,
	req *cpv1.RedoStepRequest) (*cpv1.RedoStepResponse, error) {
	id, change := read(ctx, req)
	answer, err := s.answer(s.cfg.Engine.Redo(ctx, id, req.GetStep(), change))
	if err != nil {
		return nil, err
	}
	return &cpv1.RedoStepResponse{Job: answer}, nil
}

// SkipStep marks a failed step as skipped and goes on.
func (s *Service) SkipStep(ctx context.Context,
	req *cpv1.SkipStepRequest) (*cpv1.SkipStepResponse, error) {
	id, change := read(ctx, req)
	answer, err := s.answer(s.cfg.Engine.Skip(ctx, id, req.GetStep(), change))
	if err != nil {
		return nil, err
	}
	return &cpv1.SkipStepResponse{Job: answer}, nil
}

// CancelJob stops a job at its next safe point.
func (s *Service) CancelJob(ctx context.Context,
	req *cpv1.CancelJobRequest) (*cpv1.CancelJobResponse, error) {
	id, change := read(ctx, req)
	answer, err := s.answer(s.cfg.Engine.Cancel(ctx, id, change))
	if err != nil {
		return nil, err
	}
	return &cpv1.CancelJobResponse{Job: answer}, nil
}

// CleanupJob removes exactly what a job made, or says what it would remove.
func (s *Service) CleanupJob(ctx context.Context,
	req *cpv1.CleanupJobRequest) (*cpv1.CleanupJobResponse, error) {
	id, change := read(ctx, req)
	var j job.Job
	var err error
	if req.GetValidateOnly() {
		j, err = s.cfg.Cleanups.PlanCleanup(ctx, id)
	} else {
		j, err = s.cfg.Engine.Cleanup(ctx, id, change)
	}
	answer, err := s.answer(j, err)
	if err != nil {
		return nil, err
	}
	return &cpv1.CleanupJobResponse{Job: answer}, nil
}
