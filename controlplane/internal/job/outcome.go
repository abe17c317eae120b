package job

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// Handler makes one step true. It may be called any number of times for one effect key: it observes
// first, acts on the difference, and answers with an outcome. It must return soon after ctx ends;
// context.Cause tells why (ErrCancelled, ErrFenced, ErrStopping, or a deadline). An error is a
// failed attempt: retried with back-off until the plan's limits are reached, at once final when
// marked by Permanent.
type Handler[T any] func(ctx context.Context, run *Run) (Outcome[T], error)

// Commit changes the domain's records in the transaction that records the outcome. The whole
// transaction may be tried several times, so a commit function must compute what it writes from
// what it reads in tx. An error is a failed attempt and rolls everything back.
type Commit[T any] func(ctx context.Context, tx T) error

type verdict int

const (
	verdictDone verdict = iota + 1
	verdictNotNeeded
	verdictAgain
	verdictOperator
	verdictBack
	verdictFailed  // the handler answered with an error
	verdictStopped // the process is being stopped
)

// Outcome is a handler's answer. Make one with Done, NotNeeded, Again, AskOperator, Back or
// BackUncounted.
type Outcome[T any] struct {
	verdict   verdict
	commit    Commit[T]
	reason    string
	uncounted bool      // of verdictBack: it is no start of the section
	hint      errs.Hint // of verdictOperator
	after     time.Duration
}

// Done says that what the step stands for is true. commit may be nil.
func Done[T any](commit Commit[T]) (Outcome[T], error) {
	return Outcome[T]{verdict: verdictDone, commit: commit}, nil
}

// NotNeeded says that there is nothing to do here, and why; the step is recorded as skipped.
func NotNeeded[T any](format string, args ...any) (Outcome[T], error) {
	return Outcome[T]{verdict: verdictNotNeeded, reason: fmt.Sprintf(format, args...)}, nil
}

// Again says what the step waits for. The handler is called again, as the same attempt, after that
// long, after Config.Poll (at most 1 s), or on Engine.Wake, whichever comes first. Waiting costs no
// attempt; the step's Timeout ends it.
func Again[T any](after time.Duration, format string, args ...any) (Outcome[T], error) {
	return Outcome[T]{verdict: verdictAgain, after: after, reason: fmt.Sprintf(format, args...)},
		nil
}

// AskOperator says that the job goes on only when an operator has done or decided something, and
// what; ThisJob in the hint's calls names the job. The job becomes ActionRequired; retrying it
// calls the handler again. Inside a section its always-steps are run first.
func AskOperator[T any](question string, hint errs.Hint) (Outcome[T], error) {
	return Outcome[T]{verdict: verdictOperator, reason: question, hint: hint}, nil
}

// Back starts the step's section over with a new generation, and says why. A section that was
// started over more often than its plan allows fails.
func Back[T any](format string, args ...any) (Outcome[T], error) {
	return Outcome[T]{verdict: verdictBack, reason: fmt.Sprintf(format, args...)}, nil
}

// BackUncounted starts the step's section over as Back does, and does not count that as a start. It
// is for what was refused before it had any effect. Whoever answers so limits how often, and waits
// in between.
func BackUncounted[T any](format string, args ...any) (Outcome[T], error) {
	return Outcome[T]{verdict: verdictBack, uncounted: true,
		reason: fmt.Sprintf(format, args...)}, nil
}

// With adds a commit function to an outcome: what it changes is recorded also when the step waits,
// starts its section over or asks the operator. A wait that carries a commit is written on every
// poll.
func (o Outcome[T]) With(commit Commit[T]) Outcome[T] {
	o.commit = commit
	return o
}
