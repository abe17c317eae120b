package observe_test

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/agent/internal/observe"
	"github.com/understudy-db/understudy/agent/internal/quiesce"
	"github.com/understudy-db/understudy/proto/telemetry"
	"github.com/understudy-db/understudy/proto/telemetry/telemetrytest"
)

var update = flag.Bool("update", false, "write docs/metrics.md")

func registered(w *observe.Watch, own *tls.Certificate) *prometheus.Registry {
	registry := telemetry.NewRegistry("understudy_agent", "1")
	registry.MustRegister(w.Collector(func() *tls.Certificate { return own }))
	return registry
}

func TestThePageHasTheMetrics(t *testing.T) {
	t.Parallel()
	telemetrytest.Page(t, "../../../docs/metrics.md", "agent", "understudy_agent_",
		registered(observe.New(), nil), *update)
}

func TestWhatIsReported(t *testing.T) {
	t.Parallel()
	w, behind := observe.New(), 3*time.Second
	own := &tls.Certificate{Leaf: &x509.Certificate{NotAfter: time.Unix(2000000000, 0)}}
	registry := registered(w, own)
	compare := func(want map[string]float64) {
		t.Helper()
		got := values(t, registry)
		for name, value := range want {
			if got[name] != value {
				t.Errorf("%s is %v, want %v", name, got[name], value)
			}
		}
	}
	absent := func(names ...string) {
		t.Helper()
		for _, name := range names {
			if value, there := values(t, registry)[name]; there {
				t.Errorf("%s is %v, want none", name, value)
			}
		}
	}
	// Nothing was observed: nothing is claimed.
	absent("mariadb_up", "replica_sql_running", "datadir_free_bytes")
	status := mariadb.Status{Answers: true, Volume: mariadb.Volume{FreeBytes: 5, UsedBytes: 7},
		Live: mariadb.Live{BinlogBytes: 9, Replication: []mariadb.Replication{{IORunning: "Yes",
			SQLRunning: "No", Behind: &behind}, {Connection: "other", SQLRunning: "Yes"}}}}
	w.Observed(status, time.Second)
	w.QuiesceEnded(quiesce.Result{Blocked: 300 * time.Millisecond}, 2*time.Second)
	compare(map[string]float64{"mariadb_up": 1, "replica_io_running": 1, "replica_sql_running": 0,
		"replica_lag_seconds": 3, "binlog_bytes": 9, "datadir_free_bytes": 5,
		"quiesce_broken_total": 1, "certificate_expiry_timestamp_seconds": 2000000000})
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	status.Quiesced, status.Live.BinlogBytes = true, 0
	w.Observed(status, time.Second)
	absent("binlog_bytes")
}

// values are the gauges and counters, without their prefix.
func values(t *testing.T, from prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if m.GetHistogram() == nil {
				all[strings.TrimPrefix(f.GetName(), "understudy_agent_")] =
					m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return all
}
