package job

import (
	"context"
	"fmt"
	"time"
)

// Plan is a kind of job: its steps in order, and how what it made is removed.
type Plan[T any] struct {
	Kind     string
	Title    string
	Steps    []PlanStep[T]
	Sections map[string]Section // limits of the sections that Steps name; optional
	Cleanup  []PlanStep[T]      // removes exactly what the job made; optional
	// Guard refuses to delete data that a user could miss. It is asked in the transaction of a
	// request that cleans up, or that gives a new effect key to a step that DeletesData. Required
	// when a step does.
	Guard Guard[T]
	// Begin is called in the transaction that makes the job: what the job is about may be in its
	// hands from then on. An error refuses the job. A job that is cancelled before its first step
	// runs its always-steps that are in no section. Optional.
	Begin func(ctx context.Context, tx T, j Job) error
	// Again is called in the transaction of a request after which steps are run, with the job as it
	// is then: what it made may be proved no longer. Optional.
	Again func(ctx context.Context, tx T, j Job) error
}

// Guard decides whether a request may delete data. An error refuses the request, and nothing
// changes.
type Guard[T any] func(ctx context.Context, tx T, what Deletion) error

// Deletion is what a request would delete.
type Deletion struct {
	Job     Job    // as it is before the request
	Steps   []Step // that delete data and would run; a cleanup may have none
	Confirm Confirm
}

// PlanStep is one step of a plan. Kinds are unique in a plan. Zero limits take the defaults.
type PlanStep[T any] struct {
	Kind    string
	Title   string
	Handler Handler[T]
	Section string // critical section; its steps stand next to each other
	Always  bool   // also runs when the job fails or is cancelled
	// DeletesData says that the step deletes data that a user could miss when it runs once more.
	DeletesData bool

	// for the step as a whole, waits included, of time spent working on it; default 10 min
	Timeout        time.Duration
	AttemptTimeout time.Duration // for one call of the handler; default 1 min
	Attempts       int           // failed attempts after which the step fails; default 5
	Backoff        Backoff
}

// Section limits a critical section.
type Section struct {
	Attempts int // times it may be started in a row; default 3
}

// Backoff is how long a step waits after a failed attempt: First, doubled each time, at most Max,
// minus a random part of up to half.
type Backoff struct {
	First time.Duration // default 200 ms
	Max   time.Duration // default 10 s
}

const (
	defaultTimeout         = 10 * time.Minute
	defaultAttemptTimeout  = time.Minute
	defaultAttempts        = 5
	defaultSectionAttempts = 3
	defaultBackoffFirst    = 200 * time.Millisecond
	defaultBackoffMax      = 10 * time.Second
)

func (s PlanStep[T]) withDefaults() PlanStep[T] {
	s.Timeout = or(s.Timeout, defaultTimeout)
	s.AttemptTimeout = or(s.AttemptTimeout, defaultAttemptTimeout)
	s.Attempts = or(s.Attempts, defaultAttempts)
	s.Backoff.First = or(s.Backoff.First, defaultBackoffFirst)
	s.Backoff.Max = max(or(s.Backoff.Max, defaultBackoffMax), s.Backoff.First)
	s.Title = or(s.Title, s.Kind)
	return s
}

func or[V comparable](v, fallback V) V {
	var zero V
	if v == zero {
		return fallback
	}
	return v
}

// delay is how long to wait after that many failures; random is in [0,1).
func (b Backoff) delay(failures int, random float64) time.Duration {
	d := b.First
	for i := 1; i < failures && d < b.Max; i++ {
		d *= 2
	}
	d = min(d, b.Max)
	return d - time.Duration(random*float64(d)/2)
}

func (p Plan[T]) validate() error {
	if p.Kind == "" || len(p.Steps) == 0 {
		return fmt.Errorf("plan %q: a kind and at least one step are needed", p.Kind)
	}
	if err := p.validateSteps(); err != nil {
		return fmt.Errorf("plan %s: %w", p.Kind, err)
	}
	return nil
}

func (p Plan[T]) validateSteps() error {
	seen, closed, last := map[string]bool{}, map[string]bool{}, ""
	for i, s := range append(append([]PlanStep[T]{}, p.Steps...), p.Cleanup...) {
		switch {
		case s.Kind == "" || s.Handler == nil:
			return fmt.Errorf("step %d (%q): kind and handler are needed", i, s.Kind)
		case seen[s.Kind]:
			return fmt.Errorf("step %s: there are two of that kind", s.Kind)
		case s.Section != last && closed[s.Section]:
			return fmt.Errorf("step %s: the steps of section %s are not next to each other", s.Kind,
				s.Section)
		case i >= len(p.Steps) && (s.Section != "" || s.Always):
			return fmt.Errorf("step %s: a cleanup has no sections and no always-steps", s.Kind)
		case s.DeletesData && p.Guard == nil:
			return fmt.Errorf("step %s deletes data: the plan needs a guard", s.Kind)
		}
		seen[s.Kind] = true
		if s.Section != last && last != "" {
			closed[last] = true
		}
		last = s.Section
	}
	return nil
}

func (p Plan[T]) step(kind string) (PlanStep[T], bool) {
	for _, list := range [][]PlanStep[T]{p.Steps, p.Cleanup} {
		for _, s := range list {
			if s.Kind == kind {
				return s.withDefaults(), true
			}
		}
	}
	return PlanStep[T]{}, false
}

func (p Plan[T]) sectionAttempts(name string) int {
	return or(p.Sections[name].Attempts, defaultSectionAttempts)
}

// rows writes the steps of one phase, the first with sequence number from.
func (p Plan[T]) rows(jobID string, phase Phase, from int) []Step {
	list := p.Steps
	if phase == CleanupPhase {
		list = p.Cleanup
	}
	var rows []Step
	for i, s := range list {
		rows = append(rows, Step{
			JobID: jobID, Seq: from + i, Kind: s.Kind, Title: or(s.Title, s.Kind),
			Section: s.Section, Always: s.Always, DeletesData: s.DeletesData, Phase: phase,
			State: StepPending, Generation: 1,
		})
	}
	return rows
}
