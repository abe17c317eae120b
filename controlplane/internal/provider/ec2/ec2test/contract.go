// Package ec2test holds the provider to an EC2, be it Amazon's or the lab's: the same code tests
// both. It is imported from tests alone.
package ec2test

import (
	"context"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/provider/ec2"
	"github.com/understudy-db/understudy/controlplane/internal/provider/providertest"
)

// Target is an EC2, and how its machines are reached.
type Target struct {
	// Config is how it is worked with. All that is made has its Fleet, and what has its Fleet is
	// removed: see CheckFleet.
	Config ec2.Config
	// Image has a data volume beside its root, with a filesystem on it.
	Image string
	// OtherZone is a zone of the configuration that is not the first; empty when there is none.
	OtherZone string
	// Run runs a command as root on a machine, and gives its output.
	Run func(ctx context.Context, m provider.Machine, argv ...string) (string, error)
	// Limit is how long any one state is waited for, and Poll how often is looked.
	Limit, Poll time.Duration
}

// Conformance runs the suite of all providers. What was made is removed in the end, and what an
// earlier run left, as it was killed, at the start.
func Conformance(t *testing.T, target Target) {
	t.Helper()
	p, err := ec2.New(t.Context(), target.Config)
	if err != nil {
		t.Fatal(err)
	}
	sweep := func(ctx context.Context) {
		if err := Sweep(ctx, p, target.Config.Fleet, target.Poll, t.Logf); err != nil {
			t.Errorf("what the test made is not all removed: %v", err)
		}
	}
	sweep(t.Context())
	t.Cleanup(func() { sweep(context.WithoutCancel(t.Context())) })
	providertest.Run(t, func(*testing.T) providertest.Subject {
		return providertest.Subject{Provider: p, Image: target.Image,
			Unit: 1 << 30, OtherZone: target.OtherZone, Limit: target.Limit, Poll: target.Poll,
			Tidy: true,
			Run: func(ctx context.Context, id string, argv ...string) (string, error) {
				m, err := p.GetMachine(ctx, id)
				if err != nil {
					return "", err
				}
				return target.Run(ctx, m, argv...)
			}}
	})
}
