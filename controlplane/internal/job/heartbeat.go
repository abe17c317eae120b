package job

import (
	"context"
	"errors"
	"time"
)

// beat moves the heartbeat until the hold ends, and stores what the running step reports. A
// worker that could not prove its hold for the limit gives it up: another may have the job by now.
func (w *worker[T]) beat() {
	limit := w.e.cfg.Limit
	ticker := time.NewTicker(min(limit/3, maxPoll))
	defer ticker.Stop()
	for proved := time.Now(); ; {
		select {
		case <-w.hold.Done():
			return
		case <-ticker.C:
		}
		began := time.Now()
		err := w.beatOnce(limit - time.Since(proved))
		switch {
		case err == nil:
			proved = began
		case errors.Is(err, ErrFenced), time.Since(proved) >= limit:
			w.log.Warn("the job is lost to this process", "error", err)
			w.lose(ErrFenced)
			return
		}
	}
}

func (w *worker[T]) beatOnce(budget time.Duration) error {
	ctx, cancel := context.WithTimeout(w.hold, max(budget, time.Millisecond))
	defer cancel()
	var state State
	report := w.reported()
	version := report.at()
	err := w.e.store.Write(ctx, func(ctx context.Context, tx T) (err error) {
		records := w.e.store.Jobs(tx)
		if state, err = records.Beat(ctx, w.id, w.e.cfg.Owner, w.epoch); err != nil {
			return err
		}
		return w.flush(ctx, records, report)
	})
	if err != nil {
		return err
	}
	report.markSaved(version)
	if state == Cancelling {
		w.cancel()
	}
	return nil
}

// flush writes what the running attempt has reported since the last time.
func (w *worker[T]) flush(ctx context.Context, records Records, report *liveReport) error {
	if !report.unsaved() {
		return nil
	}
	m, err := w.fenced(ctx, records)
	if err != nil {
		return err
	}
	report.overlay(m.job)
	m.touch(report.seq)
	return save(ctx, records, m)
}
