package app

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

// starter starts jobs for the services, and plans them.
type starter struct {
	*kit.Kit
	engine *job.Engine[kit.Records]
	st     *store.Store
}

// Start makes the job, or answers with the one that the same request id made before.
func (s starter) Start(ctx context.Context, ask kit.Request) (job.Job, error) {
	repeated, err := s.repeated(ctx, ask.RequestID)
	if err != nil {
		return job.Job{}, err
	}
	if repeated { // it is answered with its job, whatever changed meanwhile
		return s.engine.Create(ctx, ask.Repeat())
	}
	args, req, err := s.Resolve(ctx, ask)
	if err != nil {
		return job.Job{}, err
	}
	if err := args.Check(ctx, s.Kit); err != nil {
		return job.Job{}, err
	}
	return s.engine.Create(ctx, req)
}

// repeated reports whether a job was made under the request id: the engine answers with it, or
// refuses another body.
func (s starter) repeated(ctx context.Context, requestID string) (found bool, err error) {
	if requestID == "" {
		return false, nil
	}
	err = s.st.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		_, found, err = s.st.Jobs(tx).Requested(ctx, requestID)
		return err
	})
	return found, err
}
