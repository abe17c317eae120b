package app

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/telemetry"
)

// endpoint is what is served on the address of the metrics.
func (a *App) endpoint() telemetry.Endpoint {
	loops := telemetry.Loops(a.loops)
	stored := telemetry.Check{Name: "store", Run: func(ctx context.Context) error {
		return a.st.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.SizeBytes(ctx)
			return err
		})
	}}
	return telemetry.Endpoint{Metrics: a.metrics, Alive: []telemetry.Check{loops},
		Ready: []telemetry.Check{stored, loops}, Log: a.log}
}
