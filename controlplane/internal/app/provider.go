package app

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// Provider is what the control plane needs of a provider.
type Provider interface {
	provider.Provider
	// HostAddress is the control plane's own address in the network of the machines; empty when
	// they reach it at one of the addresses that it serves on.
	HostAddress(ctx context.Context) (string, error)
	// Problems are what is missing for the jobs to work, one line each.
	Problems(ctx context.Context) ([]string, error)
}

// openProvider makes the provider that the configuration names.
func openProvider(ctx context.Context, cfg Config, log *slog.Logger) (p Provider, err error) {
	switch cfg.Provider {
	case "ec2":
		p, err = newEC2(ctx, cfg, log)
	case "manual":
		p, err = newManual(cfg, log)
	default:
		err = fmt.Errorf("there is no provider %q", cfg.Provider)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot use the provider: %w", err)
	}
	return p, nil
}
