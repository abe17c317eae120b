// Package loop is for what a program does again and again: each round has a deadline, a round that
// fails ends nothing, and a loop that has had no good round for too long says so.
package loop

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Spec describes a loop.
type Spec struct {
	// Name says what the loop does, for logs: "read the deny list".
	Name string
	// Means says what follows for operators while it is late; may be empty.
	Means string
	// Every is the time between two rounds.
	Every time.Duration
	// Limit ends the context of a round.
	Limit time.Duration
	// LateAfter is how long the loop may be without a good round.
	LateAfter time.Duration
}

// Set is the loops of a program.
type Set struct {
	log   *slog.Logger
	mu    sync.Mutex
	loops map[*Loop]struct{}
}

// NewSet makes a set that logs to log; the default logger when nil.
func NewSet(log *slog.Logger) *Set {
	if log == nil {
		log = slog.Default()
	}
	return &Set{log: log, loops: map[*Loop]struct{}{}}
}

// Late is a loop that has had no good round for longer than it may.
type Late struct {
	Spec Spec
	// Since is the end of the last good round, or the start of the loop.
	Since time.Time
	// Err is what the last round failed with; nil while none has ended.
	Err error
}

// Late are the loops that are late, by name. A loop that has ended is not.
func (s *Set) Late() []Late {
	s.mu.Lock()
	defer s.mu.Unlock()
	var late []Late
	for l := range s.loops {
		l.mu.Lock()
		if time.Since(l.good) >= l.spec.LateAfter {
			late = append(late, Late{Spec: l.spec, Since: l.good, Err: l.err})
		}
		l.mu.Unlock()
	}
	slices.SortFunc(late, func(a, b Late) int { return strings.Compare(a.Spec.Name, b.Spec.Name) })
	return late
}

// Run calls round at once and then again and again until ctx ends.
func (s *Set) Run(ctx context.Context, spec Spec, round func(context.Context) error) {
	l := s.Start(spec)
	defer l.End()
	ticker := time.NewTicker(spec.Every)
	defer ticker.Stop()
	for {
		l.Round(ctx, round)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Start adds a loop whose owner calls Round by itself, and End at the end.
func (s *Set) Start(spec Spec) *Loop {
	l := &Loop{log: s.log.With("loop", spec.Name), spec: spec, good: time.Now()}
	l.timer = time.AfterFunc(spec.LateAfter, l.check)
	l.leave = func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.loops, l)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loops[l] = struct{}{}
	return l
}

// Loop is one loop of a Set.
type Loop struct {
	log   *slog.Logger
	spec  Spec
	leave func()

	mu      sync.Mutex
	good    time.Time // by the monotonic clock
	err     error
	warned  bool
	stopped bool
	timer   *time.Timer
}

// Round runs one round within its limit. It logs the first of several failures.
func (l *Loop) Round(ctx context.Context, round func(context.Context) error) {
	bounded, cancel := context.WithTimeout(ctx, l.spec.Limit)
	err := round(bounded)
	cancel()
	if ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		if l.err == nil {
			l.log.Warn("a round failed, and is tried again", "error", err)
		}
		l.err = err
		return
	}
	if l.err != nil || l.warned {
		l.log.Info("the loop is on time again", "after", time.Since(l.good))
	}
	l.good, l.err, l.warned = time.Now(), nil, false
	l.timer.Reset(l.spec.LateAfter)
}

// check warns of a loop that is late, once until it is on time again.
func (l *Loop) check() {
	l.mu.Lock()
	defer l.mu.Unlock()
	age := time.Since(l.good)
	if l.stopped || l.warned || age < l.spec.LateAfter {
		return
	}
	l.warned = true
	args := []any{"last_good_round", age}
	if l.spec.Means != "" {
		args = append(args, "means", l.spec.Means)
	}
	if l.err != nil {
		args = append(args, "error", l.err)
	}
	l.log.Warn("the loop is late", args...)
}

// End takes the loop out of its set. Ending twice is fine.
func (l *Loop) End() {
	l.leave()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	l.timer.Stop()
}

// Pause waits, or as long as ctx lasts, whose error it answers with then.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
