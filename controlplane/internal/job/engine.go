package job

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"
)

// Engine runs jobs. Make one with New.
type Engine[T any] struct {
	cfg   Config[T]
	store Store[T]
	log   *slog.Logger
	hub   *hub
	kick  chan struct{}

	mu         sync.Mutex
	plans      map[string]Plan[T]
	running    bool
	held       map[string]*worker[T]
	observed   map[string]observation
	observedAt time.Time
	wg         sync.WaitGroup

	unsure map[string]unsure[T] // of the scan alone
}

// New makes an engine. It does nothing until Run, but requests on jobs can be made at once.
func New[T any](cfg Config[T]) (*Engine[T], error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Engine[T]{
		cfg: cfg, store: cfg.Store, log: cfg.Logger, hub: newHub(), kick: make(chan struct{}, 1),
		plans: map[string]Plan[T]{}, held: map[string]*worker[T]{},
		observed: map[string]observation{}, unsure: map[string]unsure[T]{},
	}
	for _, p := range cfg.Plans {
		if err := e.Register(p); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// Register adds a kind of job. It must be called before Run.
func (e *Engine[T]) Register(p Plan[T]) error {
	if err := p.validate(); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running {
		return fmt.Errorf("plan %s: the engine is running", p.Kind)
	}
	if _, ok := e.plans[p.Kind]; ok {
		return fmt.Errorf("plan %s: there are two of that kind", p.Kind)
	}
	e.plans[p.Kind] = p
	return nil
}

// Plan returns a registered kind of job.
func (e *Engine[T]) Plan(kind string) (Plan[T], bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p, ok := e.plans[kind]
	return p, ok
}

// Get reads a job with its steps and, when this process runs it, what the running step has
// reported so far.
func (e *Engine[T]) Get(ctx context.Context, id string) (Job, error) {
	var j Job
	overlay := e.reports()
	err := e.store.Read(ctx, func(ctx context.Context, tx T) (err error) {
		j, err = e.store.Jobs(tx).Get(ctx, id)
		return err
	})
	if err != nil {
		return Job{}, fmt.Errorf("cannot read job %s: %w", id, err)
	}
	overlay(&j)
	return j, nil
}

// List reads a page of jobs, newest first, and the token of the next page.
func (e *Engine[T]) List(ctx context.Context, filter Filter) (jobs []Job, next string, err error) {
	overlay := e.reports()
	err = e.store.Read(ctx, func(ctx context.Context, tx T) (err error) {
		jobs, next, err = e.store.Jobs(tx).List(ctx, filter)
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("cannot list jobs: %w", err)
	}
	for i := range jobs {
		overlay(&jobs[i])
	}
	return jobs, next, nil
}

// Attempts reads every try of every step of a job, oldest first.
func (e *Engine[T]) Attempts(ctx context.Context, id string) (attempts []Attempt, err error) {
	err = e.store.Read(ctx, func(ctx context.Context, tx T) (err error) {
		attempts, err = e.store.Jobs(tx).Attempts(ctx, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the attempts of job %s: %w", id, err)
	}
	return attempts, nil
}

// Wake tells the engine that what a job waits for may have come true: a waiting step is called
// again at once. It is cheap, never blocks, and does nothing when this process does not hold the
// job.
func (e *Engine[T]) Wake(jobID string) {
	e.mu.Lock()
	w := e.held[jobID]
	e.mu.Unlock()
	if w != nil {
		w.wakeUp()
	}
}

// reports takes what the running steps have reported so far, and lays it over rows. It comes before
// the rows are read: afterwards a job may be at its next step, which its row does not show yet.
func (e *Engine[T]) reports() (overlay func(*Job)) {
	e.mu.Lock()
	held := maps.Clone(e.held)
	e.mu.Unlock()
	reports := map[string]*liveReport{}
	for id, w := range held {
		reports[id] = w.reported()
	}
	return func(j *Job) {
		if w := held[j.ID]; w != nil && w.epoch == j.Epoch {
			reports[j.ID].overlay(j)
		}
	}
}

func (e *Engine[T]) kickScan() {
	select {
	case e.kick <- struct{}{}:
	default:
	}
}

// published tells watchers in this process that a job has changed.
func (e *Engine[T]) published(jobID string) { e.hub.notify(jobID) }

// now is the time as records keep it.
func (e *Engine[T]) now() time.Time { return e.cfg.Now().UTC().Truncate(time.Millisecond) }
