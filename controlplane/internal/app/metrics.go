package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

const (
	scrapeLimit = 5 * time.Second
	jobsAtOnce  = 500
)

// newMetrics is a registry with what the process itself and the records tell.
func newMetrics(st *store.Store, jobs *job.Engine[kit.Records]) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&recordMetrics{
			st: st, jobs: jobs,
			servers: prometheus.NewDesc("understudy_servers", "Servers by role and state.",
				[]string{"role", "state"}, nil),
			active: prometheus.NewDesc("understudy_jobs_unfinished",
				"Jobs that have not ended, by kind and state.", []string{"kind", "state"}, nil),
			silent: prometheus.NewDesc("understudy_server_last_seen_seconds",
				"Time of the last answer of each server's agent.", []string{"server"}, nil),
		})
	return registry
}

// recordMetrics counts records when it is asked to.
type recordMetrics struct {
	st                      *store.Store
	jobs                    *job.Engine[kit.Records]
	servers, active, silent *prometheus.Desc
}

// Describe names the metrics.
func (r *recordMetrics) Describe(out chan<- *prometheus.Desc) {
	out <- r.servers
	out <- r.active
	out <- r.silent
}

// Collect reads the records. What cannot be read is left out of this scrape.
func (r *recordMetrics) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeLimit)
	defer cancel()
	r.collectServers(ctx, out)
	r.collectJobs(ctx, out)
}

func (r *recordMetrics) collectServers(ctx context.Context, out chan<- prometheus.Metric) {
	counts := map[[2]string]int{}
	err := r.st.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		clear(counts)
		all, err := tx.Servers().All(ctx)
		for _, s := range all {
			counts[[2]string{string(s.Role), string(s.State)}]++
			if !s.LastSeen.IsZero() {
				out <- prometheus.MustNewConstMetric(r.silent, prometheus.GaugeValue,
					float64(s.LastSeen.UnixMilli())/1000, s.Name)
			}
		}
		return err
	})
	if err != nil {
		out <- prometheus.NewInvalidMetric(r.servers, err)
		return
	}
	for labels, n := range counts {
		out <- prometheus.MustNewConstMetric(r.servers, prometheus.GaugeValue, float64(n),
			labels[0], labels[1])
	}
}

func (r *recordMetrics) collectJobs(ctx context.Context, out chan<- prometheus.Metric) {
	counts := map[[2]string]int{}
	filter := job.Filter{States: []job.State{job.Queued, job.Running, job.Waiting,
		job.ActionRequired, job.Cancelling}, PageSize: jobsAtOnce}
	for {
		list, next, err := r.jobs.List(ctx, filter)
		if err != nil {
			out <- prometheus.NewInvalidMetric(r.active, err)
			return
		}
		for _, j := range list {
			counts[[2]string{j.Kind, string(j.State)}]++
		}
		if filter.PageToken = next; next == "" {
			break
		}
	}
	for labels, n := range counts {
		out <- prometheus.MustNewConstMetric(r.active, prometheus.GaugeValue, float64(n), labels[0],
			labels[1])
	}
}

// serveMetrics answers Prometheus until ctx ends.
func serveMetrics(ctx context.Context, listener net.Listener, registry *prometheus.Registry,
	log *slog.Logger) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics",
		promhttp.HandlerFor(registry,
			promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: scrapeLimit,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	// nothing of a scrape is worth waiting for
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("cannot serve metrics: %w", err)
	}
	return nil
}
