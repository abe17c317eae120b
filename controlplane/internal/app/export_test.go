package app

import (
	"context"
	"log/slog"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// Cloud is what a control plane needs of a provider.
type Cloud = theCloud

// NewWith is New with a provider of the test's own.
func NewWith(ctx context.Context, cfg Config, log *slog.Logger, c Cloud) (*App, error) {
	return newApp(ctx, cfg, log, c)
}

// Store is where the control plane keeps its records.
func (a *App) Store() *store.Store { return a.st }

var _ provider.Provider = Cloud(nil)
