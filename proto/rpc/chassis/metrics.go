package chassis

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts calls; its zero value, and nil, count nothing.
type metrics struct {
	calls *prometheus.HistogramVec
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	if registerer == nil {
		return nil, nil
	}
	calls := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "understudy_rpc_duration_seconds",
		Help:    "Duration of the calls served, by method and code.",
		Buckets: []float64{.001, .005, .02, .1, .5, 2, 10, 60, 600},
	}, []string{"method", "code"})
	if err := registerer.Register(calls); err != nil {
		return nil, fmt.Errorf("cannot register metrics: %w", err)
	}
	return &metrics{calls: calls}, nil
}

func (m *metrics) observe(method string, err error, took time.Duration) {
	if m != nil {
		m.calls.WithLabelValues(method, codeOf(err)).Observe(took.Seconds())
	}
}
