package app

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/audit"
)

// Store is where the control plane keeps its records.
func (a *App) Store() *store.Store { return a.st }

// ForgetCalls keeps no record of calls, to measure what that costs.
func (a *App) ForgetCalls() { a.audit.Sink = forgetful{} }

type forgetful struct{}

func (forgetful) Append(context.Context, audit.Record) (int64, error) { return 1, nil }

// Kinds are the kinds of jobs that are run.
func (a *App) Kinds() (kinds []string) {
	for _, plan := range a.work.Plans() {
		kinds = append(kinds, plan.Kind)
	}
	return kinds
}

// Metrics is the registry.
func (a *App) Metrics() *prometheus.Registry { return a.metrics }

// MetricsAddress is where metrics are served.
func (a *App) MetricsAddress() string { return a.metricsListener.Addr().String() }

// Readiness is what the checks of readiness find now, by their names.
func (a *App) Readiness(ctx context.Context) map[string]error {
	found := map[string]error{}
	for _, check := range a.endpoint().Ready {
		found[check.Name] = check.Run(ctx)
	}
	return found
}
