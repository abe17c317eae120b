// Package follow watches a job to its end, across restarts of the control plane.
package follow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const (
	defaultLimit = 2 * time.Minute
	// retryEvery is how often a control plane that answers with an error is asked again.
	retryEvery = 500 * time.Millisecond
	// restFor is how long a job that came to rest is still listened to: its stream is about to end.
	restFor = time.Second
)

// Watcher hears what becomes of a job. Its calls come one after the other.
type Watcher interface {
	// Job is the job as it is now.
	Job(job *cpv1.Job)
	// Lost says that the control plane cannot be reached, why, and for how long it will be tried
	// again.
	Lost(err error, limit time.Duration)
	// Back says that it can be reached again.
	Back()
}

// Config says which job to follow, and how. Client, Name and Watcher have no default.
type Config struct {
	// Client watches jobs.
	Client cpv1.JobServiceClient
	// Name is the job's, "jobs/{job}".
	Name string
	// Limit is how long a control plane that was reached once may be out of reach; 2 minutes when
	// 0.
	Limit time.Duration
	// Watcher hears of it.
	Watcher Watcher
}

// follower is one watch.
type follower struct {
	Config
	last   *cpv1.Job
	lostAt time.Time
}

// Job follows a job until it rests: it ended, or needs an operator. It returns the job as
// it was reported last, and an error when ctx ended, when the first call failed, or when the
// control plane was out of reach for longer than the limit.
func Job(ctx context.Context, config Config) (*cpv1.Job, error) {
	if config.Limit == 0 {
		config.Limit = defaultLimit
	}
	f := &follower{Config: config}
	for {
		err := f.watch(ctx)
		if err == nil {
			return f.last, nil
		}
		if err := f.lost(ctx, err); err != nil {
			return f.last, err
		}
	}
}

// watch listens to one stream; nil means that the job rests.
func (f *follower) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !f.lostAt.IsZero() {
		limit := time.AfterFunc(f.Limit-time.Since(f.lostAt), cancel)
		defer limit.Stop()
		return f.listen(ctx, cancel, limit, grpc.WaitForReady(true))
	}
	return f.listen(ctx, cancel, nil)
}

func (f *follower) listen(ctx context.Context, cancel context.CancelFunc, limit *time.Timer,
	options ...grpc.CallOption) error {
	stream, err := f.Client.WatchJob(ctx, &cpv1.WatchJobRequest{Name: f.Name}, options...)
	if err != nil {
		return err
	}
	rest := stoppedTimer(cancel)
	defer rest.Stop()
	for {
		answer, err := stream.Recv()
		if err != nil && resting(f.last) && f.lostAt.IsZero() {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return errs.New(errs.Unavailable, 0,
				"the control plane ended the watch before the job's end")
		}
		if err != nil {
			return err
		}
		if limit != nil {
			limit.Stop()
		}
		f.reported(answer.GetJob())
		if rest.Stop(); resting(f.last) {
			rest.Reset(restFor)
		}
	}
}

// stoppedTimer is a timer that calls f some time after it is reset.
func stoppedTimer(f func()) *time.Timer {
	timer := time.AfterFunc(time.Hour, f)
	timer.Stop()
	return timer
}

func (f *follower) reported(job *cpv1.Job) {
	if !f.lostAt.IsZero() {
		f.lostAt = time.Time{}
		f.Watcher.Back()
	}
	f.last = job
	f.Watcher.Job(job)
}

// resting holds when nothing happens to a job unless a user asks for it.
func resting(job *cpv1.Job) bool {
	switch job.GetState() {
	case cpv1.Job_STATE_SUCCEEDED, cpv1.Job_STATE_FAILED, cpv1.Job_STATE_CANCELLED,
		cpv1.Job_STATE_ACTION_REQUIRED:
		return true
	default:
		return false
	}
}

// lost waits until it is worth trying again, or says why it is not.
func (f *follower) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if f.last == nil {
		return err
	}
	if f.lostAt.IsZero() {
		if !passing(err) {
			return err
		}
		f.lostAt = time.Now()
		f.Watcher.Lost(err, f.Limit)
		return nil
	}
	if out := time.Since(f.lostAt); out >= f.Limit {
		return errs.New(errs.Unavailable, 0,
			fmt.Sprintf("the control plane was out of reach for %s", out.Round(time.Second)),
			errs.Wrap(err))
	}
	if !passing(err) {
		return err
	}
	return loop.Pause(ctx, retryEvery)
}

// passing holds for errors that a restart of the control plane brings and takes away.
func passing(err error) bool {
	switch errs.KindOf(err) {
	case errs.Unavailable, errs.Canceled, errs.DeadlineExceeded, errs.Aborted, errs.Unknown:
		return true
	default:
		return false
	}
}
