package telemetrytest

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/understudy-db/understudy/proto/telemetry"
)

func TestPageOfMetrics(t *testing.T) {
	t.Parallel()
	registry := telemetry.NewRegistry("x", "1")
	registry.MustRegister(prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "x_seconds",
		Help: `It has "quotes".`}, []string{"kind", "step"}))
	all := metrics(registry, "x_")
	if len(all) != 2 || all[0].Name != "x_build_info" || len(all[0].Labels) != 2 ||
		all[1].Name != "x_seconds" || len(all[1].Labels) != 2 {
		t.Errorf("metrics %+v", all)
	}
}
