package job

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// worker is this process's hold on one job: it runs the job's steps one after the other for as long
// as it may.
type worker[T any] struct {
	e      *Engine[T]
	id     string
	epoch  int64
	plan   Plan[T]
	log    *slog.Logger
	values *sessionValues
	wake   chan struct{}
	since  time.Time // when the job was taken from another worker; zero when nobody had it before

	// hold ends when the job was lost or let go; its cause is ErrFenced when it was lost.
	hold context.Context
	lose context.CancelCauseFunc

	mu        sync.Mutex
	stopping  bool
	cancelled bool // a person asked for the job's end
	always    bool // the step at hand is not to be stopped by a cancel
	interrupt context.CancelCauseFunc
	told      *live
}

func newWorker[T any](e *Engine[T], id string, epoch int64, plan Plan[T]) *worker[T] {
	w := &worker[T]{
		e: e, id: id, epoch: epoch, plan: plan, values: newSessionValues(), told: &live{},
		wake: make(chan struct{}, 1),
		log:  e.log.With("job", id, "kind", plan.Kind, "epoch", epoch),
	}
	if epoch > 1 {
		w.since = time.Now()
	}
	w.hold, w.lose = context.WithCancelCause(context.Background())
	return w
}

// run works on the job until it ends, parks, is lost or the process stops.
func (w *worker[T]) run(first *turn) {
	beating := make(chan struct{})
	go func() {
		defer close(beating)
		w.beat()
	}()
	defer func() {
		w.lose(errLetGo)
		<-beating
		w.warn(w.values.closeAll())
	}()
	w.warn(w.values.enter(first.step.Section))
	for t := first; t != nil; {
		t = w.work(t)
	}
}

var errLetGo = errors.New("the job was let go")

// work makes one turn and returns the next, or nil when there is none here.
func (w *worker[T]) work(t *turn) *turn {
	limits, _ := w.plan.step(t.step.Kind)
	res := w.news(t, limits)
	if w.lost() {
		return nil
	}
	next, err := w.record(t, res, limits)
	if err != nil {
		w.log.Warn("cannot record the outcome of a step", "step", t.step.Kind, "error", err)
		return nil
	}
	return next
}

// news waits and calls the handler until there is something to record. A wait that goes on for the
// same reason is not.
func (w *worker[T]) news(t *turn, limits PlanStep[T]) result[T] {
	for {
		if err := w.sleep(t, limits); err != nil || t.renew {
			return result[T]{err: err}
		}
		res := w.call(t, limits)
		if !res.waits() || res.reason != t.waiting || res.commit != nil {
			return res
		}
		t.pause = w.poll(res.after)
	}
}

func (w *worker[T]) lost() bool { return context.Cause(w.hold) != nil }

// poke ends a wait.
func (w *worker[T]) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// stop ends the handler because the process stops.
func (w *worker[T]) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopping = true
	if w.interrupt != nil {
		w.interrupt(ErrStopping)
	}
}

// cancel ends the handler because a person asked for the job's end.
func (w *worker[T]) cancel() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cancelled = true
	if w.interrupt != nil && !w.always {
		w.interrupt(ErrCancelled)
	}
}

// enter makes the context of one step's work; it has ended already when the process stops or the
// job is cancelled.
func (w *worker[T]) enter(t *turn) (context.Context, context.CancelFunc) {
	ctx, interrupt := context.WithCancelCause(w.hold)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.interrupt, w.always, w.told = interrupt, t.step.Always, t.told
	switch {
	case w.stopping:
		interrupt(ErrStopping)
	case w.cancelled && !w.always:
		interrupt(ErrCancelled)
	}
	return ctx, func() { interrupt(nil) }
}

func (w *worker[T]) isStopping() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stopping
}

func (w *worker[T]) live() *live {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.told
}
