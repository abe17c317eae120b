package job

import (
	"errors"
	"fmt"
)

// What can stand in the way of a request or of a worker. Match with errors.Is.
var (
	// ErrNotFound means that there is no such job or step.
	ErrNotFound = errors.New("not found")
	// ErrRequestReused means that a request id came again with another body.
	ErrRequestReused = errors.New("request id was used for another request")
	// ErrSubjectBusy means that another job changes one of the subjects; see Busy.
	ErrSubjectBusy = errors.New("subject is being changed by another job")
	// ErrNotAllowed means that the job's state does not allow the request.
	ErrNotAllowed = errors.New("not possible in the job's state")
	// ErrInvalid means that the request itself is wrong.
	ErrInvalid = errors.New("invalid request")
	// ErrFenced is the cause of a handler's context when another process took the job over.
	ErrFenced = errors.New("the job was taken over by another process")
	// ErrCancelled is the cause of a handler's context when a person cancelled the job.
	ErrCancelled = errors.New("the job was cancelled")
	// ErrStopping is the cause of a handler's context when this process is being stopped.
	ErrStopping = errors.New("the control plane is being stopped")
	// ErrUnavailable is wrapped by a store's errors that will pass: disk full, locked, connection
	// lost.
	ErrUnavailable = errors.New("store is unavailable")
	// ErrExists is answered by Records.Insert when the job's request id is taken.
	ErrExists = errors.New("already exists")
)

// Refusal is a request on a job that was turned down, with the cause and the hint.
type Refusal struct {
	Kind error  // one of the package's errors
	Text string // the cause
	Way  string // what a person can do instead
}

// Error says the cause, then the hint.
func (r *Refusal) Error() string {
	if r.Way == "" {
		return r.Text
	}
	return r.Text + ": " + r.Way
}

// Unwrap returns the kind of refusal, for errors.Is.
func (r *Refusal) Unwrap() error { return r.Kind }

// Hint says what a person can do.
func (r *Refusal) Hint() string { return r.Way }

func refuse(kind error, way, format string, args ...any) error {
	return &Refusal{Kind: kind, Text: fmt.Sprintf(format, args...), Way: way}
}

// Busy names the job that stands in the way of another. It matches ErrSubjectBusy.
type Busy struct {
	Subject string
	JobID   string
}

// Error names subject and job, and what to do.
func (b *Busy) Error() string {
	return fmt.Sprintf("%s is being changed by job %s: %s", b.Subject, b.JobID, b.Hint())
}

// Hint says what a person can do.
func (b *Busy) Hint() string {
	return fmt.Sprintf("wait for it (`understudy job watch %[1]s`), or cancel it (`understudy "+
		"job cancel %[1]s`)", b.JobID)
}

// Unwrap returns ErrSubjectBusy.
func (b *Busy) Unwrap() error { return ErrSubjectBusy }

type permanent struct{ err error }

func (p permanent) Error() string { return p.err.Error() }
func (p permanent) Unwrap() error { return p.err }

// Permanent marks an error that no further attempt can mend: the step fails at once. Permanent(nil)
// is nil.
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
func describe(err error, final bool) *Failure {
	f := &Failure{Message: clip(err.Error(), maxText), Permanent: final}
	var reason interface{ Reason() string }
	if errors.As(err, &reason) {
		f.Reason = reason.Reason()
	}
	var way interface{ Hint() string }
	if errors.As(err, &way) {
		f.Hint.Text = clip(way.Hint(), maxText)
	}
	return f
}
