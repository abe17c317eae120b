package job

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/understudy-db/understudy/proto/loop"
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
	turn   int64     // outcomes of the job that were recorded
	since  time.Time // when the job was taken from another worker; zero when it was nobody's

	// hold ends when the job was lost or released; its cause is ErrFenced when it was lost.
	hold context.Context
	lose context.CancelCauseFunc

	mu        sync.Mutex
	stopping  bool
	cancelled bool // an operator asked for the job's end
	always    bool // the step at hand is not to be stopped by a cancel
	interrupt context.CancelCauseFunc
	report    *liveReport
}

func newWorker[T any](e *Engine[T], id string, epoch int64, plan Plan[T]) *worker[T] {
	w := &worker[T]{
		e: e, id: id, epoch: epoch, plan: plan, values: newSessionValues(), report: &liveReport{},
		wake: make(chan struct{}, 1),
		log:  e.log.With("job", id, "kind", plan.Kind, "epoch", epoch),
	}
	if epoch > 1 {
		w.since = time.Now()
	}
	w.hold, w.lose = context.WithCancelCause(e.cfg.Observer.Enter(context.Background(), id, nil))
	return w
}

// run works on the job until it ends, parks, is lost or the process stops.
func (w *worker[T]) run(first *attempt[T]) {
	beating := make(chan struct{})
	go func() {
		defer close(beating)
		w.beat()
	}()
	defer func() {
		w.lose(errReleased)
		<-beating
		w.warn(w.values.closeAll())
	}()
	w.warn(w.values.enter(first.step.Section))
	for a := first; a != nil; {
		a = w.work(a)
	}
}

var errReleased = errors.New("the job was released")

// work makes one attempt and returns the next, or nil when there is none here.
func (w *worker[T]) work(a *attempt[T]) *attempt[T] {
	res := w.try(a)
	if w.lost() {
		return nil
	}
	next, err := w.record(a, res)
	if err != nil {
		w.log.Warn("cannot record the outcome of a step", "step", a.step.Kind, "error", err)
		return nil
	}
	return next
}

func (w *worker[T]) lost() bool { return context.Cause(w.hold) != nil }

