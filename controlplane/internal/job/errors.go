package job

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Causes of a handler's context, and what a store answers. Match with errors.Is. What an operator
// asks for and cannot have is refused with an error of package errs.
var (
	// ErrFenced is the cause of a handler's context when another process took the job over.
	ErrFenced = errors.New("the job was taken over by another process")
	// ErrCancelled is the cause of a handler's context when an operator cancelled the job.
	ErrCancelled = errors.New("the job was cancelled")
	// ErrStopping is the cause of a handler's context when this process is being stopped.
	ErrStopping = errors.New("the control plane is being stopped")
	// ErrUnavailable is wrapped by a store's errors that will pass: disk full, locked, connection
	// lost.
	ErrUnavailable = errors.New("store is unavailable")
	// ErrRequestTaken is answered by a store that has the request id already: the same request came
	// twice at once.
	ErrRequestTaken = errors.New("request id is taken")
)

// NotFound says that there is no such job.
func NotFound(id string) error {
	return refuse(errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND,
		errs.WithHint("list the jobs", errs.Call("ListJobs")), "there is no job %s", id)
}

// Busy says that another job changes the subject.
func Busy(subject, jobID string) error {
	name := resource(jobID)
	return errs.New(errs.Aborted, errorsv1.Reason_REASON_JOB_BUSY,
		fmt.Sprintf("%s is being changed by job %s", subject, jobID),
		errs.WithHint("wait for that job, or cancel it", errs.Call("WatchJob", "name", name),
			errs.Call("CancelJob", "name", name)),
		errs.Retry(time.Second), errs.Meta("job", name), errs.Meta("subject", subject))
}

func overdue(limit time.Duration, why string) error {
	return errs.New(errs.DeadlineExceeded, errorsv1.Reason_REASON_TIMEOUT,
		fmt.Sprintf("not done within %s: %s", limit, why),
		errs.WithHint("remove the cause, then retry: the step gets its whole time again"))
}

func requestReused(requestID, jobID string) error {
	return refuse(errs.AlreadyExists, errorsv1.Reason_REASON_REQUEST_REUSED,
		errs.WithHint("use a new request id"),
		"request id %s was used for another request, on job %s", requestID, jobID)
}

func invalid(field, hint, format string, args ...any) error {
	return errs.New(errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD,
		fmt.Sprintf(format, args...), errs.WithHint(hint),
		errs.Field(field, fmt.Sprintf(format, args...)))
}

func refuse(kind errs.Kind, reason errorsv1.Reason, hint errs.Option, format string,
	args ...any) error {
	return errs.New(kind, reason, fmt.Sprintf(format, args...), hint)
}

func resource(jobID string) string { return "jobs/" + jobID }

type permanent struct{ err error }

func (p permanent) Error() string { return p.err.Error() }
func (p permanent) Unwrap() error { return p.err }

// Permanent marks an error that no further attempt can repair: the step fails at once.
// Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

// IsPermanent reports whether err was marked by Permanent.
func IsPermanent(err error) bool {
	var p permanent
	return errors.As(err, &p)
}

// describe turns an error into what is kept of it.
func describe(err error, final bool, jobID string) *Failure {
	f := &Failure{Message: clip(err.Error(), maxText), Permanent: final,
		Hint: about(errs.HintOf(err), jobID)}
	if reason := errs.ReasonOf(err); reason != errorsv1.Reason_REASON_INTERNAL {
		f.Reason = reasonName(reason)
	}
	return f
}

// ThisJob stands in a hint's calls for the job whose step gives the hint: the engine puts the job's
// name there.
const ThisJob = "jobs/-"

// about is the hint with the job's name in its calls.
func about(h errs.Hint, jobID string) errs.Hint {
	h.Text = clip(h.Text, maxText)
	h.Actions = slices.Clone(h.Actions)
	for i, a := range h.Actions {
		h.Actions[i].Args = maps.Clone(a.Args)
		for field, value := range a.Args {
			if value == ThisJob {
				h.Actions[i].Args[field] = resource(jobID)
			}
		}
	}
	return h
}

func reasonName(r errorsv1.Reason) string { return strings.TrimPrefix(r.String(), "REASON_") }
