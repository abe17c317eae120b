package workflow

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/job"
)

// Start makes the job that was asked for and answers with it, or with the one that the same request id made before. What cannot be met as
// things stand is refused, with the reason and the way out.
func (w *Workflow) Start(ctx context.Context, ask Ask) (job.Job, error) {
	req, err := w.Request(ctx, ask)
	if err != nil {
		return job.Job{}, err
	}
	asked, err := w.askedBefore(ctx, req)
	if err != nil {
		return job.Job{}, err
	}
	if !asked { // a repeat is answered with its job, whatever that job has changed meanwhile
		if err := w.Preflight(ctx, req); err != nil {
			return job.Job{}, err
		}
	}
	return w.Jobs.Create(ctx, req)
}

// askedBefore reports whether the request made a job before.
func (w *Workflow) askedBefore(ctx context.Context, req job.Request) (bool, error) {
	for token := ""; ; {
		jobs, next, err := w.Jobs.List(ctx, job.Filter{Kind: req.Kind, Subject: req.Subjects[0], PageToken: token})
		if err != nil {
			return false, err
		}
		for _, j := range jobs {
			if j.RequestID == req.RequestID {
				return true, nil
			}
		}
		if token = next; token == "" {
			return false, nil
		}
	}
}

// VerifiedBy is the level to which the job that made a replica compared its data; empty when it did not, or has not yet.
func VerifiedBy(j job.Job) Verify {
	s, ok := j.Step("verify")
	if j.Kind != KindCreateReplica || !ok || s.State != job.StepSucceeded {
		return ""
	}
	args, err := ArgsOf(j)
	if err != nil {
		return ""
	}
	return args.Verify
}
