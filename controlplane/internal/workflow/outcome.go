package workflow

import (
	"context"
	"fmt"
	"time"
)

// commit changes records in the transaction that records a step's outcome; it may be run several
// times.
type commit func(ctx context.Context, rec Records) error

type verdict int

const (
	verdictDone verdict = iota + 1
	verdictNotNeeded
	verdictAgain
	verdictBack
)

// outcome is a handler's answer, free of the engine's transaction type.
type outcome struct {
	verdict verdict
	commit  commit
	reason  string
	after   time.Duration
}

func done(c commit) (outcome, error) { return outcome{verdict: verdictDone, commit: c}, nil }

func notNeeded(format string, args ...any) (outcome, error) {
	return outcome{verdict: verdictNotNeeded, reason: fmt.Sprintf(format, args...)}, nil
}

// back starts the step's section over.
func back(format string, args ...any) (outcome, error) {
	return outcome{verdict: verdictBack, reason: fmt.Sprintf(format, args...)}, nil
}

// again waits; the step is called again after a poll, or when it is woken.
func (s *step) again(format string, args ...any) (outcome, error) {
	return outcome{verdict: verdictAgain, after: s.w.Poll, reason: fmt.Sprintf(format, args...)},
		nil
}

// waiting is an error by which a helper, deep in a handler, makes the step wait instead of fail.
type waiting struct {
	reason string
	commit commit // of the wait's own; may be nil
}

func (w waiting) Error() string { return w.reason }

// wait makes the step wait from within a helper.
func wait(format string, args ...any) error { return waiting{reason: fmt.Sprintf(format, args...)} }