// wakeUp ends a wait.
func (w *worker[T]) wakeUp() {
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

// cancel ends the handler because an operator asked for the job's end.
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
func (w *worker[T]) enter(a *attempt[T]) (context.Context, context.CancelFunc) {
	ctx, interrupt := context.WithCancelCause(w.hold)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.interrupt, w.always, w.report = interrupt, a.step.Always, a.report
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

func (w *worker[T]) reported() *liveReport {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.report
}

// commitError is an error of a handler's commit function.
type commitError struct{ err error }

func (c commitError) Error() string { return c.err.Error() }
func (c commitError) Unwrap() error { return c.err }

// record writes the outcome and, in the same transaction, begins the next step. It returns the
// next attempt, or nil when the job was released or lost.
func (w *worker[T]) record(a *attempt[T], res result[T]) (*attempt[T], error) {
	next, err := w.persist(a, res)
	if broken := (commitError{}); errors.As(err, &broken) {
		next, err = w.persist(a, failed[T](broken.err))
	}
	if err != nil {
		return nil, err
	}
	w.e.cfg.Hook(AfterCommit, w.id, a.step.Kind)
	return next, nil
}

// persist tries the transaction until it is through, the job is lost, or the process has no time
// left: an outcome that cannot be written now is not forgotten.
func (w *worker[T]) persist(a *attempt[T], res result[T]) (*attempt[T], error) {
	var stopSince time.Time
	var sent recording[T]
	for delay := 20 * time.Millisecond; ; delay = min(2*delay, w.e.cfg.Poll) {
		next, err := w.transact(a, res, &sent)
		if err == nil || errors.Is(err, ErrFenced) || errors.As(err, new(commitError)) {
			return next, err
		}
		w.log.Warn("cannot record the outcome of a step yet", "step", a.step.Kind, "error", err)
		if w.isStopping() {
			stopSince = or(stopSince, time.Now())
			if time.Since(stopSince) > w.e.cfg.Limit {
				return nil, err
			}
		}
		if loop.Pause(w.hold, delay) != nil {
			return nil, context.Cause(w.hold)
		}
	}
}

// recording is what the last try to record an outcome made of it.
type recording[T any] struct {
	tried bool
	after Job
	next  *attempt[T]
}

// transact applies an outcome to the rows as they are now, under the fence, and begins what is
// next; unless an earlier try was committed, and its answer alone was lost.
func (w *worker[T]) transact(a *attempt[T], res result[T],
	sent *recording[T]) (*attempt[T], error) {
	err := w.e.store.Write(w.hold, func(ctx context.Context, tx T) error {
		records := w.e.store.Jobs(tx)
		m, err := w.fenced(ctx, records)
		if sent.tried && (err == nil || errors.Is(err, ErrFenced)) {
			done, getErr := w.recorded(ctx, records)
			if done || getErr != nil {
				return getErr
			}
		}
		if err != nil {
			return err
		}
		var made recording[T]
		if made.next, err = w.advance(ctx, tx, m, a, res); err != nil {
			return err
		}
		m.job.Turn++
		made.after = m.job.clone()
		*sent = made
		return save(ctx, records, m)
	})
	if err != nil {
		sent.tried = true
		return nil, err
	}
	w.turn++
	w.afterCommit(a, &sent.after, sent.next)
	if !res.waits() && !a.backOff {
		w.e.cfg.Observer.Tried(&sent.after, &a.step, a.began)
	}
	return sent.next, nil
}

// recorded reports whether the outcome is in the rows. A job that it ended is not held any more.
func (w *worker[T]) recorded(ctx context.Context, records Records) (bool, error) {
	j, err := records.Get(ctx, w.id)
	return err == nil && j.Epoch == w.epoch && j.Turn > w.turn, err
}

// fenced proves and locks the hold on the job, and reads its rows.
func (w *worker[T]) fenced(ctx context.Context, records Records) (*fsm, error) {
	if err := records.Fence(ctx, w.id, w.e.cfg.Owner, w.epoch); err != nil {
		return nil, err
	}
	j, err := records.Get(ctx, w.id)
	if err != nil {
		return nil, err
	}
	return newFSM(&j, w.e.now()), nil
}

func (w *worker[T]) advance(ctx context.Context, tx T, m *fsm, a *attempt[T],
	res result[T]) (*attempt[T], error) {
	if res.commit != nil {
		if err := res.commit(ctx, tx); err != nil {
			return nil, asCommitError(err)
		}
	}
	if next, waits := w.apply(m, a, res); waits {
		return next, nil
	}
	if _, more := m.job.next(); more && w.isStopping() || m.job.Owner == "" {
		m.release()
		return nil, nil
	}
	if s := m.proceed(); s != nil {
		return w.newAttempt(m.job, s.Seq), nil
	}
	return nil, nil
}

// apply changes the rows by what came of an attempt. When the step waits it returns the attempt
// to go on with.
func (w *worker[T]) apply(m *fsm, a *attempt[T], res result[T]) (next *attempt[T], waits bool) {
	s := m.touch(a.step.Seq)
	s.Spent = a.elapsed()
	if a.backOff && res.err == nil { // the back-off is over
		return nil, false
	}
	a.report.current().write(s)
	switch m.conclude(s, res.answer(w.id), a.limits.Attempts, w.plan.sectionAttempts(s.Section)) {
	case proceeds:
		return nil, false
	case polls:
		again := *a
		again.waiting, again.pause = res.reason, w.poll(res.after)
		return &again, true
	}
	again := w.newAttempt(m.job, s.Seq)
	again.report = a.report
	again.backOff, again.pause = true, a.limits.Backoff.delay(s.Failures, w.e.cfg.Random())
	return again, true
}

// asCommitError marks an error of the handler's. A store that is out of reach fails no attempt.
func asCommitError(err error) error {
	if errors.Is(err, ErrUnavailable) {
		return err
	}
	return commitError{err}
}

// afterCommit does what follows from a committed transaction.
func (w *worker[T]) afterCommit(a *attempt[T], after *Job, next *attempt[T]) {
	was := &after.Steps[a.step.Seq]
	w.logStep(a, was)
	// the section starts over without what it kept
	if was.Generation != a.step.Generation {
		w.warn(w.values.closeSection(a.step.Section))
	}
	if next != nil {
		w.warn(w.values.enter(next.step.Section))
	}
	if after.Owner == "" {
		w.log.Log(w.hold, jobLevel(after.State), "job released", "state", string(after.State),
			"reason", after.Reason)
		w.warn(w.values.closeAll())
	}
	w.e.published(w.id)
	w.e.kickScan() // a commit function may have made a job
}

func (w *worker[T]) logStep(a *attempt[T], s *Step) {
	args := []any{"step", s.Kind, "state", string(s.State), "attempt", a.step.Attempts,
		"generation", a.step.Generation, "took", a.elapsed()}
	if s.Reason != "" {
		args = append(args, "reason", s.Reason)
	}
	level := slog.LevelInfo
	if s.Failure != nil {
		level = slog.LevelWarn
		args = append(args, "error", s.Failure.Message)
	}
	w.log.Log(w.hold, level, "step", args...)
}

// jobLevel is the level of a line that says where a job stands: one that failed or asks needs an
// operator.
func jobLevel(state State) slog.Level {
	switch state {
	case Failed:
		return slog.LevelError
	case ActionRequired:
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}

func (w *worker[T]) warn(err error) {
	if err != nil {
		w.log.Warn("cannot close what the job's steps kept", "error", err)
	}
}

// prove writes the job's row under the fence, and nothing else.
func (w *worker[T]) prove(ctx context.Context) error {
	return w.e.store.Write(ctx, func(ctx context.Context, tx T) error {
		return w.e.store.Jobs(tx).Fence(ctx, w.id, w.e.cfg.Owner, w.epoch)
	})
}
