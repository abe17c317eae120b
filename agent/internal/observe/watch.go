// Package observe observes the agent's host once a second: MariaDB, its unit, the filesystem of its
// datadir; and exports the result as metrics.
package observe

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/agent/internal/quiesce"
)

// Watch keeps the latest observation of MariaDB, whoever asked for it.
type Watch struct {
	mu     sync.Mutex
	latest mariadb.Status
	at     time.Time // zero before the first
	now    mariadb.Status
	nowAt  time.Time // of the latest sample

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

// Latest is the latest full observation, and when it was made; the zero time when there was none.
func (w *Watch) Latest() (mariadb.Status, time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.latest, w.at
}

// Fresh fails when the latest observation is older than that.
func (w *Watch) Fresh(limit time.Duration) error {
	switch _, at := w.Now(); {
	case at.IsZero():
		return errors.New("MariaDB has not been observed yet")
	case time.Since(at) > limit:
		return fmt.Errorf("MariaDB was last observed %s ago",
			time.Since(at).Round(time.Second))
	}
	return nil
}

// sampled takes a sample: what is known of a MariaDB that does not answer is no older than that.
func (w *Watch) sampled(found Observation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now, w.nowAt = found.Status, found.At
}

// Now is the latest status, by a sample or by a full observation; the zero time when there was
// none.
func (w *Watch) Now() (mariadb.Status, time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.nowAt.After(w.at) {
		return w.now, w.nowAt
	}
	return w.latest, w.at
}
