// Package observe observes the agent's MariaDB periodically and exports the result as metrics.
package observe

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/agent/internal/quiesce"
)

// Interval is how old an observation gets before the agent makes one of its own. A control plane
// that asks more often spares the agent that.
const Interval = 10 * time.Second

// lookLimit bounds an observation of a MariaDB that hangs.
const lookLimit = 10 * time.Second

// Status reads the status of MariaDB; *mariadb.Server does, and calls Watch.Observed.
type Status interface {
	Status(ctx context.Context) (mariadb.Status, error)
}

// Watch keeps the latest observation of MariaDB, whoever asked for it.
type Watch struct {
	mu     sync.Mutex
	latest mariadb.Status
	at     time.Time // zero before the first

	looks, held, blocked prometheus.Histogram
	broken               prometheus.Counter
}

// New makes a Watch that has seen nothing.
func New() *Watch {
	histogram := func(name, help string, buckets ...float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "understudy_agent_" + name, Help: help, Buckets: buckets})
	}
	return &Watch{
		looks: histogram("observe_duration_seconds", "Time that an observation of MariaDB took.",
			.005, .02, .05, .1, .5, 1, 3, 10),
		held: histogram("quiesce_held_seconds", "Time that a consistent point was held.",
			.05, .1, .25, .5, 1, 2, 5, 10, 60, 600),
		blocked: histogram("quiesce_blocked_seconds",
			"Time that commits were blocked for a consistent point.",
			.05, .1, .25, .5, 1, 2, 5, 10, 60),
		broken: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "understudy_agent_quiesce_broken_total",
			Help: "Consistent points that ended before their caller resumed MariaDB."}),
	}
}

// Observed takes an observation.
func (w *Watch) Observed(status mariadb.Status, took time.Duration) {
	w.looks.Observe(took.Seconds())
	w.keep(status)
}

func (w *Watch) keep(status mariadb.Status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.latest, w.at = status, time.Now()
}

// QuiesceEnded takes the result of a consistent point.
func (w *Watch) QuiesceEnded(result quiesce.Result, held time.Duration) {
	w.held.Observe(held.Seconds())
	w.blocked.Observe(result.Blocked.Seconds())
	if !result.Unbroken {
		w.broken.Inc()
	}
}

// Latest is the latest observation, and when it was made; the zero time when there was none.
func (w *Watch) Latest() (mariadb.Status, time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.latest, w.at
}

// Fresh fails when the latest observation is older than that.
func (w *Watch) Fresh(limit time.Duration) error {
	switch _, at := w.Latest(); {
	case at.IsZero():
		return errors.New("MariaDB has not been observed yet")
	case time.Since(at) > limit:
		return fmt.Errorf("MariaDB was last observed %s ago",
			time.Since(at).Round(time.Second))
	}
	return nil
}

// Run observes a MariaDB that runs whenever nobody else has done so of late, until ctx ends.
func (w *Watch) Run(ctx context.Context, runs func(context.Context) bool, server Status) {
	ticker := time.NewTicker(Interval)
	defer ticker.Stop()
	for {
		if w.Fresh(Interval) != nil {
			w.look(ctx, runs, server)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (w *Watch) look(ctx context.Context, runs func(context.Context) bool, server Status) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	if !runs(ctx) {
		w.keep(mariadb.Status{DownReason: mariadb.Unit + " does not run"})
		return
	}
	_, _ = server.Status(ctx) // what failed leaves the observation old, which Fresh tells
}
