package wire

import (
	"context"
	"errors"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// Starter starts jobs for the services.
type Starter interface {
	// Start makes the job and answers with it, or with the one that the same request id made
	// before.
	Start(ctx context.Context, ask kit.Request) (job.Job, error)
	// DryRun says what the job would find and do, as a job without an id. It starts nothing.
	DryRun(ctx context.Context, ask kit.Request) (job.Job, error)
}

// Config is what a service of records and of jobs that change them needs. Records and Jobs have no
// default.
type Config[R any] struct {
	Records R
	Jobs    Starter
	Now     func() time.Time // default time.Now
}

// Filled checks the configuration and fills in its defaults.
func (c Config[R]) Filled() (Config[R], error) {
	if any(c.Records) == nil || c.Jobs == nil {
		return c, errors.New("cannot make the service: records and jobs are required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

// Start starts what the caller asks for, or plans it when the request is to be validated only.
func (c Config[R]) Start(ctx context.Context, req interface{ GetValidateOnly() bool },
	ask kit.Request) (*cpv1.Job, error) {
	ask.Who = Who(ctx)
	start := c.Jobs.Start
	if req.GetValidateOnly() {
		start = c.Jobs.DryRun
	}
	made, err := start(ctx, ask)
	if err != nil {
		return nil, err
	}
	return Job(made, c.Now()), nil
}
