// Package telemetry is what both daemons report of themselves: metrics, health, logs and traces.
package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
)

// answerLimit bounds one answer of the endpoint.
const answerLimit = 5 * time.Second

// Check is one thing that has to be true of a daemon.
type Check struct {
	// Name says what is checked, in one word.
	Name string
	// Run says why it is not true, or nil.
	Run func(ctx context.Context) error
}

// Endpoint is what a daemon serves to whoever watches it.
type Endpoint struct {
	// Metrics are served on /metrics.
	Metrics prometheus.Gatherer
	// Alive is asked by /healthz: one that fails says that a restart may help.
	Alive []Check
	// Ready is asked by /readyz.
	Ready []Check
	// Log gets what goes wrong on connections.
	Log *slog.Logger
}

// Serve answers until ctx ends, and closes the listener.
func (e Endpoint) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{Handler: e.handler(), ReadHeaderTimeout: answerLimit,
		ErrorLog: slog.NewLogLogger(e.Log.Handler(), slog.LevelDebug)}
	// nothing of an answer is worth waiting for
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	err := server.Serve(chassis.Lasting(listener, e.Log))
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("cannot serve metrics: %w", err)
	}
	return nil
}

func (e Endpoint) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(e.Metrics,
		promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	mux.Handle("GET /healthz", answer(e.Alive))
	mux.Handle("GET /readyz", answer(e.Ready))
	return mux
}

// health is the body of /healthz and /readyz.
type health struct {
	OK     bool            `json:"ok"`
	Checks []checkedResult `json:"checks"`
}

type checkedResult struct {
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

// answer runs the checks: 200 when all of them pass, 503 when one fails.
func answer(checks []Check) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), answerLimit)
		defer cancel()
		body := health{OK: true, Checks: []checkedResult{}}
		for _, check := range checks {
			result := checkedResult{Name: check.Name, OK: true}
			if err := check.Run(ctx); err != nil {
				result.OK, result.Error, body.OK = false, err.Error(), false
			}
			body.Checks = append(body.Checks, result)
		}
		w.Header().Set("Content-Type", "application/json")
		if !body.OK {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(body) // a client that is gone needs no answer
	}
}

// Loops is the check that fails while a loop of the set is late.
func Loops(set *loop.Set) Check {
	return Check{Name: "loops", Run: func(context.Context) error {
		var faults []error
		for _, late := range set.Late() {
			fault := fmt.Errorf("%s: no good round for %s", late.Spec.Name,
				time.Since(late.Since).Round(time.Second))
			if late.Err != nil {
				fault = fmt.Errorf("%w: %w", fault, late.Err)
			}
			faults = append(faults, fault)
		}
		return errors.Join(faults...)
	}}
}

// NewRegistry is a registry with what the process itself reports, and the build as name_build_info.
func NewRegistry(name, version string) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: name + "_build_info",
		Help: "The program that runs: always 1, with its version as a label.",
		ConstLabels: prometheus.Labels{"version": version,
			"goversion": runtime.Version()}})
	build.Set(1)
	registry.MustRegister(build, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}
