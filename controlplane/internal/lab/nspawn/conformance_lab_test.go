//go:build lab

package nspawn_test

import (
	"context"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/lab/nspawn"
	"github.com/understudy-db/understudy/controlplane/internal/provider/providertest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	providertest.Run(t, func(t *testing.T) providertest.Subject {
		p := newLab(t, "suite")
		return providertest.Subject{Provider: p, Image: "test-masked", OtherZone: "lab-b",
			Run: func(ctx context.Context, machineID string, argv ...string) (string, error) {
				return p.Exec(ctx, machineID, nspawn.Command{Argv: argv})
			}}
	})
}
