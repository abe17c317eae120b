package observe

import (
	"context"
	"sync"
	"time"

	"github.com/understudy-db/understudy/agent/internal/systemd"
)

// wordsAge is how old what was read of a log gets while MariaDB is down; wordsWait is how long a
// sample waits for it.
const (
	wordsAge  = 10 * time.Second
	wordsWait = time.Second
)

// words are what MariaDB logged as errors before it was down. They are read once a state of the
// unit, and again every wordsAge while it lasts: reading a journal starts a process.
type words struct {
	read func(ctx context.Context, unit systemd.Unit) []string

	mu    sync.Mutex
	busy  bool
	state [3]string
	at    time.Time
	lines []string
}

func (w *words) of(ctx context.Context, found Observation) []string {
	if found.Status.Answers || found.Unit.Name == "" {
		return nil
	}
	w.mu.Lock()
	state := [3]string{found.Unit.InvocationID, found.Unit.Active, found.Unit.Result}
	if w.busy || state == w.state && time.Since(w.at) < wordsAge {
		defer w.mu.Unlock()
		return w.lines
	}
	if state[0] != w.state[0] {
		w.lines = nil // of another run
	}
	w.busy, w.state, w.at = true, state, time.Now()
	w.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		lines := w.read(ctx, found.Unit)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.lines, w.busy = lines, false
	}()
	timer := time.NewTimer(wordsWait)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lines
}
