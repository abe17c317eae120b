package job

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// answer is the job as it is after a request.
func (s *Service) answer(j job.Job, err error) (*cpv1.Job, error) {
	if err != nil {
		return nil, wire.Err(err)
	}
	return wire.Job(j, s.cfg.Now()), nil
}

// RetryJob goes on with a job, or runs one step alone.
func (s *Service) RetryJob(ctx context.Context,
	req *cpv1.RetryJobRequest) (*cpv1.RetryJobResponse, error) {
	var check wire.Check
	id := check.Job("name", req.GetName())
	check.Step("step", req.GetStep(), false)
	if err := check.Err(); err != nil {
		return nil, err
	}
	ask := job.ChangeRequest{Who: wire.Who(ctx)}
	var j job.Job
	var err error
	if req.GetStep() == "" {
		j, err = s.cfg.Engine.Retry(ctx, id, ask)
	} else {
		j, err = s.cfg.Engine.RetryStep(ctx, id, req.GetStep(), ask)
	}
	answer, err := s.answer(j, err)
	if err != nil {
		return nil, err
	}
	return &cpv1.RetryJobResponse{Job: answer}, nil
}

// RedoStep makes a step's effect anew.
func (s *Service) RedoStep(ctx context.Context,
	req *cpv1.RedoStepRequest) (*cpv1.RedoStepResponse, error) {
	id, err := onStep(req)
	if err != nil {
		return nil, err
	}
	answer, err := s.answer(s.cfg.Engine.Redo(ctx, id, req.GetStep(),
		job.ChangeRequest{Who: wire.Who(ctx), Reason: req.GetReason()}))
	if err != nil {
		return nil, err
	}
	return &cpv1.RedoStepResponse{Job: answer}, nil
}

// SkipStep marks a failed step as skipped and goes on.
func (s *Service) SkipStep(ctx context.Context,
	req *cpv1.SkipStepRequest) (*cpv1.SkipStepResponse, error) {
	id, err := onStep(req)
	if err != nil {
		return nil, err
	}
	answer, err := s.answer(s.cfg.Engine.Skip(ctx, id, req.GetStep(),
		job.ChangeRequest{Who: wire.Who(ctx), Reason: req.GetReason()}))
	if err != nil {
		return nil, err
	}
	return &cpv1.SkipStepResponse{Job: answer}, nil
}

// onStep checks a request about one step that needs a reason.
func onStep(req interface {
	GetName() string
	GetStep() string
	GetReason() string
}) (id string, err error) {
	var check wire.Check
	id = check.Job("name", req.GetName())
	check.Step("step", req.GetStep(), true)
	check.Reason("reason", req.GetReason())
	return id, check.Err()
}

// CancelJob stops a job at its next safe point.
func (s *Service) CancelJob(ctx context.Context,
	req *cpv1.CancelJobRequest) (*cpv1.CancelJobResponse, error) {
	var check wire.Check
	id := check.Job("name", req.GetName())
	if err := check.Err(); err != nil {
		return nil, err
	}
	answer, err := s.answer(s.cfg.Engine.Cancel(ctx, id, job.ChangeRequest{Who: wire.Who(ctx)}))
	if err != nil {
		return nil, err
	}
	return &cpv1.CancelJobResponse{Job: answer}, nil
}

// CleanupJob removes exactly what a job made, or says what it would remove.
func (s *Service) CleanupJob(ctx context.Context,
	req *cpv1.CleanupJobRequest) (*cpv1.CleanupJobResponse, error) {
	var check wire.Check
	id := check.Job("name", req.GetName())
	if err := check.Err(); err != nil {
		return nil, err
	}
	var j job.Job
	var err error
	if req.GetValidateOnly() {
		j, err = s.cfg.Cleanups.PlanCleanup(ctx, id)
	} else {
		j, err = s.cfg.Engine.Cleanup(ctx, id, job.ChangeRequest{Who: wire.Who(ctx)})
	}
	answer, err := s.answer(j, err)
	if err != nil {
		return nil, err
	}
	return &cpv1.CleanupJobResponse{Job: answer}, nil
}
