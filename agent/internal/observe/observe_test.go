package observe_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"strings"
	"testing"
	"testing/synctest"
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

// counted is a MariaDB that counts how often it was asked.
type counted struct {
	watch *observe.Watch
	asked int
}

func (c *counted) Status(context.Context) (mariadb.Status, error) {
	c.asked++
	c.watch.Observed(mariadb.Status{Answers: true}, 0)
	return mariadb.Status{}, nil
}

func TestOneObservationForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := observe.New()
		server := &counted{watch: w}
		ctx, stop := context.WithCancel(t.Context())
		runs := true
		go w.Run(ctx, func(context.Context) bool { return runs }, server)
		time.Sleep(time.Minute + time.Second)
		if server.asked < 3 || server.asked > 7 {
			t.Errorf("asked %d times in a minute", server.asked)
		}
		// Somebody else asks every 3 seconds.
		before := server.asked
		for range 20 {
			w.Observed(mariadb.Status{Answers: true}, 0)
			time.Sleep(3 * time.Second)
		}
		if server.asked != before {
			t.Errorf("asked %d times more beside another one", server.asked-before)
		}
		// One that does not run is not connected to, and is known not to run.
		runs = false
		time.Sleep(30 * time.Second)
		latest, _ := w.Latest()
		if server.asked != before || latest.Answers || w.Fresh(observe.Interval+1) != nil {
			t.Errorf("asked %d times, observed %+v", server.asked-before, latest)
		}
		stop()
		synctest.Wait()
		time.Sleep(time.Minute)
		if err := w.Fresh(30 * time.Second); err == nil {
			t.Error("an old observation is fresh")
		}
	})
}
