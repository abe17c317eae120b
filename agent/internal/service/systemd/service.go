// Package systemd serves SystemdService: it validates, asks package systemd, and converts. No logic
// lives here.
package systemd

import (
	"context"
	"errors"
	"regexp"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	domain "github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

const (
	defaultTimeout   = 90 * time.Second
	maxTimeout       = time.Hour
	maxEnsureTimeout = 6 * time.Hour
)

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

// bounded checks a timeout and gives ctx that end.
func bounded(ctx context.Context, timeout *durationpb.Duration,
	most time.Duration) (context.Context, context.CancelFunc, error) {
	d := defaultTimeout
	if timeout != nil {
		var f errs.Fields
		f.Require("timeout", timeout.IsValid() && timeout.AsDuration() > 0 &&
			timeout.AsDuration() <= most, "must be positive and at most "+most.String())
		if err := f.Err(); err != nil {
			return ctx, nil, err
		}
		d = timeout.AsDuration()
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	return ctx, cancel, nil
}

func checkInvocation(id string) error {
	var f errs.Fields
	f.Require("invocation_id", regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(id),
		"must be the unit's invocation_id, 32 hexadecimal digits (see GetUnit)")
	return f.Err()
}
