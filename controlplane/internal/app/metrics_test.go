package app_test

import (
	"context"
	"flag"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/understudy-db/understudy/controlplane/internal/app"
	"github.com/understudy-db/understudy/controlplane/internal/app/apptest"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/telemetry/telemetrytest"
)

var update = flag.Bool("update", false, "write docs/metrics.md")

func TestThePageHasTheMetrics(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	telemetrytest.Page(t, "../../../docs/metrics.md", "controlplane", "understudy_",
		p.Metrics(), *update)
}

func TestMetricsKeepThePrometheusRules(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.addServer("db1", "")
	problems, err := testutil.GatherAndLint(p.Metrics())
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Errorf("%s: %s", problem.Metric, problem.Text)
	}
}

func TestMetricsAndHealthAreServed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := apptest.Settings(t, dir, map[string]any{"unreachable_after": "1h"})
	cfg.Metrics, cfg.Version = "127.0.0.1:0", "1.2.3"
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	made, err := app.New(ctx, cfg, apptest.Quiet(),
		apptest.Dev(stillWorld(t).Process(), cfg))
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Store().Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		return tx.Servers().Insert(ctx, &inventory.Server{Name: "db1",
			State: inventory.ServerReady, Role: inventory.RolePrimary, ServerID: 1})
	}); err != nil {
		t.Fatal(err)
	}
	get := func(path string) (int, string) {
		answer, err := http.Get("http://" + made.MetricsAddress() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(body)
	}
	ended := make(chan error, 1)
	go func() { ended <- made.Run(ctx) }()
	for status, body := 0, ""; status != 200; {
		if status, body = get("/readyz"); status != 200 && status != 503 {
			t.Fatal(status, body)
		}
	}
	if status, body := get("/healthz"); status != 200 {
		t.Error(status, body)
	}
	_, body := get("/metrics")
	for _, want := range []string{`version="1.2.3"`, "understudy_store_size_bytes ",
		`understudy_server_state{server="db1",state="UNKNOWN"} 1`,
		`understudy_server_state{server="db1",state="READY"} 0`,
		`understudy_server_state{server="db1",state="FAILED"} 0`,
		`understudy_job_duration_seconds_count{kind="create_replica",state="failed"} 0`,
		"understudy_controlplane_certificate_expiry_timestamp_seconds "} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
	// A store that is gone is what readiness is for; the loops go on.
	if err := made.Store().Close(); err != nil {
		t.Fatal(err)
	}
	for status, body := 0, ""; status != 503; { // what was found stands for a second
		if status, body = get("/readyz"); status == 503 && !strings.Contains(body,
			`{"name":"store","ok":false,"error":"`) {
			t.Error(status, body)
		}
	}
	if status, body := get("/healthz"); status != 200 {
		t.Error(status, body)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
