package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// wholeID is a job's id in full: it is taken as it is.
var wholeID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// maxCandidates is how many jobs an ambiguous beginning is answered with.
const maxCandidates = 5

// prefixJobs is the service of jobs for people: wherever a call names a job, the beginning of its
// id will do, as long as no other begins so.
type prefixJobs struct{ cpv1.JobServiceClient }

// whole is the name of the job that people mean. One that no job begins with stays as it is: the
// control plane says so.
func (p prefixJobs) whole(ctx context.Context, name string) (string, error) {
	id, isJob := strings.CutPrefix(name, jobKind+"/")
	if !isJob || id == "" || wholeID.MatchString(id) {
		return name, nil
	}
	all, err := listJobs(ctx, &api{jobs: p.JobServiceClient}, &cpv1.ListJobsRequest{}, 0)
	if err != nil {
		return "", err
	}
	var found []*cpv1.Job
	for _, j := range all.GetJobs() {
		if j.GetName() == name {
			return name, nil
		}
		if strings.HasPrefix(j.GetName(), name) {
			found = append(found, j)
		}
	}
	switch len(found) {
	case 0:
		return name, nil
	case 1:
		return found[0].GetName(), nil
	}
	return "", ambiguous(id, found)
}

// named makes a call by the name as it is, and where there is no such job, by that of the one that
// begins so.
func named[A any](ctx context.Context, p prefixJobs, name *string,
	call func() (A, error)) (A, error) {
	answer, err := call()
	if err == nil || errs.KindOf(err) != errs.NotFound {
		return answer, err
	}
	whole, wholeErr := p.whole(ctx, *name)
	switch {
	case wholeErr != nil:
		return answer, wholeErr
	case whole == *name:
		return answer, err
	}
	*name = whole
	return call()
}

func ambiguous(id string, found []*cpv1.Job) error {
	var candidates []string
	for _, j := range found[:min(len(found), maxCandidates)] {
		candidates = append(candidates, fmt.Sprintf("%s (%s)", show.ID(j.GetName()),
			show.Clean(j.GetTitle())))
	}
	if more := len(found) - len(candidates); more > 0 {
		candidates = append(candidates, fmt.Sprintf("and %d more", more))
	}
	return usageError{message: fmt.Sprintf("%s is the beginning of %d jobs", quote(id), len(found)),
		hint: "write more of it: " + strings.Join(candidates, ", ")}
}

// shortIDs are the jobs' ids as tables show them: as much of each as tells it from the others
// shown.
func shortIDs(jobs []*cpv1.Job) map[string]string {
	short := map[string]string{}
	for _, j := range jobs {
		id := show.ID(j.GetName())
		short[id] = id
		// whole groups; the first two hold the millisecond in which the job was made
		for _, n := range []int{13, 18} {
			if wholeID.MatchString(id) && alone(jobs, id[:n]) {
				short[id] = id[:n]
				break
			}
		}
	}
	return short
}

func alone(jobs []*cpv1.Job, prefix string) bool {
	n := 0
	for _, j := range jobs {
		if strings.HasPrefix(show.ID(j.GetName()), prefix) {
			n++
		}
	}
	return n == 1
}

// GetJob takes the beginning of an id.
func (p prefixJobs) GetJob(ctx context.Context, in *cpv1.GetJobRequest,
	opts ...grpc.CallOption) (*cpv1.GetJobResponse, error) {
	return named(ctx, p, &in.Name,
		func() (*cpv1.GetJobResponse, error) { return p.JobServiceClient.GetJob(ctx, in, opts...) })
}

// RetryJob takes the beginning of an id.
func (p prefixJobs) RetryJob(ctx context.Context, in *cpv1.RetryJobRequest,
	opts ...grpc.CallOption) (*cpv1.RetryJobResponse, error) {
	return named(ctx, p, &in.Name,
		func() (*cpv1.RetryJobResponse, error) {
			return p.JobServiceClient.RetryJob(ctx, in,
				opts...)
		})
}

// RedoStep takes the beginning of an id.
func (p prefixJobs) RedoStep(ctx context.Context, in *cpv1.RedoStepRequest,
	opts ...grpc.CallOption) (*cpv1.RedoStepResponse, error) {
	return named(ctx, p, &in.Name,
		func() (*cpv1.RedoStepResponse, error) {
			return p.JobServiceClient.RedoStep(ctx, in,
				opts...)
		})
}

// SkipStep takes the beginning of an id.
func (p prefixJobs) SkipStep(ctx context.Context, in *cpv1.SkipStepRequest,
	opts ...grpc.CallOption) (*cpv1.SkipStepResponse, error) {
	return named(ctx, p, &in.Name,
		func() (*cpv1.SkipStepResponse, error) {
			return p.JobServiceClient.SkipStep(ctx, in,
				opts...)
		})
}

// CancelJob takes the beginning of an id.
func (p prefixJobs) CancelJob(ctx context.Context, in *cpv1.CancelJobRequest,
	opts ...grpc.CallOption) (*cpv1.CancelJobResponse, error) {
	return named(ctx, p, &in.Name,
		func() (*cpv1.CancelJobResponse, error) {
			return p.JobServiceClient.CancelJob(ctx, in,
				opts...)
		})
}

// CleanupJob takes the beginning of an id.
func (p prefixJobs) CleanupJob(ctx context.Context, in *cpv1.CleanupJobRequest,
	opts ...grpc.CallOption) (*cpv1.CleanupJobResponse, error) {
	return named(ctx, p, &in.Name,
		func() (*cpv1.CleanupJobResponse, error) {
			return p.JobServiceClient.CleanupJob(ctx, in,
				opts...)
		})
}

// ListEvents takes the beginning of a job's id as its subject.
func (p prefixJobs) ListEvents(ctx context.Context, in *cpv1.ListEventsRequest,
	opts ...grpc.CallOption) (_ *cpv1.ListEventsResponse, err error) {
	if in.Subject, err = p.whole(ctx, in.GetSubject()); err != nil {
		return nil, err
	}
	return p.JobServiceClient.ListEvents(ctx, in, opts...)
}
