package app

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/telemetry"
)

// writtenBytes is what a probe of the state directory writes.
const writtenBytes = 64 << 10

// endpoint is what is served on the address of the metrics. Readiness writes: a full or read-only
// disk serves every read.
func (a *App) endpoint() telemetry.Endpoint {
	loops := telemetry.Loops(a.loops)
	return telemetry.Endpoint{Metrics: a.metrics, Alive: []telemetry.Check{loops},
		Ready: []telemetry.Check{{Name: "store", Run: sparingly(a.storeWrites)},
			{Name: "state-dir", Run: sparingly(a.stateDirWrites)}, loops}, Log: a.log}
}

func (a *App) storeWrites(ctx context.Context) error {
	return a.st.Write(ctx, func(ctx context.Context, tx *store.Tx) error { return tx.Probe(ctx) })
}

// stateDirWrites sees what the store does not: SQLite writes into room that its log has already.
func (a *App) stateDirWrites(context.Context) error {
	err := atomicfile.Write(a.cfg.path("probe"), make([]byte, writtenBytes), 0o600)
	if err != nil {
		return fmt.Errorf("cannot write to the state directory: %w", err)
	}
	return nil
}

// sparingly answers what was found within the last second: anybody may ask, and a probe costs a
// write.
func sparingly(probe func(context.Context) error) func(context.Context) error {
	turn := make(chan struct{}, 1)
	var at time.Time
	var found error
	return func(ctx context.Context) error {
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-ctx.Done(): // a disk may hang
			return fmt.Errorf("an earlier probe has not ended: %w", ctx.Err())
		}
		if time.Since(at) > time.Second {
			found, at = probe(ctx), time.Now()
		}
		return found
	}
}
