// Package systemd serves SystemdService: it validates, asks package systemd, and converts. No logic
// lives here.
package systemd

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	domain "github.com/understudy-db/understudy/agent/internal/systemd"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

const defaultTimeout = 90 * time.Second

// Service serves SystemdService.
type Service struct {
	agentv1.UnimplementedSystemdServiceServer
	units *domain.Manager
	allow *domain.AllowList
}

// New makes a Service; the allow-list says which units may be seen and changed.
func New(units *domain.Manager, allow *domain.AllowList) *Service {
	return &Service{units: units, allow: allow}
}

// bounded gives ctx the timeout as its end, or the default one.
func bounded(ctx context.Context,
	timeout *durationpb.Duration) (context.Context, context.CancelFunc) {
	if timeout == nil {
		return context.WithTimeout(ctx, defaultTimeout)
	}
	return context.WithTimeout(ctx, timeout.AsDuration())
}
