// Package systemd serves SystemdService: it validates, asks package systemd, and converts. No logic
// lives here.
package systemd

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	domain "github.com/understudy-db/understudy/agent/internal/systemd"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

const defaultTimeout = 90 * time.Second

// Config has what a Service needs; all of it is required.
type Config struct {
	// Units controls systemd.
	Units *domain.Manager
	// Allow says which units may be seen and changed.
	Allow *domain.AllowList
}

// Service serves SystemdService.
type Service struct {
	agentv1.UnimplementedSystemdServiceServer
	units *domain.Manager
	allow *domain.AllowList
}

// New makes a Service.
func New(config Config) (*Service, error) {
	if config.Units == nil || config.Allow == nil {
		return nil, errors.New("cannot make the systemd service: it needs units and an allow-list")
	}
	return &Service{units: config.Units, allow: config.Allow}, nil
}

// bounded gives ctx the timeout as its end, or the default one.
func bounded(ctx context.Context,
	timeout *durationpb.Duration) (context.Context, context.CancelFunc) {
	if timeout == nil {
		return context.WithTimeout(ctx, defaultTimeout)
	}
	return context.WithTimeout(ctx, timeout.AsDuration())
}
