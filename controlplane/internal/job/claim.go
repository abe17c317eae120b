package job

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-db/understudy/proto/loop"
)

// scanLimit bounds one look for jobs, with their claims.
const scanLimit = 10 * time.Second

// observation is since when this process has seen no heartbeat of a job's holder.
type observation struct {
	epoch, heartbeat int64
	since            time.Time // by the monotonic clock
}

// Run takes and runs jobs until ctx ends, then stops the handlers, releases the jobs so that
// another process can take them at once, and returns nil.
func (e *Engine[T]) Run(ctx context.Context) error {
	if err := e.startOnce(); err != nil {
		return err
	}
	scanning := e.cfg.Loops.Start(loop.Spec{Name: "scan for jobs", Limit: scanLimit,
		LateAfter: 2 * scanLimit, Means: "new jobs, and those of a control plane that died, wait"})
	defer scanning.End()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			e.stopWorkers()
			return nil
		case <-e.kick:
		case <-timer.C:
		}
		scanning.Round(ctx, e.scan)
		timer.Reset(min(e.cfg.Poll, e.cfg.Limit/3))
	}
}

func (e *Engine[T]) startOnce() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running {
		return errors.New("job engine: it was started before")
	}
	e.running = true
	return nil
}

func (e *Engine[T]) stopWorkers() {
	e.mu.Lock()
	for _, w := range e.held {
		w.stop()
	}
	e.mu.Unlock()
	e.wg.Wait()
}

// scan takes every job that nobody holds, or whose holder has been silent for the limit.
func (e *Engine[T]) scan(ctx context.Context) error {
	var holdings []Holding
	err := e.store.Read(ctx, func(ctx context.Context, tx T) (err error) {
		holdings, err = e.store.Jobs(tx).Holdings(ctx)
		return err
	})
	if err != nil {
		return err
	}
	holdings = e.adopt(holdings)
	for _, h := range e.free(holdings, time.Now()) {
		if err := e.take(ctx, h); err != nil {
			return fmt.Errorf("job %s: %w", h.ID, err)
		}
	}
	return nil
}

// unsure is a claim whose commit was not answered.
type unsure[T any] struct {
	w     *worker[T]
	first *attempt[T]
}

// adopt starts the workers of claims that were committed, though nobody said so, and gives the
// other jobs.
func (e *Engine[T]) adopt(holdings []Holding) []Holding {
	claims := e.unsure
	e.unsure = map[string]unsure[T]{}
	return slices.DeleteFunc(holdings, func(h Holding) bool {
		c, ok := claims[h.ID]
		if !ok || h.Owner != e.cfg.Owner || h.Epoch != c.w.epoch {
			return false
		}
		e.begin(c.w, c.first)
		return true
	})
}

// free picks the jobs to take, and notes since when the others are silent.
func (e *Engine[T]) free(holdings []Holding, now time.Time) []Holding {
	e.mu.Lock()
	defer e.mu.Unlock()
	// this process itself was stopped: that is no silence of the others
	if now.Sub(e.observedAt) >= e.cfg.Limit {
		e.observed = nil
	}
	e.observedAt = now
	seen := map[string]observation{}
	var free []Holding
	for _, h := range holdings {
		_, known := e.plans[h.Kind]
		if _, mine := e.held[h.ID]; mine || !known {
			continue
		}
		s, ok := e.observed[h.ID]
		if !ok || s.epoch != h.Epoch || s.heartbeat != h.Heartbeat {
			s = observation{epoch: h.Epoch, heartbeat: h.Heartbeat, since: now}
		}
		seen[h.ID] = s
		silent := now.Sub(s.since) >= e.cfg.Limit
		if (h.Owner == "" || silent) && len(e.held)+len(free) < e.cfg.Hold {
			free = append(free, h)
		}
	}
	e.observed = seen
	return free
}

var (
	errClaimed = errors.New("already claimed by another worker")
	errUnknown = errors.New("this process has no handler for one of its steps")
)

// take claims a job, begins its next step in the same transaction, and starts a worker.
func (e *Engine[T]) take(ctx context.Context, seen Holding) error {
	plan, _ := e.Plan(seen.Kind)
	w := newWorker(e, seen.ID, seen.Epoch+1, plan)
	var first *attempt[T]
	var after Job
	err := e.store.Write(ctx, func(ctx context.Context, tx T) (err error) {
		first, after, err = w.claim(ctx, e.store.Jobs(tx), seen)
		return err
	})
	switch {
	case errors.Is(err, errClaimed) || errors.Is(err, errUnknown):
		e.log.Debug("job not claimed", "job", seen.ID, "cause", err)
		return nil
	case errors.Is(err, ErrUnavailable):
		e.unsure[w.id] = unsure[T]{w, first}
		return err
	case err != nil:
		return err
	}
	w.log.Info("job claimed", "from", seen.Owner, "state", string(after.State))
	e.begin(w, first)
	return nil
}

// begin runs a job that was claimed; first is nil when the claim has ended it.
func (e *Engine[T]) begin(w *worker[T], first *attempt[T]) {
	e.published(w.id)
	if first != nil {
		e.start(w, first)
	}
}

func (w *worker[T]) claim(ctx context.Context, records Records,
	seen Holding) (*attempt[T], Job, error) {
	ok, err := records.Claim(ctx, seen, w.e.cfg.Owner)
	if err == nil && !ok {
		err = errClaimed
	}
	if err != nil {
		return nil, Job{}, err
	}
	m, err := w.fenced(ctx, records)
	if err != nil {
		return nil, Job{}, err
	}
	w.turn = m.job.Turn
	for _, s := range m.job.Steps {
		if _, ok := w.plan.step(s.Kind); !ok && !s.State.Done() {
			return nil, Job{}, errUnknown
		}
	}
	var first *attempt[T]
	if s := m.proceed(); s != nil {
		first = w.newAttempt(m.job, s.Seq)
	}
	return first, m.job.clone(), save(ctx, records, m)
}

// start runs the worker until it releases the job.
func (e *Engine[T]) start(w *worker[T], first *attempt[T]) {
	e.mu.Lock()
	e.held[w.id] = w
	e.mu.Unlock()
	e.wg.Go(func() {
		defer e.forget(w)
		w.run(first)
	})
}

func (e *Engine[T]) forget(w *worker[T]) {
	e.mu.Lock()
	delete(e.held, w.id)
	e.mu.Unlock()
	e.published(w.id)
	e.kickScan() // there may have been a request meanwhile
}
